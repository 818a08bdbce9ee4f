"""How lanes of a recovery spend their time: waiting for bytes, computing, waiting for the disk.

Derived from two clocks of the lane's thread, the wall clock and the thread's processor time, around
one group of blocks (about a mebibyte) now and then. A processor that is shared shows up as
computing, for the lane would go on if it had one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.limits import MS, SECOND

_WINDOW_NS: Final = 1 * SECOND
"""Shares are of the last complete window, or of the present one if there is no other."""

_SAMPLE_NS: Final = 100 * MS
"""A lane is sampled this often. Reading a thread's processor time is a call into the kernel, which
often hands the core to another process when it returns, while the thread holds the interpreter:
read around every group it cost a recovery a tenth of its rate on two busy cores, and every 20 ms a
tenth of the time in which lanes had the interpreter."""


class Moment(NamedTuple):
    """A reading of the two clocks of a thread."""

    wall_ns: int
    cpu_ns: int


class LaneSample:
    """One group of blocks in the hands of one lane.

    Args:
        clock: Reads both clocks.
        last: When the lane was done with the group before; ``None``: this is its first.
    """

    def __init__(self, clock: Callable[[], Moment], last: Moment | None) -> None:
        self._clock = clock
        self.began = clock()
        self.last = last or self.began
        self.admitted_ns = self.began.wall_ns
        self.writing = self.wrote = self.began

    def admit(self) -> None:
        """Note that the lane may write."""
        self.admitted_ns = self._clock().wall_ns

    def begin_writing(self) -> None:
        """Note that the blocks are verified."""
        self.writing = self._clock()

    def end_writing(self) -> None:
        """Note that they are written."""
        self.wrote = self._clock()


@dataclass(slots=True)
class _Window:
    start_ns: int
    lane_ns: int = 0
    disk_ns: int = 0
    cpu_ns: int = 0


class LaneTimes:
    """Adds up what lanes did, window by window.

    Args:
        monotonic_clock: Monotonic nanoseconds.
        cpu_clock: Nanoseconds of processor time of the calling thread.
    """

    def __init__(
        self,
        monotonic_clock: Callable[[], int] = time.monotonic_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._monotonic_clock = monotonic_clock
        self._cpu_clock = cpu_clock
        self._lock = threading.Lock()
        self._now = _Window(0)
        self._before = _Window(0)
        self._lane = threading.local()

    def begin(self) -> LaneSample | None:
        """Sample the group that the calling lane was given, if a sample is due."""
        try:
            last: Moment | None = self._lane.last
        except AttributeError:
            return LaneSample(self._clock, None)
        return None if last is None else LaneSample(self._clock, last)

    def end(self, sample: LaneSample | None) -> None:
        """Note that the calling lane is done with a group.

        Args:
            sample: What :meth:`begin` returned for it.
        """
        if sample is None:
            if self._monotonic_clock() >= self._lane.due_ns:
                self._lane.last = self._clock()  # the next one is sampled
            return
        now, last, wrote = self._clock(), sample.last, sample.wrote
        is_due = now.wall_ns - last.wall_ns >= _SAMPLE_NS
        self._lane.last = now if is_due else None
        self._lane.due_ns = now.wall_ns + _SAMPLE_NS
        writing_ns = wrote.wall_ns - sample.writing.wall_ns
        writing_cpu_ns = wrote.cpu_ns - sample.writing.cpu_ns
        disk_ns = sample.admitted_ns - sample.began.wall_ns + max(writing_ns - writing_cpu_ns, 0)
        # Between groups it received: what that took of a processor. Then it verified and wrote.
        receiving_ns = sample.began.cpu_ns - last.cpu_ns
        verifying_ns = now.wall_ns - sample.admitted_ns - writing_ns + writing_cpu_ns
        with self._lock:
            window = self._window(now.wall_ns)
            window.lane_ns += now.wall_ns - last.wall_ns
            window.disk_ns += disk_ns
            window.cpu_ns += receiving_ns + verifying_ns

    def _clock(self) -> Moment:
        return Moment(self._monotonic_clock(), self._cpu_clock())

    def shares(self) -> tuple[float, float]:
        """Return the shares of their time that lanes waited for the disk, and computed.

        They are of the last window. Both are 0 if no lane delivered anything for two windows.
        """
        with self._lock:
            now = self._window(self._monotonic_clock())
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
