"""Keeps a thread that reads at a rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_BEHIND_S: Final = 1.0
"""What was not read in time is caught up with for so long; what came before is forgotten."""


class ReadPace:
    """Lets so many bytes be read in a second. Called by the thread that reads; it sleeps here.

    Args:
        rate_bytes_per_s: How many.
        stopped: Ends every wait.
        clock: Seconds that go on.
    """

    def __init__(
        self,
        rate_bytes_per_s: int,
        stopped: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_bytes_per_s = rate_bytes_per_s
        self._stopped = stopped
        self._clock = clock
        self._due_s = clock()

    def __call__(self, size_bytes: int) -> None:
        """Take note of bytes that were read; return when the next ones may be."""
        now_s = self._clock()
        self._due_s = max(self._due_s, now_s - _BEHIND_S) + size_bytes / self._rate_bytes_per_s
        if self._due_s > now_s:
            self._stopped.wait(self._due_s - now_s)
