"""How long first bytes took lately: a histogram that forgets.

Disappointments count as well, with the time that was waited. Otherwise a cold start with slow
sources would never learn that they are slow (Spegel issue 1469).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from ckptd.limits import MS

_FIRST_BOUND_NS: Final = 1 * MS
_BUCKETS_MAX: Final = 64
_BUCKET_RATIO: Final = 1.2
"""Each bucket ends 20 % above the one before; 64 of them reach from 1 ms to 100 s."""

_KEPT_WEIGHT_SHARE: Final = 0.98
"""Each sample takes a fiftieth of the weight of those before it: about fifty samples count."""

_WEIGHT_MAX: Final = 1e100
"""Newer samples weigh more, which is cheaper than to take from all others; up to this weight."""

_BOUNDS_NS: Final = tuple(
    int(_FIRST_BOUND_NS * _BUCKET_RATIO**index) for index in range(_BUCKETS_MAX)
)


@dataclass(slots=True)
class Latencies:
    """A decaying histogram of times."""

    _weights: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS_MAX)
    _newest: float = 1.0

    def add(self, time_ns: int) -> None:
        """Note how long something took, or how long nothing came until the wait ended."""
        if self._newest > _WEIGHT_MAX:
            self._weights = [weight / self._newest for weight in self._weights]
            self._newest = 1.0
        self._newest /= _KEPT_WEIGHT_SHARE
        self._weights[min(bisect_left(_BOUNDS_NS, time_ns), _BUCKETS_MAX - 1)] += self._newest

    def percentile_ns(self, share: float) -> int | None:
        """Return the time that this share of samples did not exceed; ``None`` without any.

        Accurate to one bucket, 20 %.
        """
        total = sum(self._weights)
        if not total:
            return None
        seen = 0.0
        for weight, bound in zip(self._weights, _BOUNDS_NS, strict=True):
            seen += weight
            if seen >= share * total:
                return bound
        return _BOUNDS_NS[-1]
