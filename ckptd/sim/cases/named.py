"""Scenarios with a name: what is promised, as something to measure.

A case is one scenario with what is measured in it. Every number is a ratio inside the
simulation or a time in it, so it does not depend on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from ckptd.limits import GIB, MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from ckptd.sim.cases.case import (
    RATE,
    RECEIVER,
    WIDE,
    Case,
    Measure,
    equal_sources,
    lay_out,
    one_recovery,
    took_s,
)
from ckptd.sim.cases.choosing import chosen
from ckptd.sim.cases.coded import busy, foreseen, slow_link, wide
from ckptd.sim.cases.lazy import lazy
from ckptd.sim.cases.phased import phased, unequal
from ckptd.sim.cases.predicting import predicted
from ckptd.sim.cases.reusing import reused
from ckptd.sim.cases.starting_over import starting_over
from ckptd.sim.check.rerouting import Rerouting
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.script.faults import Crash, Freeze, Loss, Mute, Reset, Slow
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion


def healthy(seed: int) -> Case:
    """Nothing goes wrong: nothing is fetched twice."""
    version = lay_out(GIB)
    scenario = one_recovery("healthy", seed, version, equal_sources(4, version))

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        used = report.recoveries[0].bytes
        ideal_s = version.size_bytes / (4 * RATE)
        return [
            Measure("received / needed", used.received / version.size_bytes, 1.005),
            Measure("duplicate bytes", used.duplicate, 0),
            Measure("time / ideal", took_s(report) / ideal_s, 1.1),
        ]

    return Case(scenario, measure)


def fat(seed: int) -> Case:
    """On long fat paths, or behind a limit for each, one connection carries a quarter."""
    version = lay_out(8 * GIB)
    sources = [replace(plan, flow_bytes_per_s=RATE // 4) for plan in equal_sources(2, version)]
    scenario = one_recovery("fat", seed, version, sources)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        used = report.recoveries[0].bytes
        return [
            Measure("time / ideal", took_s(report) / (version.size_bytes / (2 * RATE)), 1.15),
            Measure("received / needed", used.received / version.size_bytes, 1.005),
        ]

    return Case(scenario, measure)


def half_here(seed: int) -> Case:
    """The receiver has every other block already: only the rest travels."""
    version = lay_out(GIB)
    half = BlockSet((block, block + 1) for block in range(0, version.space.block_count, 2))
    scenario = one_recovery("half here", seed, version, equal_sources(2, version))
    *sources, receiver = scenario.nodes
    receiver = replace(receiver, holds=(InitialHolding(version, half),))
    left_bytes = version.size_bytes - version.set_bytes(half)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        used = report.recoveries[0].bytes
        return [
            Measure("received / missing", used.received / left_bytes, 1.005),
            Measure("time / ideal", took_s(report) / (left_bytes / (2 * RATE)), 1.25),
        ]

    return Case(replace(scenario, nodes=(*sources, receiver)), measure)


SILENT_AT_NS: Final = tuple(moment_ms * MS for moment_ms in range(900, 2000, 110))
"""Ten moments in different places of a body, a body being 250 ms long."""


def silent(seed: int) -> Case:
    """One of four sources falls silent in the middle of a body, wherever that is."""
    first, rerouting = _silent_at(seed, SILENT_AT_NS[0])
    ideal_s = first.wishes[0].version.size_bytes / (3 * RATE)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        waits, times = [rerouting.worst_ns], [took_s(report)]
        for at_ns in SILENT_AT_NS[1:]:
            scenario, again = _silent_at(seed, at_ns)
            times.append(took_s(Cluster(scenario, checks=(again,)).run()))
            waits.append(again.worst_ns)
        worst_s = max(math.inf if wait is None else wait / SECOND for wait in waits)
        return [
            Measure("re-routed after, s, at worst", worst_s, 1.5),
            Measure("time / ideal of the other three, at worst", max(times) / ideal_s, 1.15),
        ]

    return Case(first, measure, (rerouting,))


def _silent_at(seed: int, at_ns: int) -> tuple[Scenario, Rerouting]:
    version = lay_out(GIB)
    sources = equal_sources(4, version)
    fault = Mute(node=sources[0].name, at_ns=at_ns)
    scenario = one_recovery("silent", seed, version, sources, fault)
    return scenario, Rerouting(fault.node, at_ns)


def slow(seed: int) -> Case:
    """One of eight sources has a tenth of the rate."""
    version = lay_out(2 * GIB)
    sources = equal_sources(8, version)
    sources[3] = replace(sources[3], egress_bytes_per_s=RATE // 10)
    scenario = one_recovery("slow", seed, version, sources)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        return [Measure("time / ideal", took_s(report) / (version.size_bytes / (7.1 * RATE)), 1.10)]

    return Case(scenario, measure)


def killed(seed: int) -> Case:
    """Three of eight sources die, one with its machine."""
    version = lay_out(2 * GIB)
    sources = equal_sources(8, version)
    at_ns = SECOND
    faults = [
        Crash(node=sources[index].name, at_ns=at_ns, has_power=index != 1) for index in range(3)
    ]
    scenario = one_recovery("killed", seed, version, sources, *faults)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        left_bytes = version.size_bytes - 8 * RATE * at_ns / SECOND
        ideal_s = at_ns / SECOND + left_bytes / (5 * RATE)
        return [Measure("time / ideal of what remains", took_s(report) / ideal_s, 1.10)]

    return Case(scenario, measure)


def critical(seed: int) -> Case:
    """A tenth of a version is critical, and deferred work saturates every link before it comes."""
    return _critical("critical", seed, has_rival=False)


def contended(seed: int) -> Case:
    """As ``critical``, and another node fetches deferred units from the same sources."""
    return _critical("contended", seed, has_rival=True)


def _critical(name: str, seed: int, *, has_rival: bool) -> Case:
    version = lay_out(2 * GIB, critical=0.1, rest=Criticality.DEFERRED)
    burden = lay_out(4 * GIB, name="llama/b", rest=Criticality.DEFERRED)
    at_ns, wishes = 3 * SECOND, [Wish(RECEIVER, burden)]
    base = one_recovery(name, seed, version, equal_sources(4, version, burden))
    nodes = base.nodes
    if has_rival:
        rival = NodePlan(NodeId("rival"), ingress_bytes_per_s=WIDE, disk_bytes_per_s=8 * GIB)
        nodes = (*nodes, rival)
        wishes.append(Wish(rival.name, burden))
    wishes.append(Wish(RECEIVER, version, at_ns=at_ns))
    options = NodeOptions(is_swarming=False)
    scenario = replace(
        base, nodes=nodes, wishes=tuple(wishes), options=options, limit_ns=60 * SECOND
    )

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        bytes_needed = version.set_bytes(version.classes[Criticality.CRITICAL])
        to_reach = 1.1 * bytes_needed / (4 * RATE) + 0.2
        took_ns = report.recoveries[-1].critical_ns
        return [
            Measure("time to critical, s", 1e9 if took_ns is None else took_ns / SECOND, to_reach)
        ]

    return Case(scenario, measure)


def liars(seed: int) -> Case:
    """Half of ten sources lie in one block of a hundred."""
    version = lay_out(4 * GIB)
    sources = equal_sources(10, version)
    for index in range(5):
        sources[2 * index] = replace(sources[2 * index], bad_share=0.01)
    scenario = one_recovery("liars", seed, version, sources)
    lying = {plan.name for plan in sources if plan.bad_share}

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        counts = cluster.books.nodes[RECEIVER].bad_counts
        caught = {node for node in lying if counts[node]}
        accused = set(report.nodes[-1].quarantined)
        scheduler = cluster.nodes[RECEIVER].scheduler
        named = {
            node
            for node in lying
            if (view := scheduler.peer(node, now=cluster.world.now)) and view.bad_block_count
        }
        used = report.recoveries[0].bytes
        return [
            Measure("honest nodes in quarantine", len(accused - lying), 0),
            Measure("liars that were caught and are not on record", len(caught - named), 0),
            Measure("received / needed", used.received / version.size_bytes, 1.05),
        ]

    return Case(scenario, measure)


def bad(seed: int) -> Case:
    """Of ten sources one falls silent, one dies, one stands still, and so on: all at once."""
    version = lay_out(2 * GIB, critical=0.1)
    sources = equal_sources(10, version)
    sources[0] = replace(sources[0], bad_share=0.01)
    names = [plan.name for plan in sources]
    faults = (
        Mute(node=names[1], at_ns=700 * MS),
        Crash(node=names[2], at_ns=900 * MS, has_power=False),
        Crash(node=names[3], at_ns=1100 * MS, for_ns=SECOND),
        Freeze(node=names[4], at_ns=1300 * MS, for_ns=SECOND),
        Slow(node=names[5], at_ns=500 * MS, egress_bytes_per_s=RATE // 20),
        Loss(node=names[6], receiver=RECEIVER, at_ns=SECOND, for_ns=SECOND, factor=0.02),
        Reset(node=RECEIVER, source=names[7], at_ns=800 * MS),
    )
    scenario = one_recovery("bad", seed, version, sources, *faults)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        used, lanes = report.recoveries[0].bytes, report.nodes[-1].lane_count
        return [
            Measure("duplicates / needed", used.duplicate / version.size_bytes, 0.05),
            Measure("blocks lost half way / lanes", used.cut / (lanes * MIB), 1),
            Measure(
                "other bytes in excess",
                used.received - used.duplicate - used.cut - used.corrupt - version.size_bytes,
                0,
            ),
        ]

    return Case(scenario, measure)


def swarm(seed: int, *, receiver_count: int = 16) -> Case:
    """Sixteen nodes recover from one source; all links are equal."""
    version = lay_out(512 * MIB)
    nodes = _equals(version, 1, receiver_count)
    scenario = Scenario("swarm", seed, nodes, _all_want(version, nodes))

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        copies = report.nodes[0].sent_bytes / version.size_bytes
        return [
            Measure("time / time for one", _slowest_s(report) / _one_s(scenario), 1.5),
            Measure("copies that the source sends", copies, 2),
        ]

    return Case(scenario, measure)


HERD_FOLLOWING: Final = 8
"""Peers that each of a thousand nodes follows besides the sources. A thousand that each follow
all the others would exchange a million documents each time all of them have something to announce;
Kraken's tracker hands out 50 peers, of which 10 are used. Of three hundred nodes the slowest took
1.43 times as long as one alone with 8, and 1.63 with 6; more change little and cost more."""


def herd(seed: int, *, receiver_count: int = 1000) -> Case:
    """A thousand nodes recover from two sources.

    The version has 1024 blocks, half of what a unit usually has. With 512 the sources would have
    a third of all blocks under way at once, and much that they send would be sent twice.
    """
    version = lay_out(GIB)
    nodes = _equals(version, 2, receiver_count)
    scenario = Scenario(
        "herd",
        seed,
        nodes,
        _all_want(version, nodes),
        options=NodeOptions(progress_ns=SECOND),  # a block takes a sixth of that on a lane
        following_max=HERD_FOLLOWING,
        rates_pace_ns=10 * MS,
        announcing_pace_ns=250 * MS,  # as often as a commit is due
        checks_every=1000,  # of 3 million; one at a time they cost more than the rest
        limit_ns=60 * SECOND,
    )

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        times = report.complete_seconds
        unfinished = receiver_count - len(times)
        spread = times[len(times) * 99 // 100] / times[len(times) // 2] if times else math.inf
        copies = sum(node.sent_bytes for node in report.nodes[:2]) / version.size_bytes
        return [
            Measure("recoveries that did not complete", unfinished, 0),
            Measure("time / time for one", _slowest_s(report) / _one_s(scenario), 2),
            Measure("p99 / p50", spread, 2),
            Measure("copies that the sources send", copies, 6),
        ]

    return Case(scenario, measure)


def _equals(version: SavedVersion, source_count: int, receiver_count: int) -> tuple[NodePlan, ...]:
    """Lay out nodes with equal links."""
    return tuple(
        NodePlan(
            NodeId(f"n{index:04}"),
            egress_bytes_per_s=RATE,
            ingress_bytes_per_s=RATE,
            holds=(InitialHolding(version),) if index < source_count else (),
        )
        for index in range(source_count + receiver_count)
    )


def _all_want(version: SavedVersion, nodes: Sequence[NodePlan]) -> tuple[Wish, ...]:
    """Let every node that does not have a version want it at once."""
    return tuple(Wish(plan.name, version) for plan in nodes if not plan.holds)


def _slowest_s(report: Report) -> float:
    times = [recovery.complete_ns for recovery in report.recoveries]
    return max(math.inf if took is None else took / SECOND for took in times)


def _one_s(scenario: Scenario) -> float:
    """Return how long it takes if only one node wants it."""
    alone = replace(scenario, wishes=scenario.wishes[:1], limit_ns=None)
    return took_s(Cluster(alone).run())


CASES: Final[dict[str, Callable[[int], Case]]] = {
    "healthy": healthy,
    "fat": fat,
    "silent": silent,
    "half here": half_here,
    "slow": slow,
    "killed": killed,
    "critical": critical,
    "contended": contended,
    "liars": liars,
    "starting over": starting_over,
    "bad": bad,
    "predicted": predicted,
    "reused": reused,
    "chosen": chosen,
    "lazy": lazy,
    "phased": phased,
    "phased, one slow": unequal,
    "coded": slow_link,
    "coded, wide": wide,
    "coded, busy": busy,
    "coded, foreseen": foreseen,
    "swarm": swarm,
    "herd": herd,
}
"""All of them, by name."""
