"""Counts what is under way for each caller, so that one of them does not take all there is."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator


class Turns:
    """What is under way, by who waits for it. Belongs to the event loop."""

    def __init__(self) -> None:
        self._callers: Counter[int] = Counter()

    def of(self, uid: int) -> int:
        """Return how many are under way for a user."""
        return self._callers[uid]

    def total(self) -> int:
        """Return how many are under way for all."""
        return self._callers.total()

    @contextlib.contextmanager
    def take(self, uid: int) -> Iterator[None]:
        """Count one more for a user, for as long as the context lasts."""
        self._callers[uid] += 1
        try:
            yield
        finally:
            self._callers[uid] -= 1
            if not self._callers[uid]:
                del self._callers[uid]
