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
"""How often the loop is looked at while the process works."""
REST_INTERVAL_NS: Final = 500 * MS
"""How often otherwise. Twenty wake-ups a second were 0.4 % of a core, nearly all that a daemon at
rest used; what makes the loop later than this is seen all the same."""
_WORKS_SHARE: Final = 0.02
"""Of a core since the look before: then the process works. At rest it uses a tenth of that."""
_WORKS_ON_NS: Final = 2 * SECOND
"""For so long after that it counts as working."""

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
        "How late the event loop was when it was looked at, 20 times a second, at rest twice.",
        lambda window: window.lags,
    ),
)


async def watch_loop_lag(
    window: LagWindow,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    used: Callable[[], int] = time.process_time_ns,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Measure until cancelled: sleep, and note by how much too long it took.

    Args:
        window: Where the lags go.
        clock: The moment in nanoseconds.
        used: Processor time of this process in nanoseconds.
        sleep: Sleeps for seconds on the event loop.
    """
    begun, used_ns = clock(), used()
    works_until = begun + _WORKS_ON_NS
    while True:
        start = clock()
        interval_ns = INTERVAL_NS if start < works_until else REST_INTERVAL_NS
        await sleep(interval_ns / SECOND)
        now, now_used_ns = clock(), used()
        window.add(max(now - start - interval_ns, 0), now=now)
        if now_used_ns - used_ns > _WORKS_SHARE * (now - begun):
            works_until = now + _WORKS_ON_NS
        begun, used_ns = now, now_used_ns
