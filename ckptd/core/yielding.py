"""How much may be used by those who give way to others on the same link.

Where it is known what the link carries, that is what the others leave of it. Else it is found out:
those who give way use more and more until the others get less than they got just before, then half
of it; as TCP shares a link, but with the others never on the losing side for long.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ckptd.limits import KIB, MS, SECOND

ALLOWANCE_MIN_BYTES_PER_S: Final = 64 * KIB
"""Something always flows, or those at the other end take waiting for death."""

USED_SHARE: Final = 0.95
"""Of what a link carries; the rest is room for others to grow into."""

_RECENT_NS: Final = 2 * SECOND
"""The others count with the most that they had in this time."""

_DIP_SHARE: Final = 0.97
"""Others that get less than this share of that are in want; what they get sways by 2 %."""

_GROWTH: Final = 1.05
_SMOOTH_SAMPLES: Final = 3
_PAUSE_NS: Final = 300 * MS
"""A change shows in the samples after this."""


class Yielding:
    """Watches others and says what may be used beside them.

    Args:
        capacity_bytes_per_s: What the link carries; ``None``: nobody knows.

    Attributes:
        allowance_bytes_per_s: What may be used now.
    """

    def __init__(self, capacity_bytes_per_s: int | None = None) -> None:
        self.allowance_bytes_per_s = ALLOWANCE_MIN_BYTES_PER_S
        self._capacity_bytes_per_s = capacity_bytes_per_s
        self._samples: deque[tuple[int, float]] = deque()
        self._is_searching = True
        self._judge_ns = 0

    def observe(self, others_bytes_per_s: float, used_bytes_per_s: float, *, now: int) -> int:
        """Take in what was measured since the last call; to be called every 50 to 100 ms.

        Args:
            others_bytes_per_s: What the others got.
            used_bytes_per_s: What those used who give way.
            now: The moment.

        Returns:
            The allowance.
        """
        self._samples.append((now, others_bytes_per_s))
        while self._samples[0][0] < now - _RECENT_NS:
            self._samples.popleft()
        if self._capacity_bytes_per_s is not None:
            left = int(self._capacity_bytes_per_s * USED_SHARE - max(self._smooth()))
            self.allowance_bytes_per_s = max(left, ALLOWANCE_MIN_BYTES_PER_S)
        else:
            self._search(used_bytes_per_s, now=now)
        return self.allowance_bytes_per_s

    def _search(self, used_bytes_per_s: float, *, now: int) -> None:
        smooth = self._smooth()
        latest = smooth[-1]
        if now < self._judge_ns:
            return
        if latest < _DIP_SHARE * max(smooth):
            self._is_searching = False
            halved = min(self.allowance_bytes_per_s, int(used_bytes_per_s)) // 2
            self.allowance_bytes_per_s = max(halved, ALLOWANCE_MIN_BYTES_PER_S)
            self._judge_ns = now + _PAUSE_NS
        elif used_bytes_per_s >= self.allowance_bytes_per_s / 2:  # else nobody asks for more
            growth = 2 if self._is_searching else _GROWTH
            self.allowance_bytes_per_s = int(self.allowance_bytes_per_s * growth)

    def _smooth(self) -> list[float]:
        """Return means over some samples each; one alone sways too much."""
        rates = [rate for _, rate in self._samples]
        if len(rates) < _SMOOTH_SAMPLES:
            return [sum(rates) / len(rates)]
        return [
            sum(rates[end - _SMOOTH_SAMPLES : end]) / _SMOOTH_SAMPLES
            for end in range(_SMOOTH_SAMPLES, len(rates) + 1)
        ]
