"""What must be visible before a unit is: checked, and followed to its beginning.

A unit names its prerequisites by their place in the manifest. Nearly none has any, so whatever is
kept here is kept for those that have.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from ckptd.limits import MANIFEST_PREREQUISITES_MAX, UNIT_PREREQUISITES_MAX
from ckptd.model.unit_paths import invalid

Prerequisites = Mapping[int, Sequence[int]]
"""Of each unit that has any."""

_SHOWN_MAX: Final = 8


class PrerequisitesCheck:
    """Checks what all units of a manifest name as their prerequisites.

    Memory: for units that have any.
    """

    def __init__(self) -> None:
        self._after: dict[int, array[int]] = {}
        self._count = 0

    def take(self, index: int, path: str, after: Sequence[int], unit_count: int) -> None:
        """Take a unit that has prerequisites, and check them by themselves.

        Args:
            index: Its place in the manifest.
            path: Its path.
            after: What it names.
            unit_count: How many units there are.

        Raises:
            InvalidManifest: A rule is broken.
        """
        shown = repr(path[:80])
        if len(after) > UNIT_PREREQUISITES_MAX:
            raise invalid(
                f"puts {shown} after {len(after)} units, more than {UNIT_PREREQUISITES_MAX}"
            )
        if any(not 0 <= each < unit_count for each in after):
            raise invalid(f"puts {shown} after a unit that does not exist")
        if index in after:
            raise invalid(f"puts {shown} after itself")
        if any(one >= other for one, other in pairwise(after)):
            raise invalid(f"names what {shown} comes after twice or out of order")
        self._count += len(after)
        if self._count > MANIFEST_PREREQUISITES_MAX:
            raise invalid(f"puts units after more than {MANIFEST_PREREQUISITES_MAX} others")
        self._after[index] = array("I", after)

    def finish(self, class_starts: Sequence[int], path_of: Callable[[int], str]) -> None:
        """Check the prerequisites of all units against each other.

        Args:
            class_starts: Where each class of phase and criticality begins.
            path_of: Returns the path of a unit.

        Raises:
            InvalidManifest: Some go round, or one is less urgent than what needs it.

        Cost: O(prerequisites).
        """
        if cycle := find_cycle(self._after):
            way = way_round(map(path_of, cycle), len(cycle))
            raise invalid(f"puts units after themselves: {way}")
        for unit, needed in self._after.items():
            last = needed[-1]  # the least urgent: units stand in urgency order
            if bisect_right(class_starts, last) > bisect_right(class_starts, unit):
                raise invalid(
                    f"puts {path_of(unit)[:80]!r} after {path_of(last)[:80]!r}, "
                    "which is less urgent or of a later phase"
                )


def find_cycle(after: Prerequisites) -> tuple[int, ...]:
    """Return units of which each comes after the next one, the first one again at the end.

    Empty if there are none such. Which of several is found depends on the units alone.

    Cost: O(prerequisites).
    """
    finished: set[int] = set()
    for first in sorted(after):
        way: list[tuple[int, Iterator[int]]] = []
        on_way: set[int] = set()
        following: int | None = first
        while following is not None:
            if following in on_way:
                units = [unit for unit, _ in way]
                return (*units[units.index(following) :], following)
            if following not in finished:
                way.append((following, iter(after.get(following, ()))))
                on_way.add(following)
            following = next(way[-1][1], None) if way else None
            while way and following is None:  # go back from what has nothing more to look at
                unit, _ = way.pop()
                on_way.remove(unit)
                finished.add(unit)
                following = next(way[-1][1], None) if way else None
    return ()


def way_round(paths: Iterable[str], count: int) -> str:
    """Return the path round for people: ``'a' → 'b' → 'a'``; of a long one both ends.

    Args:
        paths: Of units that go round, the first one again at the end.
        count: How many there are.
    """
    shown = [
        repr(path[:80])
        for place, path in enumerate(paths)
        if place < _SHOWN_MAX or place == count - 1
    ]
    if count > len(shown):
        shown.insert(-1, f"({count - len(shown)} more)")
    return " → ".join(shown)


def all_prerequisites(
    units: Iterable[int], after_of: Callable[[int], Sequence[int]]
) -> frozenset[int]:
    """Return all that must be visible before some units are, however many steps away.

    Args:
        units: Which units; of them only those are returned that others need.
        after_of: Returns what one names itself.

    Cost: O(units that are given or returned, and their prerequisites).
    """
    found: set[int] = set()
    waiting = list(units)
    while waiting:
        for needed in after_of(waiting.pop()):
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return frozenset(found)
