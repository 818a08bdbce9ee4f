"""How many other receivers have which blocks, against plain counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.state.record.spread import COUNTED_MAX, Spread
from ckptd.model.blocks import BlockSet
from tests.support.scheduling import blocks

SETS = st.lists(st.sets(st.integers(0, 12)), max_size=7)


def block_set(members: set[int]) -> BlockSet:
    return BlockSet((block, block + 1) for block in members)


@given(SETS, SETS)
def test_blocks_are_counted_however_they_came(
    at_once: list[set[int]], later: list[set[int]]
) -> None:
    spread = Spread(block_set(members) for members in at_once)
    for members in later:
        spread.grow(block_set(members))
    for count in range(COUNTED_MAX):
        had = {
            block
            for block in range(13)
            if sum(block in members for members in (*at_once, *later)) > count
        }
        assert spread.had_by[count] == block_set(had)


def test_the_rarest_are_those_that_the_fewest_have() -> None:
    spread = Spread([blocks((0, 8)), blocks((4, 8)), blocks((6, 8))])
    assert spread.rarest_of(blocks((2, 12)), at_least=0) == blocks((8, 12))
    assert spread.rarest_of(blocks((2, 7)), at_least=0) == blocks((2, 4))
    assert spread.rarest_of(blocks((2, 7)), at_least=1) == blocks((2, 4))
    assert spread.rarest_of(blocks((5, 8)), at_least=1) == blocks((5, 6))


def test_what_many_have_is_as_good_as_what_all_have() -> None:
    spread = Spread([blocks((0, 4))] * COUNTED_MAX + [blocks((0, 2))])
    assert spread.rarest_of(blocks((0, 4)), at_least=1) == blocks((0, 4))
    assert 3 in spread
    assert 4 not in spread
