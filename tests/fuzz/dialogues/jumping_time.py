"""Time that jumps over every wait: a pause of ten seconds costs a millisecond.

The loop jumps to its next deadline only when nothing can happen before it: no descriptor is
ready, and no other thread runs, waits for a processor or waits for the disk. What threads do takes
real time; what is waited for on the loop takes none.

:meth:`Clock.install` comes before the first import of ckptd: some modules bind the clock.
"""

from __future__ import annotations

import os
import re
import selectors
import threading
import time
from typing import Final

_QUIET_S: Final = 0.0002
"""So long other threads are given to take the interpreter, if they wait for it."""
_FACTS: Final = re.compile(
    rb"^State:\s+(\w).*?^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE | re.DOTALL
)

_real_ns: Final = time.monotonic_ns


class Clock:
    """A monotonic clock that can be set forward.

    Attributes:
        jumped_ns: How far it is ahead.
    """

    def __init__(self) -> None:
        self.jumped_ns = 0

    def install(self) -> None:
        """Let the whole process have this time."""
        time.monotonic_ns = self.now_ns
        time.monotonic = lambda: self.now_ns() / 1e9

    def now_ns(self) -> int:
        return _real_ns() + self.jumped_ns

    def jump(self, seconds: float) -> None:
        self.jumped_ns += int(seconds * 1e9) + 1


class JumpingSelector(selectors.EpollSelector):
    """Waits in no time.

    Attributes:
        longest_turn_ns: Processor time of the loop between two looks at descriptors, at most.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._threads: dict[int, int] = {}
        self._turn_began_ns: int | None = None
        self.longest_turn_ns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._turn_began_ns is not None:
            turn_ns = time.thread_time_ns() - self._turn_began_ns
            self.longest_turn_ns = max(self.longest_turn_ns, turn_ns)
        ready = super().select(0)
        while not ready and (timeout is None or timeout > 0):
            before = self._activity()
            time.sleep(_QUIET_S)
            ready = super().select(0)
            if not ready and before is not None and before == self._activity():
                if timeout is None:
                    continue  # a thread has something to do that takes a while
                self._clock.jump(timeout)
                break
        self._turn_began_ns = time.thread_time_ns()
        return ready

    def _activity(self) -> dict[int, int] | None:
        """Return how often each other thread gave up its processor; ``None`` if one works."""
        own = threading.get_native_id()
        found: dict[int, int] = {}
        for thread in map(int, os.listdir("/proc/self/task")):
            if thread == own:
                continue
            facts = self._facts(thread)
            if facts is None:
                continue
            if facts[0] != "S":
                return None
            found[thread] = facts[1]
        for gone in self._threads.keys() - found.keys():
            os.close(self._threads.pop(gone))
        return found

    def _facts(self, thread: int) -> tuple[str, int] | None:
        try:
            if thread not in self._threads:
                path = f"/proc/self/task/{thread}/status"
                self._threads[thread] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            match = _FACTS.search(os.pread(self._threads[thread], 4096, 0))
        except OSError:  # it ended
            return None
        assert match is not None
        return match[1].decode(), int(match[2])

    def close(self) -> None:
        while self._threads:
            os.close(self._threads.popitem()[1])
        super().close()
