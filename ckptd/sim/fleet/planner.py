"""A planner with full knowledge: how few bytes would do.

It lives through the same fleet: the same saves, losses, wipes and partitions. It knows at once who
has what, who lies, who has room and who reaches whom, and its copies are there in no time. It does
what policy says and nothing else: as many copies as are asked for of the newest versions, in as
many zones as there are, where a lost holder counts for the grace time; what is too much goes again.
It does not know the future.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ckptd.copies.zones import together
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId
from ckptd.model.words import Criticality
from ckptd.sim.fleet.books import is_honest, missing_elsewhere
from ckptd.sim.fleet.ground import FleetWatch
from ckptd.sim.fleet.member import FREE_MIN, Member, Saved


@dataclass(slots=True)
class _Planned:
    """A version and which classes of it the planner has put where."""

    saved: Saved
    copies: dict[NodeId, Criticality] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Coming:
    """A copy that is made: since when, how large it is, how fast it comes."""

    since_ns: int
    size_bytes: int
    rate_bytes_per_s: int

    def came_bytes(self, now: int) -> int:
        """Return what is here of it."""
        return min(self.size_bytes, (now - self.since_ns) * self.rate_bytes_per_s // SECOND)


class Planner(FleetWatch):
    """Plans, beside a fleet that decides for itself."""

    def __init__(self) -> None:
        self._moved_bytes = 0
        self._coming: dict[tuple[Digest, NodeId], _Coming] = {}
        self._of_name: dict[CheckpointName, dict[Digest, _Planned]] = {}
        self._left_ns: dict[NodeId, int] = {}
        self._apart_ns: int | None = None
        self._since_ns: dict[tuple[Digest, NodeId], int] = {}
        self._is_stale = True

    def saved(self, member: Member, saved: Saved) -> None:
        """Enter a version."""
        self._since_ns[saved.digest, member.node] = self.ground.now
        self._of_name.setdefault(saved.checkpoint, {}).setdefault(saved.digest, _Planned(saved))
        self._is_stale = True

    def rotated(self, member: Member, saved: Saved) -> None:
        """Plan again."""
        del member, saved
        self._is_stale = True

    def lost(self, member: Member, saved: Saved) -> None:
        """Lose the same copy, if it put one there."""
        planned = self._of_name[saved.checkpoint][saved.digest]
        self._drop(planned, member)

    def went(self, member: Member) -> None:
        """Count its copies for a while."""
        self._left_ns[member.node] = self.ground.now
        self._is_stale = True

    def returned(self, member: Member) -> None:
        """Count its copies again."""
        self._left_ns.pop(member.node, None)
        self._is_stale = True

    def wiped(self, member: Member) -> None:
        """Lose what it put there."""
        for planned in self._all():
            self._drop(planned, member)
        self._is_stale = True

    def split(self, half: frozenset[NodeId]) -> None:
        """Plan for each half from the grace time on."""
        self._apart_ns = self.ground.now if half else None
        self._is_stale = True

    def ticked(self) -> None:
        """Plan if anything changed, or the grace time of somebody is over."""
        now, grace_ns = self.ground.now, self.ground.plan.grace_ns
        since = [*self._left_ns.values(), *([] if self._apart_ns is None else [self._apart_ns])]
        if not self._is_stale and all(now - each > grace_ns + 10**10 for each in since):
            return
        self._is_stale = False
        up = [member for member in self.ground.members.values() if member.is_up]
        inside = [member for member in up if member.node in self.ground.half]
        outside = [member for member in up if member.node not in self.ground.half]
        for side in (inside, outside):
            if side:
                for versions in self._of_name.values():
                    self._plan_name(list(versions.values()), side)

    @property
    def moved_bytes(self) -> int:
        """What its copies cost by now."""
        now = self.ground.now
        return self._moved_bytes + sum(each.came_bytes(now) for each in self._coming.values())

    def _fetch(self, member: Member, planned: _Planned, criticality: Criticality) -> None:
        key, now = (planned.saved.digest, member.node), self.ground.now
        count = self._missing(member, planned, criticality)
        coming = self._coming.pop(key, _Coming(now, 0, member.plan.rate_bytes_per_s))
        if coming.came_bytes(now) == coming.size_bytes:  # all that it was to have before
            self._moved_bytes += coming.size_bytes
            coming = replace(coming, since_ns=now, size_bytes=0)
        self._coming[key] = replace(coming, size_bytes=coming.size_bytes + count)

    def _drop(self, planned: _Planned, member: Member) -> None:
        planned.copies.pop(member.node, None)
        coming = self._coming.pop((planned.saved.digest, member.node), None)
        if coming is not None:
            self._moved_bytes += coming.came_bytes(self.ground.now)
            self._is_stale = True

    def _all(self) -> Iterator[_Planned]:
        for versions in self._of_name.values():
            yield from versions.values()

    def _plan_name(self, versions: list[_Planned], side: list[Member]) -> None:
        """Copy the newest versions that are whole on a side; forget the copies of older ones."""
        versions.sort(key=lambda each: -each.saved.version)
        kept = 0
        for planned in versions:
            classes = self.asked(planned.saved)
            if kept < self.ground.plan.keep:
                for each in classes:
                    self._plan_class(planned, each, side)
                kept += any(self._has(member, planned, classes[-1]) for member in side)
            else:
                for member in side:
                    self._drop(planned, member)

    def _plan_class(self, planned: _Planned, criticality: Criticality, side: list[Member]) -> None:
        asked = self.ground.plan.counts.of(criticality)
        if not any(self._has(member, planned, criticality) for member in side):
            return
        counting = [
            member
            for member in self.ground.members.values()
            if self._has(member, planned, criticality)
            and is_honest(member)
            and self._counts(member, planned, side)
        ]
        able = self._able(planned, criticality, side)
        while True:
            elsewhere = missing_elsewhere(counting, able, asked)
            found = [each for each in able if each not in counting]
            if len(counting) >= asked:
                found = [each for each in found if elsewhere(each)]
            if not found:
                break
            chosen = self._nearest(planned, criticality, found, counting)
            self._fetch(chosen, planned, criticality)
            planned.copies[chosen.node] = criticality
            self._since_ns[planned.saved.digest, chosen.node] = self.ground.now
            counting.append(chosen)
        self._give_back(planned, criticality, [each for each in counting if each in side])

    def _give_back(self, planned: _Planned, criticality: Criticality, live: list[Member]) -> None:
        """Remove what is too much of the least urgent class of a copy."""
        asked = self.ground.plan.counts.of(criticality)
        for member in reversed(live):
            others = [each for each in live if each is not member]
            is_spread = not missing_elsewhere(others, live, asked)(member)
            is_enough = len(others) >= asked and is_spread
            if is_enough and planned.copies.get(member.node) is criticality:
                self._drop(planned, member)
                live = others

    def _able(
        self, planned: _Planned, criticality: Criticality, side: list[Member]
    ) -> list[Member]:
        """Return who could hold a class."""
        return [
            member
            for member in side
            if is_honest(member)
            and member.lists(planned.saved.checkpoint)
            and self._has_room(member, self._missing(member, planned, criticality))
        ]

    def _nearest(
        self,
        planned: _Planned,
        criticality: Criticality,
        found: list[Member],
        counting: list[Member],
    ) -> Member:
        """Choose whoever stands farthest from the others, of those the one that needs least."""
        return min(
            found,
            key=lambda member: (
                sorted((together(member.plan.zone, e.plan.zone) for e in counting), reverse=True),
                self._missing(member, planned, criticality),
                member.node,
            ),
        )

    def _missing(self, member: Member, planned: _Planned, criticality: Criticality) -> int:
        has = planned.copies.get(member.node)
        return planned.saved.up_to(criticality) - planned.saved.up_to(has)

    def _has(self, member: Member, planned: _Planned, criticality: Criticality) -> bool:
        """Return whether a class lies there: a job saved it, or it was put there."""
        held = member.shelf.get(planned.saved.digest)
        if held is not None and not held.is_copy:
            return True
        least = planned.copies.get(member.node)
        return least is not None and least >= criticality

    def _counts(self, member: Member, planned: _Planned, side: list[Member]) -> bool:
        """Tell whether a holder counts: it is there, or was known and is not away for long."""
        if member in side:
            return True
        away_ns = self._apart_ns if member.is_up else self._left_ns.get(member.node)
        since_ns = self._since_ns.get((planned.saved.digest, member.node), 0)
        if away_ns is None or since_ns > away_ns:
            return False
        return self.ground.now - away_ns <= self.ground.plan.grace_ns

    def _has_room(self, member: Member, count: int) -> bool:
        copies = sum(each.saved.up_to(each.copies.get(member.node)) for each in self._all())
        own = sum(
            held.saved.up_to(held.least) for held in member.shelf.values() if not held.is_copy
        )
        plan = member.plan
        is_free = plan.disk_bytes - own - copies - count >= FREE_MIN * plan.disk_bytes
        return is_free and copies + count <= plan.quota_bytes
