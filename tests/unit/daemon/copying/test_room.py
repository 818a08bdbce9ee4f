"""How much room copies take, and when there is none for another one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.copies.fleet import Room
from ckptd.daemon.copying.room import copy_bytes, has_room_for, with_less
from ckptd.model.blocks import BlockSet
from ckptd.store.published.places import HeldVersion, Place

ROOM = Room(quota_bytes=100, used_bytes=40, disk_bytes=1000, free_bytes=150)


@pytest.mark.parametrize(
    ("more_bytes", "has_room"), [(0, True), (50, True), (51, False), (60, False), (61, False)]
)
def test_a_copy_fits_into_the_quota_and_leaves_a_tenth_of_the_disk(
    more_bytes: int, has_room: bool
) -> None:
    assert has_room_for(ROOM, more_bytes) is has_room


def test_the_quota_counts_to_the_byte() -> None:
    empty = Room(quota_bytes=100, used_bytes=40, disk_bytes=0, free_bytes=10**6)
    assert has_room_for(empty, 60)
    assert not has_room_for(empty, 61)


def test_what_several_take_is_counted_together() -> None:
    assert with_less(ROOM, 30) == Room(100, 70, 1000, 120)
    assert has_room_for(with_less(ROOM, 30), 20)
    assert not has_room_for(with_less(ROOM, 30), 21)


def test_a_copy_of_some_units_takes_its_share() -> None:
    held = cast(
        "HeldVersion", SimpleNamespace(holding=SimpleNamespace(size_bytes=1000, block_count=8))
    )
    some = cast("Place", SimpleNamespace(absent={1}, blocks=BlockSet([(0, 3)])))
    assert copy_bytes(held, some) == 375
    whole = cast("Place", SimpleNamespace(absent=(), blocks=BlockSet.full(8)))
    assert copy_bytes(held, whole) == 1000
