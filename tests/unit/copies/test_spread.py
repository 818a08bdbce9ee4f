from __future__ import annotations

import pytest

from ckptd.copies.spread import NOBODY, crowd, is_as_spread, missing_level, zones_by_level
from ckptd.copies.zones import ZONE_LEVELS_MAX, Zone

A1: Zone = ("a", "1")
A2: Zone = ("a", "2")
B1: Zone = ("b", "1")


@pytest.mark.parametrize(
    ("zone", "holders", "expected"),
    [
        (A1, [], NOBODY),
        (A1, [B1, ("c",)], NOBODY),
        (A1, [A2, B1], (1, 1)),
        (A1, [A2, A2], (1, 2)),
        (A1, [A2, A1, A2], (ZONE_LEVELS_MAX, 1)),
        ((), [A1, B1], (ZONE_LEVELS_MAX, 2)),
    ],
)
def test_a_crowd_is_how_many_levels_are_shared_and_with_how_many(
    zone: Zone, holders: list[Zone], expected: tuple[int, int]
) -> None:
    assert crowd(zone, holders) == expected


@pytest.mark.parametrize(
    ("holders", "count", "level"),
    [
        ([A1, A1], 2, 1),
        ([A1, B1], 2, None),
        ([A1, B1], 3, 2),
        ([A1, B1, A2], 3, None),
        ([A1, A1], 1, None),
        ([(), A1], 2, 1),
    ],
)
def test_copies_could_be_in_more_zones(holders: list[Zone], count: int, level: int | None) -> None:
    assert missing_level(holders, zones_by_level([A1, A2, B1]), count) == level


def test_what_is_nowhere_else_is_not_missed() -> None:
    assert missing_level([A1, A1], zones_by_level([A1, ()]), 2) is None


@pytest.mark.parametrize(
    ("without", "lost", "count", "expected"),
    [
        ([A1, B1], A2, 2, True),
        ([A1, A2], B1, 2, False),
        ([A1, A1], A2, 2, False),
        ([A1, A1], A1, 2, True),
        ([A1, A2], B1, 1, True),
        ([A1, B1, B1], A2, 3, False),
        ([A1], (), 2, True),
    ],
)
def test_copies_are_as_spread_without_one_if_no_zone_is_lost(
    without: list[Zone], lost: Zone, count: int, expected: bool
) -> None:
    assert is_as_spread(without, lost, count) is expected
