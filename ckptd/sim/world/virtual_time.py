"""Virtual time and the sources of randomness.

Everything in a simulated cluster happens in an order that follows from its seed alone: by time,
and at one moment in the order in which it was planned. Nothing is ordered by a hash.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, TypeVarTuple

_Args = TypeVarTuple("_Args")


class World:
    """A clock that jumps to the next planned action.

    Args:
        seed: Decides everything that is left to chance.

    Attributes:
        now: The moment, in nanoseconds since the world began.
        step_count: How many plans were carried out.
    """

    def __init__(self, seed: int) -> None:
        self.now = 0
        self.step_count = 0
        self._seed = seed
        self._agenda: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0
        self._closing: list[Callable[[], None]] = []

    def stream(self, name: str) -> Random:
        """Return a random generator for one purpose; draws there do not change others."""
        return Random(f"{self._seed}/{name}")  # noqa: S311 (no secret)

    def at(self, moment: int, action: Callable[[*_Args], None], *args: *_Args) -> None:
        """Plan something for a moment that is not over."""
        assert moment >= self.now, "nothing can be planned for the past"
        heapq.heappush(self._agenda, (moment, self._planned, action, args))
        self._planned += 1

    def after(self, delay_ns: int, action: Callable[[*_Args], None], *args: *_Args) -> None:
        """Plan something for later."""
        self.at(self.now + delay_ns, action, *args)

    def when_moment_closes(self, action: Callable[[], None]) -> None:
        """Call something at the end of this moment; it may plan more for the same moment."""
        self._closing.append(action)

    def step(self, until: int) -> bool:
        """Run the next action; return whether there was one not later than ``until``."""
        agenda = self._agenda
        while self._closing and not (agenda and agenda[0][0] == self.now):
            closing, self._closing = self._closing, []
            for close in closing:
                close()
        if not agenda or agenda[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, action, args = heapq.heappop(agenda)
        self.step_count += 1
        action(*args)
        return True
