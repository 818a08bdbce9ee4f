"""How late the event loop is: the first sign of blocking work where none belongs."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from ckptd.limits import MS, SECOND
from ckptd.observe.durations import NO_TRANSFERS
from ckptd.observe.metrics import MetricRow, gauge, histogram

INTERVAL_NS: Final = 50 * MS
"""How often the loop is looked at; twenty wake-ups a second cost nothing that shows."""

LAG_WINDOW_NS: Final = 10 * SECOND
"""How long a lag is remembered: the scrape interval in deploy/prometheus, so none is missed."""


class LagWindow:
    """The worst lag of the last ten seconds, and how often each lag was seen.

    Keeps only samples that no later one exceeds, so the first is always the worst; there are
    at most ``WINDOW_NS / INTERVAL_NS`` of them.

    Attributes:
        lags: All of them since the start, in classes that fit milliseconds.
    """

    def __init__(self) -> None:
        self.lags = NO_TRANSFERS
        self._samples: deque[tuple[int, int]] = deque()

    def add(self, lag_ns: int, *, now: int) -> None:
        """Note a lag."""
        self.lags = self.lags.plus(lag_ns / SECOND)
        while self._samples and self._samples[-1][1] <= lag_ns:
            self._samples.pop()
        self._samples.append((now, lag_ns))
        self._forget(now)

    def worst_ns(self, *, now: int) -> int:
        """Return the worst lag of the window; 0 if nothing was noted."""
        self._forget(now)
        return self._samples[0][1] if self._samples else 0

    def _forget(self, now: int) -> None:
        while self._samples and self._samples[0][0] <= now - LAG_WINDOW_NS:
            self._samples.popleft()


LAG_METRICS: Final[Sequence[MetricRow[LagWindow]]] = (
    gauge(
        "event_loop_lag_seconds",
        "Worst lag of the event loop in the last 10 seconds.",
        lambda window: window.worst_ns(now=time.monotonic_ns()) / SECOND,
    ),
    histogram(
        "event_loop_lateness_seconds",
        "How late the event loop was when it was looked at, twenty times a second.",
        lambda window: window.lags,
    ),
)


async def watch_loop_lag(
    window: LagWindow,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Measure until cancelled: sleep, and note by how much too long it took.

    Args:
        window: Where the lags go.
        clock: The moment in nanoseconds.
        sleep: Sleeps for seconds on the event loop.
    """
    while True:
        start = clock()
        await sleep(INTERVAL_NS / SECOND)
        now = clock()
        window.add(max(now - start - INTERVAL_NS, 0), now=now)
