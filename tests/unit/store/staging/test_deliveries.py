from __future__ import annotations

import pytest

from ckptd.limits import KIB
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.store.staging.deliveries import BlockWrite, verify_delivery
from ckptd.store.staging.held import HeldBlocks
from tests.support.manifests import make_manifest
from tests.support.stagings import content_of

BLOCK_BYTES = 256 * KIB
CONTENTS = {"a": content_of(3 * BLOCK_BYTES, seed=1), "b": content_of(1000, seed=2)}
"""Blocks 0 to 2, and 3."""
SPACE = AddressSpace(make_manifest(CONTENTS))
PLACES = tuple(SPACE.places((0, 4)))
DATA = b"".join(CONTENTS.values())


def holding(*blocks: int) -> HeldBlocks:
    """A recovery that holds some blocks."""
    held = HeldBlocks("recovery r-1", SPACE)
    held.add(BlockSet((block, block + 1) for block in blocks))
    return held


def spoiled(*blocks: int) -> memoryview:
    """The bytes of all blocks, those of some with one bit flipped."""
    data = bytearray(DATA)
    for block in blocks:
        data[SPACE.block_start(block)] ^= 1
    return memoryview(data)


def test_consecutive_blocks_of_a_unit_are_one_write() -> None:
    delivery = verify_delivery(PLACES, memoryview(DATA), holding())
    assert delivery.rejected == ()
    assert delivery.accepted == list(PLACES)
    end = 3 * BLOCK_BYTES
    assert delivery.writes == [BlockWrite(0, 0, 0, end), BlockWrite(1, 0, end, end + 1000)]


@pytest.mark.parametrize("block", range(4))
def test_a_wrong_block_is_rejected_and_written_around(block: int) -> None:
    delivery = verify_delivery(PLACES, spoiled(block), holding())
    assert delivery.rejected == (block,)
    assert [place.block for place in delivery.accepted] == [
        each for each in range(4) if each != block
    ]
    written = {
        (write.unit, write.offset + at - write.start)
        for write in delivery.writes
        for at in range(write.start, write.end, BLOCK_BYTES)
    }
    assert written == {(place.unit, place.offset) for place in delivery.accepted}


def test_a_block_that_is_held_is_neither_rejected_nor_written() -> None:
    delivery = verify_delivery(PLACES, memoryview(DATA), holding(1, 3))
    assert delivery.rejected == ()
    assert [place.block for place in delivery.accepted] == [0, 2]
    assert delivery.writes == [
        BlockWrite(0, 0, 0, BLOCK_BYTES),
        BlockWrite(0, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES),
    ]


def test_wrong_bytes_of_a_held_block_are_rejected_all_the_same() -> None:
    assert verify_delivery(PLACES, spoiled(1), holding(1)).rejected == (1,)


def test_a_run_in_the_middle_of_a_unit_is_written_where_it_belongs() -> None:
    data = memoryview(DATA)[BLOCK_BYTES : 3 * BLOCK_BYTES]
    delivery = verify_delivery(PLACES[1:3], data, holding())
    assert delivery.writes == [BlockWrite(0, BLOCK_BYTES, 0, 2 * BLOCK_BYTES)]


def test_bytes_beyond_the_blocks_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        verify_delivery(PLACES[:1], memoryview(DATA), holding())


def test_nothing_is_delivered_at_all() -> None:
    assert verify_delivery((), memoryview(b""), holding()) == ((), [], [])
