"""The way of reports from a lane's thread to the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Final, TypeAlias

from ckptd.core.events import RangeEnded, RangeProgressed, Reporting

_GATHER_S: Final = 0.01
"""For how long progress is gathered before the loop hears of it. At 2 GB/s a lane finishes a
group of blocks every half a millisecond; nothing is decided that often, and hearing of each took
a fifth of the receiver's processor time. Much longer would starve the commit: lanes wait when
48 MiB are verified and not in the journal, and only what was reported is committed."""

Report: TypeAlias = RangeProgressed | RangeEnded


class ReportQueue:
    """Hands reports to the loop, in order.

    Progress is gathered for a moment and that of one transfer becomes one report; an end and a
    bad block are reported at once.

    Args:
        report: Called on the loop, with all that waited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Reporting) -> None:
        self._loop = loop
        self._report = report
        self._lock = threading.Lock()
        self._waiting: list[Report] = []
        self._is_urgent = False

    def put(self, report: Report) -> None:
        """Add a report; any thread."""
        is_urgent = isinstance(report, RangeEnded) or bool(report.rejected)
        with self._lock:
            is_first = not self._waiting
            is_more_urgent = is_urgent and not self._is_urgent
            self._is_urgent = self._is_urgent or is_urgent
            last = self._waiting[-1] if self._waiting else None
            if (
                isinstance(last, RangeProgressed)
                and isinstance(report, RangeProgressed)
                and last.transfer == report.transfer
            ):
                if last.rejected:
                    rejected = last.rejected + report.rejected
                    report = dataclasses.replace(report, rejected=rejected)
                self._waiting[-1] = report
            else:
                self._waiting.append(report)
        if is_more_urgent:
            self._loop.call_soon_threadsafe(self.flush)
        elif is_first:
            self._loop.call_soon_threadsafe(self._loop.call_later, _GATHER_S, self.flush)

    def flush(self) -> None:
        """Report what waits; on the loop."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._is_urgent = False
        if waiting:
            self._report(*waiting)
