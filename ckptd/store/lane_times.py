"""What the lanes of one recovery do with their time: wait for bytes, compute, or wait for the disk.

Taken once for each group of blocks (about a mebibyte) from two clocks of the lane's thread, the
wall clock and the thread's processor time: that costs about a microsecond. A processor that
is shared shows up as computing, for the lane would go on if it had one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ckptd.limits import SECOND

_WINDOW_NS: Final = 1 * SECOND
"""Shares are of the last whole window, and of the one that has begun if there is no other."""


@dataclass(slots=True)
class _Window:
    start_ns: int
    lane_ns: int = 0
    disk_ns: int = 0
    cpu_ns: int = 0


class LaneTimes:
    """Adds up what lanes did, for as long as is of interest.

    Args:
        wall_clock: Nanoseconds that go on.
        cpu_clock: Nanoseconds of a processor that the calling thread had.
    """

    def __init__(
        self,
        wall_clock: Callable[[], int] = time.monotonic_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._wall_clock = wall_clock
        self._cpu_clock = cpu_clock
        self._lock = threading.Lock()
        self._now = _Window(0)
        self._before = _Window(0)
        self._ended = threading.local()

    def note(self, *, began: tuple[int, int], admitted_ns: int, wrote: tuple[int, int]) -> None:
        """Note that the calling lane has dealt with a group of blocks.

        Args:
            began: Wall time and processor time of the thread when it was given the group.
            admitted_ns: Wall time when it was allowed to write.
            wrote: Wall time and processor time that writing took.
        """
        wall_ns, cpu_ns = self._wall_clock(), self._cpu_clock()
        last_wall_ns, last_cpu_ns = getattr(self._ended, "at", began)
        self._ended.at = (wall_ns, cpu_ns)
        disk_ns = admitted_ns - began[0] + max(wrote[0] - wrote[1], 0)
        # Between groups it received: what that took of a processor. Then it verified and wrote.
        receiving_ns = began[1] - last_cpu_ns
        verifying_ns = wall_ns - admitted_ns - wrote[0] + wrote[1]
        with self._lock:
            window = self._window(wall_ns)
            window.lane_ns += wall_ns - last_wall_ns
            window.disk_ns += disk_ns
            window.cpu_ns += receiving_ns + verifying_ns

    def shares(self) -> tuple[float, float]:
        """Return what share of their time lanes lately waited for the disk, and computed.

        Both are 0 if no lane delivered anything for two windows.
        """
        with self._lock:
            now = self._window(self._wall_clock())
            window = self._before if self._before.lane_ns else now
            if not window.lane_ns:
                return 0.0, 0.0
            return (
                min(window.disk_ns / window.lane_ns, 1.0),
                min(window.cpu_ns / window.lane_ns, 1.0),
            )

    def _window(self, now_ns: int) -> _Window:
        """Return the present window; begin a new one if it is over."""
        age_ns = now_ns - self._now.start_ns
        if age_ns >= _WINDOW_NS:
            self._before = self._now if age_ns < 2 * _WINDOW_NS else _Window(0)
            self._now = _Window(now_ns)
        return self._now
