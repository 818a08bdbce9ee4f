from __future__ import annotations

import asyncio
import threading

import pytest

from ckptd.daemon.host import shortages
from ckptd.daemon.host.shortages import in_threads, outlast, ready_threads
from ckptd.errors import NotFound, OutOfSpace, Shortage


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_threads_are_there_before_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    threads = ready_threads(3, "some")
    assert threading.active_count() == before + 3
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert [threads.submit(lambda: 7).result() for _ in range(5)] == [7] * 5
    threads.shutdown()


def test_threads_that_cannot_be_started_are_a_shortage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(Shortage, match="no thread can be started"):
        ready_threads(3, "some")


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(24, "x"), RuntimeError("can't start new thread")]
)
async def test_what_a_thread_is_short_of_is_a_shortage(error: Exception) -> None:
    def fail() -> None:
        raise error

    threads = ready_threads(1, "some")
    with pytest.raises(Shortage):
        await in_threads(threads, fail)
    threads.shutdown()


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), OSError(5, "x"), NotFound("file", "is gone")]
)
async def test_anything_else_stays_what_it_is(error: Exception) -> None:
    def fail() -> None:
        raise error

    threads = ready_threads(1, "some")
    with pytest.raises(type(error)) as caught:
        await in_threads(threads, fail)
    assert caught.value is error
    threads.shutdown()


class Failing:
    """Fails so often, and works then."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_what_must_be_done_is_done_when_the_shortage_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shortages, "_PAUSE_S", 0.0)
    work = Failing(Shortage("file", "none left"), OutOfSpace("disk", "is full"))
    assert await asyncio.wait_for(outlast(work, "end of r-1"), 60) == "done"


async def test_what_fails_for_another_reason_fails_at_once() -> None:
    with pytest.raises(NotFound):
        await outlast(Failing(NotFound("file", "is gone")), "end of r-1")
