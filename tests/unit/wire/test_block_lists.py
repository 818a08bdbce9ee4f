"""Lists of blocks in header fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.limits import QUESTIONED_BLOCKS_MAX
from ckptd.model.blocks import BlockSet
from ckptd.wire.block_lists import format_blocks, parse_blocks


@pytest.mark.parametrize(
    ("value", "runs"),
    [
        (None, []),
        ("", []),
        ("7", [(7, 8)]),
        ("3-7", [(3, 8)]),
        ("3-4, 9", [(3, 5), (9, 10)]),
        ("9,3-4", [(3, 5), (9, 10)]),
        ("7-3", []),
        ("-3", []),
        ("3-", []),
        ("a,5", [(5, 6)]),
        ("2097151-2097152", [(2097151, 2097152)]),
        ("99999999999999999999", []),
        ("\u0663", []),
        ("0-9999999", [(0, 16)]),
        ("0-14,20-30", [(0, 15), (20, 21)]),
        (",".join(["x"] * 16 + ["5"]), []),
    ],
)
def test_what_makes_no_sense_or_is_too_much_is_left_out(
    value: str | None, runs: list[tuple[int, int]]
) -> None:
    assert parse_blocks(value) == BlockSet(runs)


@given(st.sets(st.integers(0, 2**21 - 1), max_size=QUESTIONED_BLOCKS_MAX))
def test_what_is_written_can_be_read(blocks: set[int]) -> None:
    some = BlockSet((block, block + 1) for block in blocks)
    assert parse_blocks(format_blocks(some)) == some


def test_runs_are_written_with_their_last_block() -> None:
    assert format_blocks(BlockSet([(1, 3), (7, 8)])) == "1-2,7"
    assert format_blocks(BlockSet()) == ""
