"""The last entries of something that goes on, for readers that come and go.

Entries are numbered from 1 without a gap. A reader that is too slow, or asks for what is long
gone, learns how many entries it lost: nothing is dropped silently, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Numbered(Generic[T]):
    """An entry and its number."""

    id: int
    entry: T


class Ring(Generic[T]):
    """A bounded log in memory; any thread adds, the event loop waits.

    Args:
        entries_max: How many are kept.
    """

    def __init__(self, entries_max: int) -> None:
        self._entries: deque[Numbered[T]] = deque(maxlen=entries_max)
        self._last_id = 0
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], object]] = []

    @property
    def last_id(self) -> int:
        """Number of the newest entry; 0 before the first."""
        return self._last_id

    def append(self, entry: T) -> None:
        """Add an entry and wake up whoever waits."""
        with self._lock:
            self._last_id += 1
            self._entries.append(Numbered(self._last_id, entry))
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def after(self, last_seen_id: int, *, at_most: int) -> tuple[int, list[Numbered[T]]]:
        """Return what came after an entry.

        Args:
            last_seen_id: Number of the last entry the reader has; 0 for none.
            at_most: How many entries to return.

        Returns:
            How many entries between that one and the first of the list are gone; the list.
        """
        with self._lock:
            first_id = self._last_id - len(self._entries) + 1
            lost = max(first_id - 1 - last_seen_id, 0)
            skipped = max(last_seen_id + 1 - first_id, 0)
            found = [
                self._entries[index]
                for index in range(skipped, min(skipped + at_most, len(self._entries)))
            ]
        return lost, found

    async def wait(self, last_seen_id: int) -> None:
        """Return when there is a newer entry than that one."""
        loop = asyncio.get_running_loop()
        while self._last_id <= last_seen_id:
            came = asyncio.Event()

            def wake(came: asyncio.Event = came) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(came.set)

            with self._lock:
                if self._last_id > last_seen_id:
                    return
                self._waiting.append(wake)
            try:
                await came.wait()
            finally:
                with self._lock:
                    if wake in self._waiting:
                        self._waiting.remove(wake)
