"""What must be so once nothing went wrong for a while: copies as asked, and no more than those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ckptd.limits import MIB, SECOND
from ckptd.model.ids import CheckpointName
from ckptd.model.words import Criticality
from ckptd.sim.fleet.books import Books, FleetCheckFailed, is_honest, missing_elsewhere
from ckptd.sim.fleet.ground import FleetWatch
from ckptd.sim.fleet.member import FREE_MIN, Member, Saved
from ckptd.sim.fleet.planner import Planner

MOVED_TIMES_MAX: Final = 1.5
"""So many times as much as the planner may be moved."""
COPIES_TOO_MANY_MAX: Final = 2
"""… and so many copies besides: where a planner makes three or none, a race weighs much."""
_SPENT_ON_LIARS_BYTES: Final = 64 * MIB
"""What liars may have sent besides: blocks that were bad."""


class Ending(FleetWatch):
    """Looks at a fleet when all is quiet."""

    def __init__(self) -> None:
        self._of_name: dict[CheckpointName, dict[int, Saved]] = {}

    def saved(self, member: Member, saved: Saved) -> None:
        """Enter a version."""
        del member
        self._of_name.setdefault(saved.checkpoint, {})[saved.version] = saved

    def ended(self) -> None:
        """Check every version."""
        for name, versions in self._of_name.items():
            if not any(self._keeps(member, name) for member in self.ground.members.values()):
                continue
            kept = 0
            for saved in (versions[each] for each in sorted(versions, reverse=True)):
                classes = self.asked(saved)
                if not classes or not self._holders(saved, classes[-1]):
                    continue
                kept += 1
                if kept > self.ground.plan.keep:
                    self._check_gone(saved)
                else:
                    for each in classes:
                        self._check_there(saved, each)
                    self._check_surplus(saved)

    def _keeps(self, member: Member, name: CheckpointName) -> bool:
        return member.is_up and is_honest(member) and member.lists(name)

    def _holders(self, saved: Saved, criticality: Criticality) -> list[Member]:
        return [
            member
            for member in self.ground.members.values()
            if member.is_up and member.has(saved.digest, criticality)
        ]

    def _check_there(self, saved: Saved, criticality: Criticality) -> None:
        """Check that there are as many copies as asked, in as many zones, where there is room."""
        asked = self.ground.plan.counts.of(criticality)
        holders = self._holders(saved, criticality)
        able = list(self._able(saved, criticality, holders))
        if len(holders) < asked and able:
            self._fail(
                f"{saved.text}: {len(holders)} of {asked} have what is {criticality.label},"
                f" and {able[0].node} could"
            )
        elsewhere = next(filter(missing_elsewhere(holders, able, asked), able), None)
        if elsewhere is not None:
            self._fail(
                f"{saved.text}: what is {criticality.label} is in fewer zones than it could be,"
                f" {elsewhere.node} could have it"
            )

    def _able(
        self, saved: Saved, criticality: Criticality, holders: Sequence[Member]
    ) -> Iterator[Member]:
        """Return who could hold it as well, with some room to spare."""
        for member in self.ground.members.values():
            held = member.shelf.get(saved.digest)
            has = held.least if held is not None else None
            missing = saved.up_to(criticality) - saved.up_to(has)
            plan = member.plan
            is_free = member.free_bytes - missing > 2 * FREE_MIN * plan.disk_bytes
            has_room = member.copy_bytes + 2 * missing < plan.quota_bytes and is_free
            if self._keeps(member, saved.checkpoint) and member not in holders and has_room:
                yield member

    def _check_surplus(self, saved: Saved) -> None:
        """Check that no copy could go without a loss."""
        for member in self._holders(saved, Criticality.CRITICAL):
            is_copy = member.shelf[saved.digest].is_copy and self._keeps(member, saved.checkpoint)
            if is_copy and all(self._is_dispensable(member, saved, e) for e in self.asked(saved)):
                self._fail(f"{member.node} keeps a copy of {saved.text} that is too much")

    def _is_dispensable(self, member: Member, saved: Saved, criticality: Criticality) -> bool:
        """Tell whether a class is on enough other nodes, in enough zones."""
        holders = list(filter(is_honest, self._holders(saved, criticality)))
        if member not in holders:
            return True
        others = [other for other in holders if other is not member]
        asked = self.ground.plan.counts.of(criticality)
        is_spread = not missing_elsewhere(others, [member], asked)(member)
        return len(others) >= asked and is_spread

    def _check_gone(self, saved: Saved) -> None:
        for member in self._holders(saved, Criticality.CRITICAL):
            if member.shelf[saved.digest].is_copy:
                self._fail(f"{member.node} keeps a copy of {saved.text}, which is old")

    def _fail(self, problem: str) -> None:
        raise FleetCheckFailed(f"{self.ground.now / SECOND:.3f}s at the end: {problem}")


def check_bytes(books: Books, planner: Planner) -> None:
    """Check that not much more was moved than a planner with full knowledge would have.

    Raises:
        FleetCheckFailed: It was.
    """
    most = MOVED_TIMES_MAX * planner.moved_bytes + COPIES_TOO_MANY_MAX * books.largest_bytes
    if books.moved_bytes > most + _SPENT_ON_LIARS_BYTES:
        raise FleetCheckFailed(
            f"moved {books.moved_bytes} bytes, and a planner {planner.moved_bytes}"
            f" ({books.moved_bytes / max(planner.moved_bytes, 1):.2f} times as much)"
        )
