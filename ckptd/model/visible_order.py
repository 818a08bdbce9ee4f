"""The order in which units become visible that are placed one by one.

A unit comes after all of its prerequisites. Among those that may come next it is first what is
nothing but itself, then what names other files (an index of weights), then the commit markers of
the format, by which readers know that all is there; and within each of these by address.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from ckptd.model.completeness import is_commit_marker, names_others
from ckptd.model.manifest import Manifest

_PLAIN, _NAMES_OTHERS, _MARKER = range(3)


def visible_order(manifest: Manifest, units: Iterable[int]) -> list[int]:
    """Return some units of a manifest in the order in which they become visible.

    A prerequisite that is not among them is taken to be visible already. What comes after a
    marker because the manifest says so comes behind it, last of all.

    Args:
        manifest: Which manifest; one that was checked.
        units: Places of units in it, each once, in any order.

    Cost: O(n log n); memory for each unit that is given, and for its prerequisites.
    """
    ranks: dict[int, int] = {}
    left: dict[int, int] = {}  # prerequisites that are not in the order yet
    dependents: dict[int, list[int]] = {}
    given = sorted(units)
    within = set(given)
    for index in given:
        unit = manifest.units[index]
        if rank := _rank(unit.path):
            ranks[index] = rank
        needed = [each for each in unit.after if each in within]
        if needed:
            left[index] = len(needed)
            for each in needed:
                dependents.setdefault(each, []).append(index)
    ready = [(ranks.get(index, _PLAIN), index) for index in given if index not in left]
    heapify(ready)
    order: list[int] = []
    while ready:
        _, index = heappop(ready)
        order.append(index)
        for dependent in dependents.pop(index, ()):
            left[dependent] -= 1
            if not left[dependent]:
                heappush(ready, (ranks.get(dependent, _PLAIN), dependent))
    assert len(order) == len(given), "prerequisites of a checked manifest do not go round"
    return order


def _rank(path: str) -> int:
    if is_commit_marker(path):
        return _MARKER
    return _NAMES_OTHERS if names_others(path) else _PLAIN
