"""The processor time that a source spends on coding, shared by the threads that send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ckptd.traffic.coding_time import CodingTime


class SharedCodingTime:
    """The processor time for coding, for all threads that send.

    Args:
        cores: How much of it comes with each second.
        clock: Nanoseconds that go on.
    """

    def __init__(self, cores: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._time = CodingTime(cores)
        self._lock = threading.Lock()
        self._clock = clock

    def may_code(self) -> bool:
        """Return whether there is some left."""
        with self._lock:
            return self._time.may_code(now=self._clock())

    def spend(self, spent_ns: int) -> None:
        """Take note of what coding took."""
        with self._lock:
            self._time.spend(spent_ns)
