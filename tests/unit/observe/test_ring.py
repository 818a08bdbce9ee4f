from __future__ import annotations

import asyncio
import threading

import pytest

from ckptd.observe.ring import Ring


def filled(count: int, entries_max: int = 5) -> Ring[str]:
    ring: Ring[str] = Ring(entries_max)
    for number in range(1, count + 1):
        ring.append(f"entry {number}")
    return ring


def ids(ring: Ring[str], last_seen_id: int, at_most: int = 100) -> tuple[int, list[int]]:
    lost, found = ring.after(last_seen_id, at_most=at_most)
    assert [numbered.entry for numbered in found] == [f"entry {each.id}" for each in found]
    return lost, [numbered.id for numbered in found]


@pytest.mark.parametrize(
    ("count", "last_seen_id", "expected"),
    [
        (0, 0, (0, [])),
        (3, 0, (0, [1, 2, 3])),
        (3, 2, (0, [3])),
        (3, 3, (0, [])),
        (5, 0, (0, [1, 2, 3, 4, 5])),
        (6, 0, (1, [2, 3, 4, 5, 6])),
        (6, 1, (0, [2, 3, 4, 5, 6])),
        (20, 3, (12, [16, 17, 18, 19, 20])),
        (20, 20, (0, [])),
    ],
)
def test_a_reader_gets_what_came_and_hears_how_much_is_gone(
    count: int, last_seen_id: int, expected: tuple[int, list[int]]
) -> None:
    assert ids(filled(count), last_seen_id) == expected


def test_a_batch_is_bounded_and_the_next_one_follows_it() -> None:
    ring = filled(5)
    assert ids(ring, 0, at_most=2) == (0, [1, 2])
    assert ids(ring, 2, at_most=2) == (0, [3, 4])
    assert ids(ring, 4, at_most=2) == (0, [5])


async def test_who_waits_is_woken_by_an_entry_of_another_thread() -> None:
    ring = filled(2)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waiting = tasks.create_task(ring.wait(2))
        await asyncio.sleep(0)
        assert not waiting.done()
        thread = threading.Thread(target=ring.append, args=("entry 3",))
        thread.start()
        await waiting
        thread.join()
    assert ids(ring, 2) == (0, [3])


async def test_who_is_behind_does_not_wait() -> None:
    async with asyncio.timeout(60):
        await filled(2).wait(1)


async def test_a_reader_that_goes_away_leaves_nothing_behind() -> None:
    ring = filled(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await ring.wait(1)
    assert ring._waiting == []
