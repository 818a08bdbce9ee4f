from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ckptd.daemon.host.disk_calls import DiskCalls
from ckptd.model.space import BlockPlace


class SlowDisk:
    """A sink whose calls return when they are let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        self.entered.set()
        assert self.let_go.wait(60)
        return (len(places), len(data))


def test_a_call_counts_while_it_lasts_and_its_answer_comes_through() -> None:
    calls, disk = DiskCalls(), SlowDisk()
    answers: list[tuple[int, ...]] = []
    sink = calls.watched(disk)
    thread = threading.Thread(target=lambda: answers.append(sink.deliver((), memoryview(b"abc"))))
    assert calls.longest_ns() == 0
    thread.start()
    assert disk.entered.wait(60)
    first = calls.longest_ns()
    assert 0 < first < calls.longest_ns()
    disk.let_go.set()
    thread.join()
    assert calls.longest_ns() == 0
    assert answers == [(0, 3)]


def test_a_call_that_fails_is_over() -> None:
    calls = DiskCalls()
    with pytest.raises(OSError, match="EIO"), calls.call():
        raise OSError("EIO")
    assert calls.longest_ns() == 0
