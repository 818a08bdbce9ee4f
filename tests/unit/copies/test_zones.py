from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.copies.zones import (
    ZONE_LEVELS_MAX,
    Zone,
    parse_zone,
    together,
    zone_text,
    zones_at,
)
from ckptd.errors import UsageError

ZONES = st.lists(st.sampled_from("abc"), max_size=ZONE_LEVELS_MAX).map(tuple)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("", ()),
        ("rack-7", ("rack-7",)),
        ("row-1/rack-7", ("row-1", "rack-7")),
        ("a/b/c/d", ("a", "b", "c", "d")),
        ("x" * 64, ("x" * 64,)),
    ],
)
def test_a_zone_is_read_from_the_widest_to_the_narrowest(text: str, zone: Zone) -> None:
    assert parse_zone(text) == zone
    assert zone_text(zone) == text


@pytest.mark.parametrize(
    "text", ["/", "a/", "/a", "a//b", "a/b/c/d/e", "a b", "x" * 65, "ü", "a\n"]
)
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not 1 to 4 names"):
        parse_zone(text)


@pytest.mark.parametrize(
    ("one", "other", "levels"),
    [
        (("r1", "k1"), ("r2", "k1"), 0),
        (("r1", "k1"), ("r1", "k2"), 1),
        (("r1", "k1"), ("r1", "k1"), ZONE_LEVELS_MAX),
        (("r1",), ("r1", "k1"), ZONE_LEVELS_MAX),
        ((), ("r1",), ZONE_LEVELS_MAX),
        ((), (), ZONE_LEVELS_MAX),
    ],
)
def test_what_is_not_known_is_taken_for_the_worst(one: Zone, other: Zone, levels: int) -> None:
    assert together(one, other) == together(other, one) == levels


def test_only_what_is_certainly_different_counts_as_another_zone() -> None:
    zones: list[Zone] = [("r1", "k1"), ("r1", "k2"), ("r1",), ("r2",), ()]
    assert zones_at(zones, 1) == {("r1",), ("r2",)}
    assert zones_at(zones, 2) == {("r1", "k1"), ("r1", "k2"), ("r2",)}
    assert zones_at([()], 3) == {()}
    assert zones_at([], 1) == frozenset()


@given(zones=st.lists(ZONES, max_size=6), level=st.integers(1, ZONE_LEVELS_MAX))
def test_different_zones_are_those_that_share_fewer_levels(zones: list[Zone], level: int) -> None:
    found = sorted(zones_at(zones, level))
    for index, one in enumerate(found):
        assert all(together(one, other) < level for other in found[index + 1 :])
    for zone in zones:
        assert any(together(zone, each) >= level for each in found)
