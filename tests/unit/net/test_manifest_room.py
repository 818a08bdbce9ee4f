"""Two manifests always have room; who began last gives way to who began earlier."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ckptd.errors import Shortage
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.net.manifest_room import ROOM_BYTES, ManifestRoom


def test_two_of_the_longest_have_room_and_a_third_waits() -> None:
    room = ManifestRoom()
    with room.share() as first, room.share() as second, room.share() as third:
        first.grow(MANIFEST_BYTES_MAX)
        second.grow(MANIFEST_BYTES_MAX)
        assert room.taken_bytes == ROOM_BYTES
        with pytest.raises(Shortage, match="no memory"):
            third.grow(1)
        first.grow(0)
        second.grow(0)


def test_what_drips_takes_no_room_from_others() -> None:
    room = ManifestRoom()
    with ExitStack() as stack:
        dripping = [stack.enter_context(room.share()) for _ in range(2)]
        honest = stack.enter_context(room.share())
        for each in dripping:
            each.grow(1 * MIB)
        honest.grow(MANIFEST_BYTES_MAX)


def test_who_began_last_gives_way_when_the_first_ones_grow() -> None:
    room = ManifestRoom()
    with ExitStack() as stack:
        first, second, third, fourth = (stack.enter_context(room.share()) for _ in range(4))
        third.grow(40 * MIB)
        fourth.grow(40 * MIB)
        first.grow(MANIFEST_BYTES_MAX)
        assert (third.gives_way, fourth.gives_way) == (False, True)
        with pytest.raises(Shortage):
            fourth.grow(1)
        third.grow(1)
        second.grow(MANIFEST_BYTES_MAX)
        with pytest.raises(Shortage):
            third.grow(1)


def test_room_is_given_back() -> None:
    room = ManifestRoom()
    with room.share() as first, room.share() as second:
        first.grow(MANIFEST_BYTES_MAX)
        second.grow(MANIFEST_BYTES_MAX)
        with pytest.raises(Shortage), room.share() as third:
            third.grow(1)
    assert room.taken_bytes == 0
    with room.share() as only:
        only.grow(MANIFEST_BYTES_MAX)
