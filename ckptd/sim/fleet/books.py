"""Books about a fleet, kept from outside: what must hold at every moment.

They look at what really lies on the nodes, which no node knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ckptd.copies.zones import ZONE_LEVELS_MAX, Zone
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId
from ckptd.model.words import Criticality
from ckptd.sim.fleet.ground import FleetWatch
from ckptd.sim.fleet.member import FREE_MIN, Member, Pulling, Saved
from ckptd.sim.fleet.plan import Lie

_UNNOTICED_NS: Final = 30 * SECOND
"""Who went away so lately may not be missed yet."""


class FleetCheckFailed(AssertionError):
    """What must hold did not: a bug in ckptd, or in the simulator."""


@dataclass(slots=True)
class _Line:
    """What is remembered of one class of one checkpoint.

    Attributes:
        safe: The newest version of which as many copies were there as policy asks for.
        failed: Zones in which something went wrong with it, or a newer one, since then.
    """

    safe: Saved | None = None
    failed: dict[Zone, None] = field(default_factory=dict)


class Books(FleetWatch):
    """Checks while a fleet runs.

    Attributes:
        moved_bytes: What was fetched for copies.
        given_back: How many copies went by decision.
        largest_bytes: The most that was to be fetched for one copy.
    """

    def __init__(self) -> None:
        self.moved_bytes = 0
        self.given_back = 0
        self.largest_bytes = 0
        self._lines: dict[tuple[CheckpointName, Criticality], _Line] = {}
        self._of_name: dict[CheckpointName, dict[Digest, Saved]] = {}
        self._left_ns: dict[NodeId, int] = {}
        self._split_ns = -_UNNOTICED_NS

    def saved(self, member: Member, saved: Saved) -> None:
        """Enter a version."""
        del member
        self._of_name.setdefault(saved.checkpoint, {})[saved.digest] = saved
        self._see_safe(saved)

    def rotated(self, member: Member, saved: Saved) -> None:
        """Take it for a failure of that zone: nobody but the job decided it."""
        self._fail(member, [saved])

    def lost(self, member: Member, saved: Saved) -> None:
        """Enter a failure."""
        self._fail(member, [saved])

    def went(self, member: Member) -> None:
        """Enter a failure of all that lies there."""
        self._left_ns[member.node] = self.ground.now
        self._fail(member, self._lying_on(member))

    def wiped(self, member: Member) -> None:
        """Look at what is left; that it went is entered."""
        self._see_all()

    def split(self, half: frozenset[NodeId]) -> None:
        """Take note of when nodes reached each other last."""
        del half
        self._split_ns = self.ground.now

    def returned(self, member: Member) -> None:
        """See what is safe again."""
        for saved in self._lying_on(member):
            self._see_safe(saved)

    def pulling(self, member: Member, pulling: Pulling) -> None:
        """Check that it is listed there, and that there is room."""
        name, plan = pulling.saved.checkpoint, member.plan
        self.largest_bytes = max(self.largest_bytes, pulling.bytes_left)
        if not member.lists(name):
            self.fail(f"{member.node} fetches {name}, which it does not list")
        if member.copy_bytes > plan.quota_bytes:
            self.fail(f"{member.node} has {member.copy_bytes} bytes, beyond its quota")
        if member.free_bytes < FREE_MIN * plan.disk_bytes:
            self.fail(f"{member.node} fills its disk with copies")

    def moved(self, member: Member, count: int) -> None:
        """Count it, also what liars fetch."""
        del member
        self.moved_bytes += count

    def pulled(self, member: Member, saved: Saved, least: Criticality) -> None:
        """See what is safe by now."""
        del member, least
        self._see_safe(saved)

    def gave_back(self, member: Member, saved: Saved) -> None:
        """Check that nothing becomes fewer by that."""
        held = member.shelf[saved.digest]
        self.given_back += 1
        if not held.is_copy:
            self.fail(f"{member.node} removes what a job saved: {saved.text}")
        if self._is_superseded(member, saved):
            return
        for each in self.asked(saved):
            if held.least is None or held.least < each:
                continue
            others = [
                other
                for other in self._holders(saved, each)
                if other is not member and self._is_within_reach(member, other)
            ]
            asked = self.ground.plan.counts.of(each)
            if len(others) < asked:
                self.fail(
                    f"{member.node} gives back {saved.text}, of which {len(others)} others"
                    f" have what is {each.label}, and {asked} are asked for"
                )
            if missing_elsewhere(others, [member], asked)(member):
                self.fail(f"{member.node} gives back {saved.text}, which is in fewer zones then")

    def fail(self, problem: str) -> NoReturn:
        """Say what is wrong, and when.

        Raises:
            FleetCheckFailed: Always.
        """
        raise FleetCheckFailed(f"{self.ground.now / SECOND:.3f}s {problem}")

    def removed(self, member: Member, saved: Saved) -> None:
        """Look at what is left."""
        del member, saved
        self._see_all()

    def _is_within_reach(self, member: Member, other: Member) -> bool:
        """Tell whether a node can count on another, or cannot know yet that it cannot."""
        ground = self.ground
        if ground.reaches(member, other):
            return True
        changed_ns = max(self._left_ns.get(other.node, 0), self._split_ns)
        return ground.now - changed_ns < _UNNOTICED_NS

    def _is_superseded(self, member: Member, saved: Saved) -> bool:
        """Tell whether newer versions are enough, and one of them is as safe as it was."""
        saved_since = self._of_name[saved.checkpoint].values()
        newer = [each for each in saved_since if each.version > saved.version]
        counts = self.ground.plan.counts
        here = {
            each: sum(
                other is member or self.ground.reaches(member, other)
                for other in self._holders(saved, each)
            )
            for each in self.asked(saved)
        }
        is_one_safe = any(
            all(
                self._count_in_reach(member, each, criticality) >= min(counts.of(criticality), have)
                for criticality, have in here.items()
            )
            for each in newer
        )
        return len(newer) >= self.ground.plan.keep and is_one_safe

    def _count_in_reach(self, member: Member, saved: Saved, criticality: Criticality) -> int:
        return sum(
            other is member or self._is_within_reach(member, other)
            for other in self._holders(saved, criticality)
        )

    def _holders(self, saved: Saved, criticality: Criticality) -> Iterator[Member]:
        """Return on which nodes a class really lies, whether they run or not."""
        for member in self.ground.members.values():
            held = member.shelf.get(saved.digest)
            if held is not None and held.least is not None and held.least >= criticality:
                yield member

    def _lying_on(self, member: Member) -> list[Saved]:
        return [each.saved for each in member.shelf.values()]

    def _see_safe(self, saved: Saved) -> None:
        """See whether as many copies of a version are there as are asked for."""
        for each in self.asked(saved):
            line = self._lines.setdefault((saved.checkpoint, each), _Line())
            if line.safe is not None and line.safe.version > saved.version:
                continue
            there = [other for other in self._holders(saved, each) if is_honest(other)]
            zones = {zone_of(other) for other in there if other.is_up}
            if len(zones) >= self.ground.plan.counts.of(each):
                line.safe = saved
                line.failed.clear()

    def _fail(self, member: Member, concerned: Iterable[Saved]) -> None:
        for saved in concerned:
            for each in self.asked(saved):
                line = self._lines.get((saved.checkpoint, each))
                if line and line.safe and saved.version >= line.safe.version:
                    line.failed[zone_of(member)] = None
        self._see_all()

    def _see_all(self) -> None:
        """Check that of what was safe it or something newer is left."""
        for (name, criticality), line in self._lines.items():
            if line.safe is None:
                continue
            asked = self.ground.plan.counts.of(criticality)
            if len(line.failed) >= asked:
                continue
            is_left = any(
                other.node not in self.ground.dead
                for each in self._of_name[name].values()
                if each.version >= line.safe.version
                for other in self._holders(each, criticality)
            )
            if not is_left:
                self.fail(
                    f"{line.safe.text} is lost, of which {asked} copies were there,"
                    f" and {len(line.failed)} zones failed since"
                )


def is_honest(member: Member) -> bool:
    """Return whether what a node says it has is there."""
    return member.plan.lie not in {Lie.CLAIMS, Lie.DROPS}


def zone_of(member: Member) -> Zone:
    """Return what fails together with a node; where zones are not known, each fails alone."""
    return member.plan.zone if member.plan.known_zone else (member.node,)


def missing_elsewhere(
    holders: Sequence[Member], able: Iterable[Member], asked: int
) -> Callable[[Member], bool]:
    """Return what tells whether a node stands in a zone that lacks a copy.

    Args:
        holders: Who has one.
        able: Who could have one.
        asked: How many copies are asked for; more zones than that are not.
    """
    zones, possible = list(map(zone_of, holders)), list(map(zone_of, [*holders, *able]))
    for level in range(1, ZONE_LEVELS_MAX + 1):
        have = {zone[:level] for zone in zones}
        if len(have) < min(asked, len({zone[:level] for zone in possible})):
            return lambda member: zone_of(member)[:level] not in have
    return lambda _: False
