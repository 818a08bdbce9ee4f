"""How long things took, counted in classes as Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Final

DURATION_BOUNDS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
"""From a small model on a fast disk to terabytes over a busy network."""

TRANSFER_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""A range takes about 250 ms; a first byte from one to hundreds of milliseconds."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things took, counted in classes.

    Attributes:
        bounds_s: The longest duration of each class, in seconds, ascending.
        counts: How many fell into each class; the last counts those above every bound.
        sum_s: All of them together.
    """

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...] = ()
    sum_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            object.__setattr__(self, "counts", (0,) * (len(self.bounds_s) + 1))

    def plus(self, duration_s: float) -> Durations:
        """Return the same with one more."""
        index = bisect_left(self.bounds_s, duration_s)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return replace(self, counts=counts, sum_s=self.sum_s + duration_s)


NO_RECOVERIES: Final = Durations(DURATION_BOUNDS_S)
NO_TRANSFERS: Final = Durations(TRANSFER_BOUNDS_S)
