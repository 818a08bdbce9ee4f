"""How copies are spread over zones: whom a further one would be close to, and whether it is better.

Only what is certainly elsewhere counts as elsewhere; see :func:`ckptd.copies.zones.together`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

from ckptd.copies.zones import ZONE_LEVELS_MAX, Zone, together, zones_at

Crowd: TypeAlias = tuple[int, int]
"""How many levels a node shares at most with any holder, and with how many it does; less is
better. ``(0, 0)``: it shares nothing with anybody."""

NOBODY: Crowd = (0, 0)

LEVELS = range(1, ZONE_LEVELS_MAX + 1)


def crowd(zone: Zone, holders: Iterable[Zone]) -> Crowd:
    """Return how close a node would be to holders.

    Args:
        zone: Where it is.
        holders: Where each of them is.
    """
    most, times = 0, 0
    for each in holders:
        shared = together(zone, each)
        if shared > most:
            most, times = shared, 1
        elif shared and shared == most:
            times += 1
    return most, times


def missing_level(holders: Collection[Zone], possible: Iterable[int], count: int) -> int | None:
    """Return the widest level at which copies are in fewer zones than they could be.

    Args:
        holders: Where each copy is.
        possible: In how many zones nodes are that could have one, level by level.
        count: How many copies are asked; more zones than that are not.

    Returns:
        From 1; ``None`` if they are in as many zones as they could be.
    """
    for level, zones in zip(LEVELS, possible, strict=True):
        have = len(zones_at(holders, level))
        if have >= count:
            return None
        if have < zones:
            return level
    return None


def zones_by_level(zones: Iterable[Zone]) -> tuple[int, ...]:
    """Return in how many zones some nodes certainly are, level by level."""
    distinct = set(zones)
    return tuple(len(zones_at(distinct, level)) for level in LEVELS)


def is_as_spread(without: Collection[Zone], lost: Zone, count: int) -> bool:
    """Tell whether copies are in as many zones without one of them.

    Args:
        without: Where the others are.
        lost: Where that one is.
        count: How many copies are asked; more zones than that are not.
    """
    for level in LEVELS:
        have = len(zones_at(without, level))
        if have >= count:
            return True
        if have < len(zones_at([*without, lost], level)):
            return False
    return True
