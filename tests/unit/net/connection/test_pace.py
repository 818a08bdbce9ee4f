"""How long a receiver may take, with a kernel whose buffers are full and a short window."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ckptd.limits import KIB, MS, SECOND
from ckptd.net.connection import pace as pace_module
from ckptd.net.connection.pace import Pace
from tests.support.pairs import Pair, connected_pair, fill

WINDOW_NS = 5 * MS


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(pace_module, "BODY_RATE_WINDOW_NS", WINDOW_NS)
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        yield pair


def give(connection: socket.socket, pace: Pace) -> int:
    """Give the kernel as much as it takes."""
    given_bytes = fill(connection)
    pace.given_bytes += given_bytes
    return given_bytes


def take_all(connection: socket.socket) -> int:
    connection.setblocking(False)
    taken = 0
    with suppress(BlockingIOError):
        while True:
            taken += len(connection.recv(2**16))
    return taken


def test_where_there_is_room_nobody_waits(pair: Pair) -> None:
    pace = Pace(pair.ours, clock=lambda: 0)
    for _ in range(1000):
        pace.wait()
    assert pace.taken_bytes == 0


def test_a_receiver_that_takes_nothing_is_cut_off(pair: Pair) -> None:
    pace = Pace(pair.ours)
    give(pair.ours, pace)
    pace.given_bytes = 0  # and it took nothing before
    with pytest.raises(TimeoutError, match="the receiver takes 0 bytes/s"):
        pace.wait()


@pytest.mark.parametrize(("rate", "is_enough"), [(-1, False), (0, True), (1, True)])
def test_a_receiver_is_judged_by_what_it_took_in_the_time_that_was_waited(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, rate: int, *, is_enough: bool
) -> None:
    """So much as the minimum, a byte per window less, and more."""
    clock = iter([0, SECOND])
    monkeypatch.setattr(pace_module, "BODY_RATE_WINDOW_NS", SECOND)
    monkeypatch.setattr(pace_module, "BODY_RATE_MIN_BYTES_PER_S", 10 * KIB)
    pace = Pace(pair.ours, clock=lambda: next(clock))
    pace.given_bytes = 10 * KIB + rate  # all of it acknowledged
    if is_enough:
        pace.wait()
    else:
        with pytest.raises(TimeoutError, match="takes 10239 bytes/s"):
            pace.wait()


def test_what_was_taken_in_one_window_does_not_count_in_the_next(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0, SECOND, SECOND, 2 * SECOND])
    monkeypatch.setattr(pace_module, "BODY_RATE_WINDOW_NS", SECOND)
    pace = Pace(pair.ours, clock=lambda: next(clock))
    pace.given_bytes = 100 * 1024 * KIB
    pace.wait()
    with pytest.raises(TimeoutError, match="takes 0 bytes/s"):
        pace.wait()


def test_short_waits_add_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, SECOND // 2, SECOND, SECOND * 3 // 2 - 1, SECOND * 2, SECOND * 2 + 1])
    monkeypatch.setattr(pace_module, "BODY_RATE_WINDOW_NS", SECOND)
    pace = Pace(pair.ours, clock=lambda: next(clock))
    pace.wait()
    pace.wait()
    with pytest.raises(TimeoutError, match="takes 0 bytes/s"):
        pace.wait()


def test_what_is_taken_is_what_the_other_end_acknowledged(pair: Pair) -> None:
    pace = Pace(pair.ours)
    given = give(pair.ours, pace)
    before = pace.taken_bytes
    assert 0 <= before < given
    assert take_all(pair.theirs) > 0
    assert pace.taken_bytes > before


def test_of_a_connection_that_is_closed_everything_was_taken(pair: Pair) -> None:
    pace = Pace(pair.ours)
    given = give(pair.ours, pace)
    pair.ours.close()
    assert pace.taken_bytes == given


async def test_a_receiver_that_goes_on_taking_is_waited_for(pair: Pair) -> None:
    pace = Pace(pair.ours)
    for _ in range(20):
        give(pair.ours, pace)
        waiting = asyncio.get_running_loop().run_in_executor(None, pace.wait)
        take_all(pair.theirs)
        await waiting


def test_a_wait_ends_when_the_receiver_has_to_be_judged(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts_ms: list[int] = []
    now_ns = 0

    class NoRoom:
        def poll(self, timeout_ms: int) -> None:
            nonlocal now_ns
            timeouts_ms.append(timeout_ms)
            now_ns += WINDOW_NS * 2 // 5 - 1

    pace = Pace(pair.ours, clock=lambda: now_ns)
    monkeypatch.setattr(pace, "_writable", NoRoom())
    for _ in range(2):
        pace.wait()
    with pytest.raises(TimeoutError):
        pace.wait()
    assert timeouts_ms == [5, 3, 1]
