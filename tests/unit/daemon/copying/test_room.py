"""How much room copies take, and what is left for others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from ckptd.copies.fleet import Room
from ckptd.daemon.copying.room import copy_bytes, with_less
from ckptd.model.blocks import BlockSet
from ckptd.store.published.places import HeldVersion, Place

ROOM = Room(quota_bytes=100, used_bytes=40, disk_bytes=1000, free_bytes=150)


def test_what_several_take_is_counted_together() -> None:
    assert with_less(ROOM, 30) == Room(100, 70, 1000, 120)
    assert with_less(ROOM, 30).left_bytes == 20


def test_a_copy_of_some_units_takes_its_share() -> None:
    held = cast(
        "HeldVersion", SimpleNamespace(holding=SimpleNamespace(size_bytes=1000, block_count=8))
    )
    some = cast("Place", SimpleNamespace(absent={1}, blocks=BlockSet([(0, 3)])))
    assert copy_bytes(held, some) == 375
    whole = cast("Place", SimpleNamespace(absent=(), blocks=BlockSet.full(8)))
    assert copy_bytes(held, whole) == 1000
