import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.model.ids import TransferId
from ckptd.model.words import RangeOutcome
from ckptd.net.lane.reports import Report, ReportQueue
from tests.support.serving import until

ONE, TWO = TransferId(1), TransferId(2)


async def put_all(*reports: Report) -> list[Event]:
    """Put reports before the loop can take one; return what it is told."""
    told: list[Event] = []
    queue = ReportQueue(asyncio.get_running_loop(), lambda *reports: told.extend(reports))
    for report in reports:
        queue.put(report)
    assert told == []
    await until(lambda: bool(told))
    return told


async def test_progress_of_one_transfer_becomes_one_report() -> None:
    assert await put_all(
        RangeProgressed(ONE, 10, 0, (), 5),
        RangeProgressed(ONE, 20, 1, (0,), 5),
        RangeProgressed(ONE, 30, 3, (2,), 7),
    ) == [RangeProgressed(ONE, 30, 3, (0, 2), 7)]


async def test_progress_without_an_end_is_reported_too() -> None:
    assert await put_all(RangeProgressed(ONE, 10, 0), RangeProgressed(ONE, 20, 1)) == [
        RangeProgressed(ONE, 20, 1)
    ]


async def test_an_end_does_not_wait_for_more() -> None:
    told: list[Event] = []
    queue = ReportQueue(asyncio.get_running_loop(), lambda *reports: told.extend(reports))
    queue.put(RangeProgressed(ONE, 10, 0))
    queue.put(RangeEnded(ONE, RangeOutcome.DELIVERED))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == [RangeProgressed(ONE, 10, 0), RangeEnded(ONE, RangeOutcome.DELIVERED)]


async def test_what_waits_is_reported_together() -> None:
    told: list[tuple[Event, ...]] = []
    queue = ReportQueue(asyncio.get_running_loop(), lambda *reports: told.append(reports))
    whole = RangeProgressed(ONE, 10, 1), RangeEnded(ONE, RangeOutcome.DELIVERED)
    for report in whole:
        queue.put(report)
    await until(lambda: bool(told))
    assert told == [whole]


async def test_an_end_is_never_merged_and_order_is_kept() -> None:
    reports: list[Report] = [
        RangeProgressed(ONE, 10, 1),
        RangeEnded(ONE, RangeOutcome.DELIVERED),
        RangeProgressed(TWO, 10, 1),
        RangeProgressed(ONE, 20, 2),
        RangeEnded(TWO, RangeOutcome.CLOSED),
        RangeEnded(TWO, RangeOutcome.CLOSED),
    ]
    assert await put_all(*reports) == reports


async def test_no_report_of_a_thread_is_lost() -> None:
    told: list[Event] = []
    queue = ReportQueue(asyncio.get_running_loop(), lambda *reports: told.extend(reports))

    def work() -> None:
        for index in range(2000):
            queue.put(RangeProgressed(ONE, index, index, (index,)))

    def rejected() -> list[int]:
        return [block for report in told for block in getattr(report, "rejected", ())]

    with ThreadPoolExecutor(1) as threads:
        await asyncio.get_running_loop().run_in_executor(threads, work)
    await until(lambda: len(rejected()) == 2000)
    assert rejected() == list(range(2000))


@pytest.mark.parametrize(
    ("report", "is_urgent"),
    [
        (RangeProgressed(ONE, 10, 1, (0,)), True),
        (RangeEnded(ONE, RangeOutcome.DELIVERED), True),
        (RangeProgressed(ONE, 10, 1), False),
    ],
)
async def test_ends_and_bad_blocks_are_urgent_every_time(
    report: Report, *, is_urgent: bool
) -> None:
    told: list[Event] = []
    queue = ReportQueue(asyncio.get_running_loop(), lambda *reports: told.extend(reports))
    for count in range(1, 4):
        queue.put(report)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(told) == (count if is_urgent else 0)


async def test_nothing_that_waits_is_reported_as_nothing() -> None:
    told: list[tuple[Event, ...]] = []
    queue = ReportQueue(asyncio.get_running_loop(), lambda *reports: told.append(reports))
    queue.flush()
    assert told == []


class Loop:
    """Notes what it shall call, and calls nothing."""

    def __init__(self) -> None:
        self.soon: list[str] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        raise AssertionError("only on the loop")

    def call_soon_threadsafe(self, call: Callable[..., object], *arguments: object) -> None:
        self.soon.append("later" if arguments else "at once")


@pytest.mark.parametrize(
    ("reports", "called"),
    [
        ([RangeProgressed(ONE, 1, 0)] * 3, ["later"]),
        ([RangeEnded(ONE, RangeOutcome.CLOSED)] * 3, ["at once"]),
        (
            [
                RangeProgressed(ONE, 1, 0),
                RangeEnded(ONE, RangeOutcome.CLOSED),
                RangeProgressed(TWO, 1, 0),
                RangeEnded(TWO, RangeOutcome.CLOSED),
            ],
            ["later", "at once"],
        ),
        ([RangeEnded(ONE, RangeOutcome.CLOSED), RangeProgressed(TWO, 1, 0)], ["at once"]),
    ],
)
def test_the_loop_is_called_once_for_all_and_once_more_for_what_is_urgent(
    reports: list[Report], called: list[str]
) -> None:
    loop = Loop()
    told: list[tuple[Event, ...]] = []
    queue = ReportQueue(
        cast(asyncio.AbstractEventLoop, loop), lambda *reports: told.append(reports)
    )
    for times in (1, 2):  # and again when all was reported
        for report in reports:
            queue.put(report)
        assert loop.soon == called * times
        queue.flush()
        assert len(told) == times
