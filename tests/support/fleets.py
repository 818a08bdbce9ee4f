"""Small fleets whose nodes decide about copies, each by itself, from views that may be late.

All in memory and in rounds of a few seconds: what is fetched takes some rounds, what is given back
goes at once. What nodes know of each other may be some rounds old, for each another number. The
simulator of whole fleets is ``ckptd.sim.fleet``; this one is for properties of the decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.decided import Decided, GiveBack, Pull
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView, OwnCopy, Room
from ckptd.copies.zones import Zone, zones_at
from ckptd.limits import GIB, SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import Criticality, GivenBackBecause

LAST: Final = max(Criticality)
LLAMA: Final = CheckpointName("llama")
SIZES: Final = dict.fromkeys(Criticality, GIB)
ROUND_NS: Final = 5 * SECOND
GRACE_NS: Final = 60 * SECOND


def digest_of(name: str, version: int, rival: int = 0) -> Digest:
    return Digest(f"{abs(hash_of(name)):032x}{version:024x}{rival:08x}")


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode()[-15:])


def fleet_version(
    *claims: Claim,
    version: int = 7,
    name: CheckpointName = LLAMA,
    sizes: Mapping[Criticality, int] = SIZES,
    rival: int = 0,
) -> FleetVersion:
    return FleetVersion(name, Version(version), digest_of(name, version, rival), sizes, claims)


def claim(
    node: str,
    least: Criticality | None = LAST,
    *,
    is_proven: bool = True,
    held_bytes: int | None = None,
) -> Claim:
    held = 0 if least is None else GIB * (least + 1)
    return Claim(NodeId(node), least, is_proven, held if held_bytes is None else held_bytes)


def fleet_view(
    own: str,
    nodes: Iterable[FleetNode],
    *versions: FleetVersion,
    rule: CopyRule | None = None,
    members: Iterable[str] | None = None,
    copies: Iterable[FleetVersion] = (),
    room: Room | None = None,
    pair: str | None = None,
) -> FleetView:
    known = {each.node: each for each in nodes}
    kept = tuple(known) if members is None else tuple(map(NodeId, members))
    return FleetView(
        own=NodeId(own),
        rule_of=lambda _: rule or CopyRule(),
        nodes=known,
        members={each.checkpoint: kept for each in versions},
        versions=versions,
        room=room or Room(quota_bytes=10_000 * GIB),
        own_copies=[
            OwnCopy(each.digest, each.checkpoint, each.version, 3 * GIB) for each in copies
        ],
        grace_ns=GRACE_NS,
        pair=pair,
    )


@dataclass
class Stored:
    """What a node has of a version.

    Attributes:
        version: Of which, without claims.
        least: What it has whole.
        held_bytes: How much it has.
        is_copy: It was made by policy.
        aim: What it fetches; ``None``: nothing.
        since: In which round that became whole what it has.
    """

    version: FleetVersion
    least: Criticality | None
    held_bytes: int
    is_copy: bool
    aim: Criticality | None = None
    since: int = 0


@dataclass
class Member:
    """A node of the fleet.

    Attributes:
        zone: Where it is.
        is_live: It answers.
        lost_since_ns: Since when not.
        quota_bytes: What its copies may take.
        is_wiped: Its disk is empty when it returns.
        is_lame: It never fetches anything, whatever it announces.
        stored: What it has.
        decider: Decides for it.
        is_full: It says so.
    """

    zone: Zone
    quota_bytes: int = 10_000 * GIB
    is_live: bool = True
    lost_since_ns: int | None = None
    is_wiped: bool = False
    is_lame: bool = False
    is_full: bool = False
    stored: dict[Digest, Stored] = field(default_factory=dict)
    decider: Decider = field(default_factory=Decider)


Known = tuple[Mapping[NodeId, FleetNode], tuple[FleetVersion, ...]]


class Fleet:
    """Nodes that decide by themselves.

    Args:
        zones: Where each node is.
        rule: What is asked for of every checkpoint.
        rng: Draws how late views are and in which order nodes act.
        lateness_max: So many rounds a view may be late.
        rounds_each: So many rounds a fetch takes.
        proof_rounds: After so many rounds a claim is proven.
        pair: How the first holder is found.
        asks: Who gives something back asks the others first, as the daemon does.
    """

    def __init__(
        self,
        zones: Mapping[str, Zone],
        rule: CopyRule | None = None,
        *,
        rng: Random | None = None,
        lateness_max: int = 0,
        rounds_each: int = 2,
        proof_rounds: int = 1,
        pair: str | None = None,
        asks: bool = False,
    ) -> None:
        self.nodes = {NodeId(node): Member(zone) for node, zone in zones.items()}
        self.rule = rule or CopyRule(CopyCounts(), 2)
        self.rounds = 0
        self.begun: list[tuple[NodeId, Pull]] = []
        self.given: list[tuple[NodeId, GiveBack]] = []
        self.moved_bytes = 0
        self._rng = rng or Random(1)
        self._lateness_max = lateness_max
        self._rounds_each = rounds_each
        self._proof_rounds = proof_rounds
        self._pair = pair
        self._asks = asks
        self._known: deque[Known] = deque(maxlen=lateness_max + 1)

    @property
    def now(self) -> int:
        return (self.rounds + 1) * ROUND_NS

    def publish(self, node: str, version: int, name: CheckpointName = LLAMA) -> FleetVersion:
        """Let a job save a version on a node."""
        made = fleet_version(version=version, name=name)
        self.nodes[NodeId(node)].stored[made.digest] = Stored(
            made, LAST, 3 * GIB, is_copy=False, since=-1_000
        )
        return made

    def lose(self, *nodes: str, wiped: bool = False) -> None:
        for each in nodes:
            member = self.nodes[NodeId(each)]
            member.is_live, member.lost_since_ns = False, self.now
            member.is_wiped = wiped

    def bring_back(self, *nodes: str) -> None:
        """Let nodes start again; they remember nothing of what they decided."""
        for each in nodes:
            member = self.nodes[NodeId(each)]
            member.is_live, member.lost_since_ns = True, None
            member.decider = Decider()
            if member.is_wiped:
                member.stored.clear()

    def holders(self, version: FleetVersion, criticality: Criticality) -> list[NodeId]:
        """Return who answers and really has a class of a version."""
        return [
            node
            for node, member in self.nodes.items()
            if member.is_live
            and (stored := member.stored.get(version.digest)) is not None
            and stored.least is not None
            and stored.least >= criticality
        ]

    def counts(self, version: FleetVersion) -> tuple[int, ...]:
        return tuple(len(self.holders(version, each)) for each in Criticality)

    def zones(self, version: FleetVersion, criticality: Criticality, level: int = 1) -> int:
        found = self.holders(version, criticality)
        return len(zones_at((self.nodes[node].zone for node in found), level))

    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self.step()

    def step(self) -> None:
        """Let everybody decide, act and fetch, and time pass."""
        self._known.append(self._facts())
        nodes = list(self.nodes)
        self._rng.shuffle(nodes)
        decided = {
            node: self.nodes[node].decider.decide(self._view(node), now=self.now)
            for node in nodes
            if self.nodes[node].is_live
        }
        for node, each in decided.items():
            self._act(node, each)
        for node in nodes:
            self._fetch(node)
        self.rounds += 1

    def _facts(self) -> Known:
        nodes = {
            node: FleetNode(
                node, member.zone, member.is_live, member.lost_since_ns, is_full=member.is_full
            )
            for node, member in self.nodes.items()
        }
        found: dict[Digest, FleetVersion] = {}
        claims: dict[Digest, list[Claim]] = {}
        for node, member in self.nodes.items():
            for digest, stored in member.stored.items():
                found[digest] = stored.version
                is_proven = self.rounds >= stored.since + self._proof_rounds
                claims.setdefault(digest, []).append(
                    Claim(node, stored.least, is_proven, stored.held_bytes)
                )
        versions = tuple(
            FleetVersion(
                each.checkpoint,
                each.version,
                digest,
                each.sizes_bytes,
                tuple(claims[digest]),
            )
            for digest, each in found.items()
        )
        return nodes, versions

    def _view(self, own: NodeId) -> FleetView:
        """Return what a node knows: the others some rounds late, itself as it is."""
        late = min(self._rng.randint(0, self._lateness_max), len(self._known) - 1)
        nodes, versions = self._known[-1 - late]
        now_nodes, now_versions = self._known[-1]
        mine = {
            version.digest: next((each for each in version.claims if each.node == own), None)
            for version in now_versions
        }
        known = [
            FleetVersion(
                each.checkpoint,
                each.version,
                each.digest,
                each.sizes_bytes,
                tuple(
                    sorted(
                        (
                            *(other for other in each.claims if other.node != own),
                            *((Claim(own, held.least, True, held.held_bytes),) if held else ()),
                        ),
                        key=lambda one: one.node,
                    )
                ),
            )
            for each in {
                **{each.digest: each for each in now_versions if mine[each.digest]},
                **{each.digest: each for each in versions},
            }.values()
            for held in (mine.get(each.digest),)
        ]
        member = self.nodes[own]
        copies = [
            OwnCopy(digest, each.version.checkpoint, each.version.version, each.held_bytes)
            for digest, each in member.stored.items()
            if each.is_copy and each.least is not None
        ]
        used_bytes = sum(each.held_bytes for each in member.stored.values() if each.is_copy)
        members = tuple(self.nodes)
        return FleetView(
            own=own,
            rule_of=lambda _: self.rule,
            nodes={**nodes, own: now_nodes[own]},
            members={each.checkpoint: members for each in known},
            versions=known,
            room=Room(member.quota_bytes, used_bytes),
            own_copies=copies,
            grace_ns=GRACE_NS,
            pair=self._pair,
        )

    def _act(self, node: NodeId, decided: Decided) -> None:
        member = self.nodes[node]
        member.is_full = decided.is_full
        for given in decided.give_back:
            stored = member.stored[given.digest]
            assert stored.is_copy, "what a job has is never given back"
            if given.why is GivenBackBecause.SURPLUS and not self._is_enough(node, stored):
                assert self._asks, (node, given)
                continue
            del member.stored[given.digest]
            self.given.append((node, given))
        wanted = {pull.digest: pull for pull in decided.pulls}
        for digest in [each for each, it in member.stored.items() if it.aim is not None]:
            if digest not in wanted:
                self._stop(node, digest)
        running = [it for it in member.stored.values() if it.aim is not None]
        names = {it.version.checkpoint for it in running}
        for pull in decided.pulls:
            known = member.stored.get(pull.digest)
            if known is not None and known.aim is not None:
                known.aim = pull.least
            elif len(names) < 2 and pull.checkpoint not in names and not member.is_lame:
                names.add(pull.checkpoint)
                self._begin(node, pull)

    def _begin(self, node: NodeId, pull: Pull) -> None:
        stored = self.nodes[node].stored
        known = stored.get(pull.digest)
        if known is None:
            (version,) = [it for it in self._known[-1][1] if it.digest == pull.digest]
            known = stored[pull.digest] = Stored(version, None, 0, is_copy=True)
        known.aim = pull.least
        self.begun.append((node, pull))

    def _stop(self, node: NodeId, digest: Digest) -> None:
        """End a fetch that is wanted no more; what it has is removed."""
        known = self.nodes[node].stored[digest]
        known.aim = None
        if known.least is None:
            del self.nodes[node].stored[digest]
        else:
            known.held_bytes = known.version.size_down_to(known.least)

    def _fetch(self, node: NodeId) -> None:
        member = self.nodes[node]
        if not member.is_live:
            return
        for digest, known in member.stored.items():
            if known.aim is None:
                continue
            size_bytes = known.version.size_down_to(known.aim)
            if not any(
                each != node and each in self.holders(known.version, known.aim)
                for each in self.nodes
            ):
                continue
            came = min(-(-size_bytes // self._rounds_each), size_bytes - known.held_bytes)
            known.held_bytes += came
            self.moved_bytes += came
            if known.held_bytes >= size_bytes:
                known.least, known.aim, known.since = known.aim, None, self.rounds
            assert digest == known.version.digest

    def _is_enough(self, node: NodeId, gone: Stored) -> bool:
        """Tell whether without a copy there are as many as asked, in as many zones as with it."""
        assert gone.least is not None
        for criticality in Criticality:
            if criticality > gone.least:
                continue
            count = self.rule.counts.of(criticality)
            left = [each for each in self.holders(gone.version, criticality) if each != node]
            zones = [self.nodes[each].zone for each in left]
            before = len(zones_at([*zones, self.nodes[node].zone], 1))
            if len(left) < max(count, 1) or len(zones_at(zones, 1)) < min(count, before):
                return False
        return True
