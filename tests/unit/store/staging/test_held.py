from __future__ import annotations

import threading

import pytest

from ckptd.errors import StorageError
from ckptd.limits import COPIED_PER_FETCHED, GIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import FORMAT, Manifest, Unit
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.store.staging.held import HeldBlocks
from tests.support.stagings import end_thread, start_thread

BLOCK = 24 * MIB
"""Two of these are as much as may be uncommitted of a small version."""


def space_of(size_bytes: int) -> AddressSpace:
    unit = Unit(
        path="weights",
        size_bytes=size_bytes,
        digest=bytes(32),
        block_size_bytes=BLOCK,
        block_digests=bytes(32) * -(-size_bytes // BLOCK),
    )
    return AddressSpace(Manifest(format=FORMAT, checkpoint="a", version=1, units=(unit,)))


SPACE = space_of(8 * BLOCK)


def places(start: int, end: int) -> list[BlockPlace]:
    return list(SPACE.places((start, end)))


def blocks(start: int, end: int) -> BlockSet:
    return BlockSet([(start, end)])


def write(held: HeldBlocks, start: int, end: int) -> int:
    admitted_bytes = held.admit(places(start, end))
    if admitted_bytes:
        held.note(places(start, end), admitted_bytes)
    return admitted_bytes


def start_waiting(held: HeldBlocks, start: int, end: int) -> tuple[threading.Thread, list[str]]:
    """Let another thread write, and return once it waits."""
    thread, problems = start_thread(lambda: write(held, start, end))
    while not held.waiting:
        assert thread.is_alive(), f"it did not wait: {problems}"
        thread.join(0.001)
    return thread, problems


@pytest.mark.parametrize(
    ("size_bytes", "uncommitted_bytes_max"),
    [(0, 48 * MIB), (3 * GIB, 48 * MIB), (100 * GIB, 1536 * MIB)],
)
def test_less_may_be_uncommitted_than_a_restart_may_fetch_again(
    size_bytes: int, uncommitted_bytes_max: int
) -> None:
    assert HeldBlocks("it", space_of(size_bytes)).uncommitted_bytes_max == uncommitted_bytes_max


def test_what_may_be_uncommitted_goes_by_what_is_written() -> None:
    held = HeldBlocks("it", space_of(100 * GIB))
    held.expect(3 * GIB)
    assert held.uncommitted_bytes_max == 48 * MIB


def test_blocks_are_held_when_they_are_noted() -> None:
    held = HeldBlocks("it", SPACE)
    admitted_bytes = held.admit(places(1, 3))
    assert admitted_bytes == 2 * BLOCK
    assert 1 not in held
    held.note(places(2, 3), admitted_bytes)
    assert [block in held for block in range(4)] == [False, False, True, False]
    assert held.missing_count(1, 3) == 1


def test_a_lane_waits_until_the_journal_has_what_is_too_much() -> None:
    held = HeldBlocks("it", SPACE)
    write(held, 0, 2)
    thread, problems = start_waiting(held, 2, 3)
    held.release(blocks(1, 2))
    end_thread(thread)
    assert problems == []
    assert held.waiting == 0


def test_what_is_admitted_and_not_written_makes_room_again() -> None:
    held = HeldBlocks("it", SPACE)
    admitted_bytes = held.admit(places(0, 2))
    thread, problems = start_waiting(held, 2, 3)
    held.note([], admitted_bytes)
    end_thread(thread)
    assert problems == []


def test_more_than_ever_fits_is_admitted_alone() -> None:
    held = HeldBlocks("it", SPACE)
    assert write(held, 0, 3) == 3 * BLOCK


def test_of_what_is_copied_more_may_be_lost_than_of_what_would_travel_again() -> None:
    large = space_of(80 * BLOCK)
    held = HeldBlocks("it", large)

    def copy(start: int, end: int) -> None:
        some = list(large.places((start, end)))
        held.note(some, held.admit(some, is_copied=True), is_copied=True)

    for block in range(2 * COPIED_PER_FETCHED):
        copy(block, block + 1)
    thread, problems = start_thread(lambda: copy(79, 80))
    while not held.waiting:
        assert thread.is_alive(), f"it did not wait: {problems}"
        thread.join(0.001)
    held.release(blocks(0, 1))
    end_thread(thread)
    assert problems == []
    held.release(blocks(1, 80))
    assert held.admit(places(0, 8)) == 0
    assert held.admit(list(large.places((20, 22)))) == 2 * BLOCK, "nothing counts any more"


def test_a_block_that_is_held_needs_no_room() -> None:
    held = HeldBlocks("it", SPACE)
    write(held, 0, 2)
    assert held.admit(places(0, 2)) == 0


def test_a_block_that_two_lanes_brought_at_once_counts_once() -> None:
    held = HeldBlocks("it", SPACE)
    first, second = held.admit(places(0, 1)), held.admit(places(0, 1))
    held.note(places(0, 1), first)
    held.note(places(0, 1), second)
    held.release(blocks(0, 1))
    assert held.admit(places(1, 3)) == 2 * BLOCK
    thread, _ = start_waiting(held, 3, 4)
    held.end("over")
    end_thread(thread)


def test_releasing_a_block_twice_makes_room_once() -> None:
    held = HeldBlocks("it", SPACE)
    write(held, 0, 2)
    held.release(blocks(0, 1))
    held.release(blocks(0, 1))
    write(held, 2, 3)
    thread, _ = start_waiting(held, 3, 4)
    held.end("over")
    end_thread(thread)


def test_releasing_what_the_journal_had_before_changes_nothing() -> None:
    held = HeldBlocks("it", SPACE)
    held.add(blocks(4, 8))
    write(held, 0, 2)
    held.release(blocks(4, 8))
    thread, problems = start_waiting(held, 2, 3)
    held.end("over")
    end_thread(thread)
    assert problems == ["over"]


def test_the_end_refuses_those_who_wait_and_those_who_come() -> None:
    held = HeldBlocks("it", SPACE)
    write(held, 0, 2)
    thread, problems = start_waiting(held, 2, 3)
    held.end("is closed")
    held.end("is closed again")
    end_thread(thread)
    assert problems == ["is closed"]
    with pytest.raises(StorageError, match=r"^it: is closed$"):
        held.admit(places(2, 3))
    assert held.admit(places(0, 2)) == 0


def test_the_end_waits_for_those_who_write() -> None:
    held = HeldBlocks("it", SPACE)
    admitted_bytes = held.admit(places(0, 1))
    held.end("is closed")
    thread, _ = start_thread(held.wait_for_writers)
    thread.join(0.02)
    assert thread.is_alive()
    held.note(places(0, 1), admitted_bytes)
    end_thread(thread)
    assert 0 in held


def test_who_waits_for_present_writers_does_not_wait_for_later_ones() -> None:
    held = HeldBlocks("it", SPACE)
    admitted_bytes = held.admit(places(0, 1))
    thread, _ = start_thread(held.wait_for_present_writers)
    while not held._awaiting:
        thread.join(0.001)
    is_writing, may_end = threading.Event(), threading.Event()

    def write_later() -> None:
        later = held.admit(places(1, 2))
        is_writing.set()
        may_end.wait(60)
        held.note(places(1, 2), later)

    other, _ = start_thread(write_later)
    assert is_writing.wait(60)
    assert thread.is_alive()
    held.note(places(0, 1), admitted_bytes)
    end_thread(thread)
    may_end.set()
    end_thread(other)


def test_what_the_journal_has_is_held_and_nothing_beside_it() -> None:
    held = HeldBlocks("recovery r-1", SPACE)
    held.add(BlockSet([(1, 3), (5, 6)]))
    assert [block for block in range(8) if block in held] == [1, 2, 5]
    assert held.missing_count(0, 8) == 5
    assert (held.missing_count(1, 3), held.missing_count(3, 6)) == (0, 2)
