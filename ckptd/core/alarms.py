"""Moments at which something is due though nothing happened, each under a key of its own."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")


class Alarms(Generic[K]):
    """One moment for each key; the earliest is always known.

    Setting and cancelling leave the old entry in the heap, to be passed over when it comes up.
    Moments mostly move later, so that happens soon.

    Cost: O(log n) to set; the heap holds few more entries than keys.
    """

    def __init__(self) -> None:
        self._at: dict[K, int] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._sequence = 0

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def set(self, key: K, at_ns: int | None) -> None:
        """Set the moment of a key, or cancel it with ``None``."""
        if at_ns is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at_ns:
            self._at[key] = at_ns
            self._sequence += 1  # keys need not compare
            heappush(self._heap, (at_ns, self._sequence, key))

    def earliest(self) -> int | None:
        """Return the earliest moment; ``None`` if there is none."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: int) -> list[K]:
        """Return the keys whose moment has come, earliest first, and forget those moments."""
        due: list[K] = []
        while (at_ns := self.earliest()) is not None and at_ns <= now:
            _, _, key = heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due
