"""How fast a peer was once, and how much of that is still believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckptd.limits import DAY_S, SECOND
from ckptd.model.words import RateOrigin

FRESH_NS: Final = DAY_S * SECOND
"""A rate counts in full for a day: what a rack does at night it does by day as well."""

HALF_LIFE_NS: Final = 7 * DAY_S * SECOND
"""After that it counts half for each week: machines are moved, networks are shared with more."""

KEPT_NS: Final = 60 * DAY_S * SECOND
"""Then it is forgotten: less than a hundredth of it would count."""


@dataclass(frozen=True, slots=True)
class LearnedRate:
    """How fast a peer delivered.

    Attributes:
        bytes_per_s: So fast.
        latency_ns: Usual time to its first byte; ``None`` if that was not measured.
        learned_ns: When, on the scheduler's clock; before this node started if negative.
        origin: By what.
        is_sound: It was measured over enough bytes to be worth keeping.
    """

    bytes_per_s: float
    latency_ns: int | None
    learned_ns: int
    origin: RateOrigin
    is_sound: bool = True

    def age_ns(self, *, now: int) -> int:
        """Return how long ago that was."""
        return max(now - self.learned_ns, 0)

    def believed_bytes_per_s(self, *, now: int) -> float:
        """Return the rate to count on: the older, the less."""
        beyond_ns = self.age_ns(now=now) - FRESH_NS
        return self.bytes_per_s if beyond_ns <= 0 else self.bytes_per_s * belief(beyond_ns)


def belief(beyond_ns: int) -> float:
    """Return the share of a rate that is believed so long after it was fresh."""
    return float(0.5 ** (beyond_ns / HALF_LIFE_NS))
