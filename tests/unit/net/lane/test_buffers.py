import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ckptd.limits import KIB, MIB
from ckptd.net.lane import buffers
from ckptd.net.lane.buffers import BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, BufferPool

PATIENCE_S = 60.0


def wanted() -> bool:
    return False


def take(pool: BufferPool, size_bytes: int, looked: threading.Event | None = None) -> memoryview:
    """Take a buffer that must come in time; ``looked`` is set whenever it is not there yet."""
    deadline_s = time.monotonic() + PATIENCE_S

    def is_too_late() -> bool:
        if looked is not None:
            looked.set()
        return time.monotonic() > deadline_s

    buffer = pool.acquire(size_bytes, unless=is_too_late)
    assert buffer is not None
    return buffer


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.mark.parametrize(
    ("size_bytes", "length"),
    [
        (1, BUFFER_BYTES_MIN),
        (BUFFER_BYTES_MIN, BUFFER_BYTES_MIN),
        (BUFFER_BYTES_MIN + 1, 2 * BUFFER_BYTES_MIN),
        (MIB - 1, MIB),
        (MIB, MIB),
        (BUFFER_BYTES_MAX, BUFFER_BYTES_MAX),
    ],
)
def test_buffers_have_sizes_of_powers_of_two(size_bytes: int, length: int) -> None:
    buffer = take(BufferPool(BUFFER_BYTES_MAX), size_bytes)
    assert len(buffer) == length
    assert not buffer.readonly


def test_the_buffer_that_was_used_last_is_used_again() -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    first, second = take(pool, MIB), take(pool, MIB)
    second[:5] = b"again"
    pool.release(first)
    pool.release(second)
    assert bytes(take(pool, MIB)[:5]) == b"again"
    assert pool.allocated_bytes == 2 * MIB


def test_free_buffers_make_room_for_other_sizes() -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    small = [take(pool, MIB) for _ in range(16)]
    for buffer in small:
        pool.release(buffer)
    assert len(take(pool, BUFFER_BYTES_MAX)) == BUFFER_BYTES_MAX
    assert pool.allocated_bytes == BUFFER_BYTES_MAX


def test_a_pool_that_is_empty_lets_wait(threads: ThreadPoolExecutor) -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    everything = take(pool, BUFFER_BYTES_MAX)
    waiting = threads.submit(take, pool, MIB)
    assert not waiting.done()
    pool.release(everything)
    assert len(waiting.result(PATIENCE_S)) == MIB


def test_small_buffers_do_not_overtake_a_large_one(threads: ThreadPoolExecutor) -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    taken = [take(pool, MIB) for _ in range(16)]
    looked, later_looked = threading.Event(), threading.Event()
    large = threads.submit(take, pool, BUFFER_BYTES_MAX, looked)
    assert looked.wait(PATIENCE_S)
    later = threads.submit(take, pool, MIB, later_looked)
    assert later_looked.wait(PATIENCE_S)
    for buffer in taken:
        later_looked.clear()
        pool.release(buffer)
        assert later_looked.wait(PATIENCE_S)
    pool.release(large.result())
    assert len(later.result()) == MIB


def test_who_does_not_want_a_buffer_any_more_gets_none() -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    take(pool, BUFFER_BYTES_MAX)
    answers = iter([False, True])
    assert pool.acquire(MIB, unless=lambda: next(answers)) is None


def test_who_gives_up_does_not_hold_up_the_next(threads: ThreadPoolExecutor) -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    everything = take(pool, BUFFER_BYTES_MAX)
    gives_up = threading.Event()
    first = threads.submit(pool.acquire, MIB, unless=gives_up.is_set)
    second = threads.submit(take, pool, MIB)
    gives_up.set()
    assert first.result(PATIENCE_S) is None
    pool.release(everything)
    assert len(second.result(PATIENCE_S)) == MIB


def test_who_gives_up_while_others_wait_wakes_them(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    taken = take(pool, MIB)
    monkeypatch.setattr(buffers, "_BUFFER_RECHECK_S", 0.001)
    first = threads.submit(pool.acquire, BUFFER_BYTES_MAX, unless=lambda: len(pool._waiting) > 1)
    while not pool._waiting:
        time.sleep(0)

    def wait_long() -> bool:
        monkeypatch.setattr(buffers, "_BUFFER_RECHECK_S", 100)
        return False

    second = threads.submit(pool.acquire, MIB, unless=wait_long)
    assert first.result(PATIENCE_S) is None
    assert second.result(PATIENCE_S) is not None
    pool.release(taken)


def test_what_is_given_back_is_there_at_once_for_who_waits(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "_BUFFER_RECHECK_S", 100)
    pool = BufferPool(BUFFER_BYTES_MAX)
    everything = take(pool, BUFFER_BYTES_MAX)
    waiting = threads.submit(pool.acquire, BUFFER_BYTES_MAX, unless=wanted)
    while not pool._waiting:
        time.sleep(0)
    pool.release(everything)
    assert waiting.result(PATIENCE_S) is not None
    waiting = threads.submit(pool.acquire, BUFFER_BYTES_MAX, unless=wanted)
    while not pool._waiting:
        time.sleep(0)
    pool.close()
    assert waiting.result(PATIENCE_S) is None


def test_closing_lets_those_who_wait_go(threads: ThreadPoolExecutor) -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    everything = take(pool, BUFFER_BYTES_MAX)
    waiting = [threads.submit(pool.acquire, MIB, unless=wanted) for _ in range(3)]
    pool.close()
    assert [future.result(PATIENCE_S) for future in waiting] == [None] * 3
    everything[-1] = 1
    pool.release(everything)
    assert pool.acquire(1, unless=wanted) is None


def test_a_pool_must_have_room_for_the_largest_buffer() -> None:
    with pytest.raises(ValueError, match="no room"):
        BufferPool(BUFFER_BYTES_MAX - 1)


def test_many_threads_share_a_pool_within_its_capacity(threads: ThreadPoolExecutor) -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)

    def work(number: int) -> int:
        for index in range(200):
            buffer = take(pool, (256 * KIB) << ((number + index) % 5))
            buffer[0] = number
            assert pool.allocated_bytes <= BUFFER_BYTES_MAX
            assert buffer[0] == number
            pool.release(buffer)
        return number

    assert sorted(threads.map(work, range(8))) == list(range(8))


def test_no_more_free_buffers_make_room_than_must() -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    small = [take(pool, MIB) for _ in range(16)]
    for buffer in small:
        pool.release(buffer)
    take(pool, 2 * MIB)
    assert pool.allocated_bytes == 16 * MIB
    for _ in range(14):
        take(pool, MIB)
    assert pool.allocated_bytes == 16 * MIB, "they were there"


def test_a_pool_that_is_closed_has_nothing_to_give() -> None:
    pool = BufferPool(BUFFER_BYTES_MAX)
    pool.release(take(pool, MIB))
    pool.close()
    assert pool.acquire(MIB, unless=wanted) is None
    assert not pool._free
    with pytest.raises(ValueError, match="no room for the largest"):
        BufferPool(BUFFER_BYTES_MAX - 1)
