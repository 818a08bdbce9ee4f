"""A cluster in virtual time: built from a scenario, run to its end, watched all the while."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ckptd.core.effects import EndRecovery
from ckptd.core.events import RecoveryRequested
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, NodeId, Origin, PathId, RecoveryId
from ckptd.model.words import FailureCause, Result
from ckptd.sim.check.agreement import WAITING_NS, Agreement
from ckptd.sim.check.attention import Attention, Rest
from ckptd.sim.check.books import Books
from ckptd.sim.check.check import Check
from ckptd.sim.check.checkers import (
    Blame,
    Choice,
    InOrder,
    Invariants,
    Stillness,
    UrgentFirst,
    Verification,
)
from ckptd.sim.check.chronicle import Chronicle
from ckptd.sim.check.conduct import Calm, Lanes, Silence, Standstill
from ckptd.sim.check.contents import Contents
from ckptd.sim.check.endings import Endings
from ckptd.sim.check.outcomes import PATIENCE_NS, SLACK, Ideal, Work, check_end, check_waiting
from ckptd.sim.check.phases import PhasesInOrder
from ckptd.sim.check.plain_bytes import PlainBytes
from ckptd.sim.check.reading import NeededFirst
from ckptd.sim.check.reuse import Reuse
from ckptd.sim.check.summary import NodeReport, RecoveryReport, Report
from ckptd.sim.check.visible import VisibleInOrder
from ckptd.sim.node.node import Node
from ckptd.sim.node.simulated_peering import SimulatedPeering
from ckptd.sim.node.source_side import Server
from ckptd.sim.script.fault import ClusterParts, Fault
from ckptd.sim.script.faults import BadMemory, DiskRefusal, Lie, Publish, Trouble
from ckptd.sim.script.requests import Cancel
from ckptd.sim.script.scenario import NodePlan, Scenario, Wish
from ckptd.sim.world.disk import Disk
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion
from ckptd.sim.world.network import Network
from ckptd.sim.world.virtual_time import World
from ckptd.traffic.coding_time import CodingTime

FOREVER_NS: Final = 30 * 24 * 3600 * SECOND

ASK_AGAIN_NS: Final = SECOND // 10
"""How soon somebody asks again for what did not become complete."""

REST_NS: Final = 20 * SECOND
"""How long the simulation goes on once all recoveries are over, so that late answers come …"""

REST_MAX_NS: Final = 20 * 60 * SECOND
"""… and until nothing is due any more; the fifth quarantine of a source takes 16 minutes."""

_MISSING: Final = frozenset(
    {FailureCause.UNKNOWN, FailureCause.CRITICAL_MISSING, FailureCause.REQUIRED_MISSING}
)
"""What a recovery may fail for when its patience ends."""

LOOK_NS: Final = SECOND // 2
"""How often checkers look at nodes to which nothing happens."""


class Cluster:
    """All nodes of a scenario.

    Args:
        scenario: What it begins with and what goes wrong.
        keeps_story: The story is kept as text.
        checks: Watch the cluster too, after the usual checks.

    Attributes:
        scenario: What it was built from.
        world: Time.
        network: What lies between the nodes.
        peering: Who hears of whom.
        nodes: The nodes, in the order of the scenario.
        books: What happened, as seen from outside.
        chronicle: What happened, as text.
    """

    def __init__(
        self, scenario: Scenario, *, keeps_story: bool = False, checks: Iterable[Check] = ()
    ) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed)
        self.network = Network(self.world, pace_ns=scenario.rates_pace_ns, jitter=scenario.jitter)
        self.peering = SimulatedPeering(
            self.world, self.network, pace_ns=scenario.announcing_pace_ns
        )
        self._real = {
            held.version.digest: held.version for plan in scenario.nodes for held in plan.holds
        }
        self._joints: dict[Digest, JoinedVersion] = {}
        self._real |= {
            version.digest: version
            for fault in scenario.faults
            if isinstance(fault, Publish)
            for version in fault.versions
        }
        self.chronicle = Chronicle(keeps_lines=keeps_story)
        self.books = Books([*self._checks(), *checks])
        self.nodes: dict[NodeId, Node] = {}
        self._servers: dict[PathId, Server] = {}
        self._parts = ClusterParts(self.nodes, self.network, self.peering)
        self._wishes = {
            RecoveryId(f"{wish.node}.{index}"): wish for index, wish in enumerate(scenario.wishes)
        }
        self._superseded: set[RecoveryId] = set()
        self._open = len(self._wishes)
        self._limit_ns = FOREVER_NS if scenario.limit_ns is None else scenario.limit_ns
        for plan in scenario.nodes:
            self._add(plan)
        self._introduce()

    def run(self) -> Report:
        """Run until all recoveries are over, or had to be.

        Raises:
            CheckFailed: Something that must hold did not.
        """
        self.begin()
        while self._open and self.world.step(until=self._limit_ns):
            pass
        self._check_outcomes()
        if self.scenario.comes_to_rest:
            self._come_to_rest()
        return self._report()

    def begin(self) -> None:
        """Start all nodes, and plan the wishes and the faults."""
        world = self.world
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            self.peering.started(node)
        for recovery, wish in self._wishes.items():
            world.at(wish.at_ns, self._ask_for, recovery, wish)
        for fault in self.scenario.faults:
            world.at(fault.at_ns, self._begin, fault)
        for node in self.nodes.values():
            if (every_ns := node.server.ruse.epoch_ns) is not None:
                world.after(every_ns, self._restart_in_words, node, every_ns)
        if self.scenario.limit_ns is None:
            begun_ns = max(wish.at_ns for wish in self._wishes.values())
            quiet_ns = max(begun_ns, self.scenario.quiet_ns)
            world.at(quiet_ns, world.when_moment_closes, self._set_limit)
        self._look()

    # Building

    def _checks(self) -> list[Check]:
        scenario = self.scenario
        lying = {fault.node for fault in scenario.faults if isinstance(fault, Lie | BadMemory)}
        lying |= {plan.name for plan in scenario.nodes if plan.bad_share or plan.invents}
        only_bad = {plan.name for plan in scenario.nodes if plan.bad_share == 1}
        in_trouble = {fault.node for fault in scenario.faults if isinstance(fault, Trouble)}
        checks: list[Check] = [
            Verification(),
            PlainBytes(),
            Stillness(),
            UrgentFirst(),
            PhasesInOrder(),
            NeededFirst(),
            VisibleInOrder(),
            Choice(),
            Contents(self._real, scenario.options.scheduler.rivals),
            Agreement(
                self._real,
                self._joints,
                [(f.at_ns, f.over_ns) for f in scenario.faults if not isinstance(f, Publish)],
            ),
            InOrder(),
            Reuse(
                self.network,
                {
                    plan.name: plan.nearby_bytes_per_s or plan.disk_bytes_per_s
                    for plan in scenario.nodes
                    if plan.name not in in_trouble
                },
            ),
            Blame(frozenset(lying), frozenset(only_bad)),
            Endings(),
            Lanes(),
            Calm(),
            Silence(),
            Standstill(),
            Rest(),
            Work(self.network, scenario.options.scheduler.hedging.redundancy),
        ]
        if scenario.checks_every == 1:
            checks.append(Attention(scenario.options.scheduler))
        return [Invariants(scenario.checks_every), *checks] if scenario.checks_every else checks

    def _add(self, plan: NodePlan) -> None:
        serving, flow = plan.serving_bytes_per_s, plan.flow_bytes_per_s
        self.network.add(
            plan.name,
            egress_bytes_per_s=plan.egress_bytes_per_s,
            ingress_bytes_per_s=plan.ingress_bytes_per_s,
            serving_bytes_per_s=math.inf if serving is None else serving,
            flow_bytes_per_s=math.inf if flow is None else flow,
            latency_ns=plan.latency_ns,
        )
        self.network.ports[plan.name].serves_by_class = plan.serves_by_class
        self.network.ports[plan.name].processors = plan.processors
        node = self.nodes[plan.name] = Node(
            plan.name,
            world=self.world,
            network=self.network,
            servers=self._servers,
            disk=Disk(self.world, plan.disk_bytes_per_s),
            shelf_disk=Disk(self.world, plan.nearby_bytes_per_s or plan.disk_bytes_per_s),
            watches=(self.chronicle, self.books),
            options=self.scenario.options,
        )
        node.server.bad_share, node.server.ruse = plan.bad_share, plan.ruse
        if plan.processors.coding_cores:
            node.server.coding_time = CodingTime(plan.processors.coding_cores)
        node.server.joints, node.server.announces = self._joints, plan.announces
        node.path_count = plan.path_count
        self._servers.update(dict.fromkeys(node.paths, node.server))
        node.on_ended = self._note_end
        for held in plan.holds:
            blocks = held.version.blocks if held.blocks is None else held.blocks
            node.stand(held.version, blocks)
        for nearby in plan.nearby:
            node.shelf.put(nearby)
        for invented in plan.invents:
            node.server.invent(invented)
        node.server.on_changed = lambda: self.peering.changed(node)

    def _introduce(self) -> None:
        """Let every node know those that hold something, and some or all of the others."""
        following_max = self.scenario.following_max
        rng = self.world.stream("acquaintance")
        holders = {plan.name for plan in self.scenario.nodes if plan.holds}
        others = [name for name in self.nodes if name not in holders]
        for name, node in self.nodes.items():
            known = others
            if following_max is not None and len(others) > following_max:
                known = rng.sample(others, following_max)
            for peer in (*(other for other in self.nodes if other in holders), *known):
                if peer != name:
                    self.peering.follow(node, self.nodes[peer])

    # What happens

    def _ask_for(self, recovery: RecoveryId, wish: Wish) -> None:
        version = wish.version
        wanted = version.version if wish.is_named else None
        request = RecoveryRequested(
            recovery,
            version.checkpoint,
            wanted,
            patience_ns=wish.patience_ns,
            is_background=wish.is_background,
            allow_partial=wish.allow_partial,
            is_name_awaited=wish.is_name_awaited,
            is_on_demand=wish.is_on_demand,
            digest_prefix=version.digest if wish.is_chosen else "",
            from_node=wish.from_node,
            job=wish.job,
            is_progressive=wish.is_progressive,
        )
        self.nodes[wish.node].want(request, wish.choice)

    def _ask_again(self, recovery: RecoveryId) -> None:
        """Want the version of a recovery that ended without it, under another name."""
        wish = self._wishes[recovery]
        self._superseded.add(recovery)
        again = RecoveryId(f"{recovery}+")
        self._wishes[again] = wish
        self.world.after(ASK_AGAIN_NS, self._ask_for, again, wish)

    def _begin(self, fault: Fault) -> None:
        undo = fault.begin(self._parts)
        if undo is not None and fault.for_ns is not None:
            self.world.after(fault.for_ns, undo)

    def _look(self) -> None:
        """Look at all nodes now and then, also when nothing happens."""
        self.books.look()
        self.world.after(LOOK_NS, self._look)

    def _note_end(self, end: EndRecovery) -> None:
        if self.scenario.asks_again and end.result not in {Result.COMPLETE, Result.CHOSEN}:
            self._ask_again(end.recovery)
        else:
            self._open -= 1

    def _restart_in_words(self, node: Node, every_ns: int) -> None:
        """Let a liar say that it has restarted, over and over."""
        node.server.epochs += 1
        node.server.on_changed()
        self.world.after(every_ns, self._restart_in_words, node, every_ns)

    # How it ends

    def _set_limit(self) -> None:
        """Work out by when everything has to be over, now that nothing goes wrong any more."""
        left = [
            (node, version, self._left_of(node, recovery, version))
            for recovery, wish in self._wishes.items()
            if recovery not in (node := self.nodes[wish.node]).ends
            for version in (self._content_of(recovery, wish),)
        ]
        ideal_ns = Ideal(self.nodes, self.network).seconds(left) * SECOND
        self._limit_ns = self.world.now + int(SLACK * ideal_ns) + PATIENCE_NS
        self._limit_ns += self._quarantine_ns()
        if any(wish.job is not None for wish in self._wishes.values()):
            self._limit_ns += 2 * WAITING_NS  # versions become whole, and others are given up

    def _quarantine_ns(self) -> int:
        """Return how long nodes are still not used whose memory was bad before they restarted."""
        mended = {Origin(f.node) for f in self.scenario.faults if isinstance(f, BadMemory)}
        untils = (
            standing.quarantined_until_ns
            for node in self.nodes.values()
            for origin, standing in node.scheduler.inspect().standings.items()
            if origin in mended
        )
        return max(max(untils, default=0) - self.world.now, 0)

    def _check_outcomes(self) -> None:
        disk_trouble = {
            fault.node for fault in self.scenario.faults if isinstance(fault, DiskRefusal)
        }
        cancelled = {fault.recovery for fault in self.scenario.faults if isinstance(fault, Cancel)}
        for recovery, wish in self._wishes.items():
            if recovery in self._superseded:
                continue
            node, book = self.nodes[wish.node], self.books.nodes[wish.node]
            if recovery in node.ends:
                excuses: set[Result | FailureCause] = set()
                if wish.node in disk_trouble:
                    excuses.add(FailureCause.STORE)
                if recovery in cancelled:
                    excuses.add(Result.CANCELLED)
                if wish.patience_ns is not None:
                    excuses |= _MISSING
                    if wish.allow_partial:
                        excuses.add(Result.PARTIAL)
                if wish.choice is not None:
                    excuses.add(Result.CHOSEN)
                if not wish.is_name_awaited:
                    excuses.add(FailureCause.UNKNOWN)
                if self._is_contested(wish):
                    excuses.add(FailureCause.CONFLICT)
                check_end(book, node.ends[recovery][1], excuses=frozenset(excuses))
            elif node.is_up and self.scenario.limit_ns is None and wish.job is None:
                version = self._content_of(recovery, wish)
                is_obtainable = Ideal(self.nodes, self.network).is_obtainable(
                    version, self._left_of(node, recovery, version)
                )
                check_waiting(book, book.recoveries[recovery], is_obtainable=is_obtainable)
        for check in self.books.checks:
            check.at_end(self.books.nodes)

    def _content_of(self, recovery: RecoveryId, wish: Wish) -> SavedVersion:
        """Return what a recovery is for: the content that was taken, of several."""
        known = self.books.nodes[wish.node].recoveries.get(recovery)
        chosen = known.chosen if known else None
        taken = None if chosen is None else self._real.get(chosen) or self._joints.get(chosen)
        return taken or wish.version

    def _left_of(self, node: Node, recovery: RecoveryId, version: SavedVersion) -> BlockSet:
        """Return what a recovery still has to bring of a version, if it has not ended."""
        staging = node.stagings.get(recovery)
        wanted = version.blocks if staging is None else staging.wanted(version)
        return wanted - node.committed(recovery)

    def _is_contested(self, wish: Wish) -> bool:
        """Tell whether several contents go by what is wished for, and nobody said which."""
        key = (wish.version.checkpoint, wish.version.version)
        contents = [key for each in self._real.values() if (each.checkpoint, each.version) == key]
        return len(contents) > 1 and not wish.is_chosen and wish.from_node is None

    def _come_to_rest(self) -> None:
        """Go on for a while and check that nothing is due then, nor under way.

        Raises:
            CheckFailed: Something is.
        """
        over_ns = self.world.now
        while self.world.step(until=over_ns + REST_MAX_NS):
            is_due = any(node.scheduler.next_deadline() is not None for node in self.nodes.values())
            if not is_due and self.world.now > over_ns + REST_NS:
                break
        for node in self.nodes.values():
            for check in self.books.checks:
                if node.is_up:
                    check.at_rest(self.books.nodes[node.name])

    def _report(self) -> Report:
        return Report(
            scenario=self.scenario.name,
            seed=self.scenario.seed,
            now_ns=self.world.now,
            event_count=self.books.event_count,
            digest=self.chronicle.digest(),
            recoveries=tuple(
                self._report_recovery(recovery, wish) for recovery, wish in self._wishes.items()
            ),
            nodes=tuple(self._report_node(node) for node in self.nodes.values()),
        )

    def _report_recovery(self, recovery: RecoveryId, wish: Wish) -> RecoveryReport:
        book = self.books.nodes[wish.node].recoveries[recovery]
        ended = self.nodes[wish.node].ends.get(recovery)
        return RecoveryReport(
            node=wish.node,
            recovery=recovery,
            result=None if ended is None else ended[1].result,
            critical_ns=None if book.critical_ns is None else book.critical_ns - wish.at_ns,
            complete_ns=None if ended is None else ended[0] - wish.at_ns,
            needed_bytes=0 if book.version is None else book.version.size_bytes,
            bytes=book.bytes,
            missing_blocks=0 if ended is None else ended[1].final.missing_blocks,
        )

    def _report_node(self, node: Node) -> NodeReport:
        node.count()
        standings = node.scheduler.inspect().standings
        return NodeReport(
            node=node.name,
            sent_bytes=self.network.sent_bytes(node.name),
            request_count=node.request_count,
            lane_count=node.lane_count,
            quarantined=tuple(NodeId(name) for name, each in standings.items() if each.quarantines),
        )
