"""A lane to this node's disks ends, with its thread, however it is ended."""

from __future__ import annotations

import asyncio
import threading
from queue import Empty, SimpleQueue
from typing import Any, Never, cast

import pytest

from ckptd.core.events import RangeEnded
from ckptd.daemon.recover.disk_lane import CopyOrder, DiskLane
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import TransferId
from ckptd.model.words import RangeOutcome, Urgency


class _TakenMeanwhile(SimpleQueue[Any]):
    """A queue that has an order when one looks, and none when one takes it."""

    def empty(self) -> bool:
        return False

    def get(self, block: bool = True, timeout: float | None = None) -> Never:
        raise AssertionError("the event loop waits for an order that nobody gives")

    def get_nowait(self) -> Never:
        raise Empty


def lane_reporting_to(reports: list[object]) -> DiskLane:
    nothing = cast("Any", None)
    return DiskLane(
        report=lambda *some: reports.extend(some),
        disk_write=nothing,
        disk_calls=nothing,
        note_wrong=nothing,
    )


async def test_one_that_is_given_up_ends_its_thread() -> None:
    before = set(threading.enumerate())
    running = asyncio.create_task(lane_reporting_to([]).run())
    await asyncio.sleep(0)
    (thread,) = (each for each in set(threading.enumerate()) - before if each.name == "disk lane")
    running.cancel()
    await asyncio.wait([running])
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()


async def test_one_that_has_no_thread_ends_what_was_ordered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    reports: list[object] = []
    lane = lane_reporting_to(reports)
    nothing = cast("Any", None)
    lane.request(CopyOrder(TransferId(1), BlockRun(0, 1), nothing, Urgency.NORMAL, nothing))
    await lane.run()
    (ended,) = reports
    assert isinstance(ended, RangeEnded)
    assert (ended.transfer, ended.outcome) == (TransferId(1), RangeOutcome.STORE_FAILED)
    assert ended.refusal is not None


async def test_an_order_that_the_thread_takes_meanwhile_is_not_waited_for() -> None:
    lane = lane_reporting_to([])
    lane._orders = _TakenMeanwhile()
    lane._end_waiting(None)


async def test_ranges_of_one_staging_are_copied_with_one_buffer() -> None:
    class Area:
        def copier(self) -> object:
            return object()

    lane, first, second = lane_reporting_to([]), cast("Any", Area()), cast("Any", Area())
    copier = lane._copier_of(first)
    assert lane._copier_of(first) is copier
    assert lane._copier_of(second) is not copier
