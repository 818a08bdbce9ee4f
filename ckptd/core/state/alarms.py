"""Moments at which something is due though nothing happened, each under a key of its own."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K")


class Alarms(Generic[K]):
    """One moment for each key; the earliest is always known.

    Each key with a moment has an entry in the heap that is not later than it. A moment that moves
    later, as most do, or is cancelled leaves its entry where it is, to be put right when it comes
    up; one that moves earlier gets a new entry, and the old one is passed over.

    Cost: O(1) to set a moment later or to cancel it, else O(log n).
    """

    def __init__(self) -> None:
        self._at: dict[K, int] = {}
        self._entered: dict[K, int] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._places = count()  # keys need not compare

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def set(self, key: K, at_ns: int | None) -> None:
        """Set the moment of a key, or cancel it with ``None``."""
        if at_ns is None:
            self._at.pop(key, None)
            return
        self._at[key] = at_ns
        entered_ns = self._entered.get(key)
        if entered_ns is None or at_ns < entered_ns:
            self._entered[key] = at_ns
            heappush(self._heap, (at_ns, next(self._places), key))

    def earliest(self) -> int | None:
        """Return the earliest moment; ``None`` if there is none."""
        heap, entered = self._heap, self._entered
        while heap:
            entry_ns, place, key = heap[0]
            at_ns = self._at.get(key)
            if at_ns == entry_ns:
                return entry_ns
            if entered.get(key) != entry_ns:
                heappop(heap)
            elif at_ns is None:
                del entered[key]  # so that it is passed over
            else:
                heapreplace(heap, (at_ns, place, key))
                entered[key] = at_ns
        return None

    def take_due(self, now: int) -> list[K]:
        """Return the keys whose moment has come, earliest first, and forget those moments."""
        due: list[K] = []
        if not self._heap or self._heap[0][0] > now:
            return due  # nothing is due: no alarm is earlier than the first entry
        while (at_ns := self.earliest()) is not None and at_ns <= now:
            _, _, key = heappop(self._heap)
            del self._at[key]
            if self._entered.get(key) == at_ns:
                del self._entered[key]
            due.append(key)
        return due
