from __future__ import annotations

from ckptd.control.messages.observation import FollowQuery, Idle, Lost
from ckptd.daemon.answer.watch_answers import _read
from ckptd.observe.ring import Numbered, Ring


def entry_id(numbered: Numbered[str]) -> int:
    return numbered.id


def filled(count: int, entries_max: int) -> Ring[str]:
    ring: Ring[str] = Ring(entries_max)
    for _ in range(count):
        ring.append("entry")
    return ring


async def read(ring: Ring[str], since: int = 0) -> list[int | Lost | Idle]:
    query = FollowQuery(since=since)
    return [message async for message in _read(ring, query, entry_id)]


async def test_without_following_a_stream_ends_with_the_newest_entry() -> None:
    assert await read(filled(3, 5)) == [1, 2, 3, Idle(last_id=3)]
    assert await read(filled(3, 5), since=2) == [3, Idle(last_id=3)]
    assert await read(filled(0, 5)) == [Idle(last_id=0)]


async def test_more_than_one_batch_is_read_to_the_end() -> None:
    assert await read(filled(250, 300)) == [*range(1, 251), Idle(last_id=250)]


async def test_what_is_gone_is_said_once_and_ids_go_on_without_a_gap() -> None:
    assert await read(filled(8, 5)) == [Lost(count=3), 4, 5, 6, 7, 8, Idle(last_id=8)]


async def test_who_read_another_life_of_the_daemon_begins_again() -> None:
    assert await read(filled(2, 5), since=4711) == [1, 2, Idle(last_id=2)]


async def test_a_reader_that_is_too_slow_hears_how_much_it_lost() -> None:
    ring = filled(2, 5)
    messages = _read(ring, FollowQuery(follow=True), entry_id)
    seen = [await anext(messages) for _ in range(3)]
    for _ in range(10):
        ring.append("entry")
    seen += [await anext(messages) for _ in range(7)]
    assert seen == [1, 2, Idle(last_id=2), Lost(count=5), 8, 9, 10, 11, 12, Idle(last_id=12)]
    await messages.aclose()
