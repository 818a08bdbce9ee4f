"""Block sets against Python's own sets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.model.blocks import BlockRun, BlockSet

MOST = 60
"""Small enough that drawn runs often touch and overlap."""


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, MOST - 1))
    return (start, draw(st.integers(start + 1, MOST)))


block_sets = st.lists(runs(), max_size=8).map(BlockSet)


def members(blocks: BlockSet) -> set[int]:
    """Return a block set as a Python set; by its runs, so that these are checked too."""
    found = {block for run in blocks.runs() for block in range(run.start, run.end)}
    bounds = [bound for run in blocks.runs() for bound in run]
    assert all(before < after for before, after in pairwise(bounds)), "runs are maximal, ascending"
    return found


@given(st.lists(runs(), max_size=8))
def test_a_set_holds_just_the_blocks_of_its_runs(drawn: list[tuple[int, int]]) -> None:
    blocks = BlockSet(drawn)
    expected = {block for start, end in drawn for block in range(start, end)}
    assert members(blocks) == expected
    assert list(blocks) == sorted(expected)
    assert len(blocks) == len(expected)
    assert bool(blocks) == bool(expected)
    assert [block for block in range(-2, MOST + 2) if block in blocks] == sorted(expected)
    assert blocks.run_count == len(list(blocks.runs()))


@settings(max_examples=300)
@given(block_sets, block_sets)
def test_operations_are_those_of_sets(one: BlockSet, other: BlockSet) -> None:
    mine, theirs = members(one), members(other)
    assert members(one | other) == mine | theirs
    assert members(one & other) == mine & theirs
    assert members(one - other) == mine - theirs
    assert one.issubset(other) == (mine <= theirs)
    assert (one == other) == (mine == theirs)


@given(block_sets, runs())
def test_a_run_is_taken_out(blocks: BlockSet, run: tuple[int, int]) -> None:
    assert members(blocks.without_run(run)) == members(blocks) - set(range(*run))


@given(block_sets, runs())
def test_the_blocks_within_a_run_are_found_and_counted(
    blocks: BlockSet, run: tuple[int, int]
) -> None:
    expected = members(blocks) & set(range(*run))
    assert members(blocks.within(*run)) == expected
    assert blocks.count_within(*run) == len(expected)


@given(block_sets, st.integers(0, MOST + 2))
def test_the_first_run_begins_at_the_first_block_not_below_a_bound(
    blocks: BlockSet, at_least: int
) -> None:
    reachable = sorted(block for block in members(blocks) if block >= at_least)
    run = blocks.first_run(at_least)
    if run is None:
        assert reachable == []
    else:
        assert run.start == reachable[0]
        assert run.end - 1 in blocks
        assert run.end not in blocks
        assert set(range(run.start, run.end)) <= set(reachable)


@given(block_sets, block_sets)
def test_equal_sets_are_equal_however_they_came_about(one: BlockSet, other: BlockSet) -> None:
    both = one | other
    assert both == other | one == BlockSet((*one.runs(), *other.runs()))
    assert hash(both) == hash(other | one)
    assert (both - other) | (one & other) == one
    assert BlockSet((block, block + 1) for block in one) == one


def test_runs_that_touch_are_one_run() -> None:
    assert list(BlockSet([(3, 5), (0, 3)]).runs()) == [BlockRun(0, 5)]
    assert (BlockSet([(0, 3)]) | BlockSet([(3, 5)])).run_count == 1
    assert (BlockSet([(0, 3), (5, 6)]) | BlockSet([(3, 5)])).run_count == 1


def test_the_simplest_sets() -> None:
    assert BlockSet.full(0) == BlockSet() == BlockSet([])
    assert list(BlockSet.full(3)) == [0, 1, 2]
    assert list(BlockSet.single(7)) == [7]
    assert BlockSet().first_run() is None
    assert BlockRun(2, 5).block_count == 3


@pytest.mark.parametrize("run", [(0, 0), (3, 3), (5, 4), (-1, 2), (-3, -1), (5, 2**32)])
def test_what_is_no_run_is_refused(run: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no run of blocks"):
        BlockSet([run])


def test_a_set_is_equal_to_nothing_else() -> None:
    assert BlockSet() != ()
    assert BlockSet.full(1) != {0}


def test_a_set_shows_its_runs() -> None:
    assert repr(BlockSet([(5, 6), (0, 2)])) == "BlockSet([(0, 2), (5, 6)])"


def test_a_set_may_have_very_many_blocks() -> None:
    everything = BlockSet.full(2**32 - 1)
    hole = everything.without_run((10**6, 10**9))
    assert len(hole) == 2**32 - 1 - 10**9 + 10**6
    assert (everything - hole).first_run() == (10**6, 10**9)
    assert list(hole.runs()) == [(0, 10**6), (10**9, 2**32 - 1)]
    assert hole & everything == hole


def test_a_run_is_in_a_set_if_all_of_it_is() -> None:
    held = BlockSet([(0, 3), (5, 9)])
    assert held.has_run((5, 9))
    assert held.has_run((0, 1))
    assert not held.has_run((2, 6))
    assert not held.has_run((8, 10))
