"""How blocks are grouped, told from the groups."""

from __future__ import annotations

from itertools import chain

import pytest

from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.manifest import FORMAT, Manifest
from ckptd.model.space import AddressSpace
from ckptd.net.lane.groups import GROUP_BYTES_MAX, GROUP_BYTES_MIN, Groups
from tests.support.manifests import make_manifest, make_unit

SPACE = AddressSpace(make_manifest({"a": bytes(12 * MIB + 1)}))
OF_SHORT_UNITS = AddressSpace(make_manifest({f"{n:03}": bytes(16 * KIB) for n in range(300)}))
LONG = make_unit("a", bytes(9 * MIB), block_size_bytes=2 * GROUP_BYTES_MIN)
OF_LONG_BLOCKS = AddressSpace(Manifest(format=FORMAT, checkpoint="a", version=1, units=(LONG,)))


def sizes(groups: Groups, space: AddressSpace) -> list[int]:
    return [size_bytes for _, size_bytes in groups.of(space, BlockRun(0, space.block_count))]


def used() -> Groups:
    """Return the groups of a lane that has brought something."""
    groups = Groups()
    list(groups.of(SPACE, BlockRun(0, 1)))
    return groups


def test_the_first_group_of_a_lane_is_one_block_and_no_later_one() -> None:
    groups = Groups()
    assert sizes(groups, OF_SHORT_UNITS)[:2] == [16 * KIB, GROUP_BYTES_MIN]
    assert sizes(groups, OF_SHORT_UNITS)[0] == GROUP_BYTES_MIN
    assert sizes(used(), OF_SHORT_UNITS)[0] == GROUP_BYTES_MIN


@pytest.mark.parametrize("space", [SPACE, OF_SHORT_UNITS, OF_LONG_BLOCKS])
def test_every_block_is_in_one_group_in_order(space: AddressSpace) -> None:
    groups = list(Groups().of(space, BlockRun(3, space.block_count)))
    blocks = [place.block for place in chain.from_iterable(places for places, _ in groups)]
    assert blocks == list(range(3, space.block_count))
    for places, size_bytes in groups:
        assert places, "a group has a block"
        assert size_bytes == sum(place.size_bytes for place in places)
        assert size_bytes <= GROUP_BYTES_MIN or len(places) == 1


def test_a_lane_that_is_fast_takes_more_at_once_and_less_again_when_it_is_slow() -> None:
    groups = used()
    assert sizes(groups, SPACE)[0] == GROUP_BYTES_MIN
    groups.adapt(GROUP_BYTES_MIN, 1 * MS)
    assert sizes(groups, SPACE)[0] == GROUP_BYTES_MAX
    groups.adapt(GROUP_BYTES_MAX, 40 * MS)
    assert sizes(groups, SPACE)[0] == GROUP_BYTES_MAX // 2
    groups.adapt(GROUP_BYTES_MAX // 2, SECOND)
    assert sizes(groups, SPACE)[0] == GROUP_BYTES_MIN


def test_what_is_learned_on_the_way_counts_from_the_next_group_on() -> None:
    groups = used()
    taken = groups.of(SPACE, BlockRun(0, SPACE.block_count))
    assert next(taken)[1] == GROUP_BYTES_MIN
    groups.adapt(GROUP_BYTES_MIN, 0)
    assert next(taken)[1] == GROUP_BYTES_MAX
