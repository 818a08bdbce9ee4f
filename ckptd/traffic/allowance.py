"""How much the classes that give way may use of a link that they share with others.

If the capacity of the link is known, it is what the others leave of it. If not, it is searched: the
allowance grows until the others get less than just before; what was used, less what the others lost
by it, is left over.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ckptd.limits import KIB, MS, SECOND

ALLOWANCE_MIN_BYTES_PER_S: Final = 64 * KIB
"""Something always flows: the other end would take silence for a dead source."""

USED_SHARE: Final = 0.95
"""Of what a link carries; the rest is room for others to grow into."""

_RECENT_NS: Final = 3 * SECOND
"""The others count with the most that they had in this time."""

_SMOOTH_KNOWN_NS: Final = 250 * MS
_SMOOTH_NS: Final = 500 * MS
"""What the others get is a mean over so long: at 5 MB/s it sways by 3 % even so, for packets come
in bunches of 64 KiB."""

_DIP_SHARE: Final = 0.96
"""Others that get less than this share of their recent maximum are being slowed down."""

_LOSS_FACTOR: Final = 1.2
"""A loss that shows in a mean is larger by now."""

_SEARCH_NS: Final = 200 * MS
"""How often the allowance is doubled as long as nothing is known ..."""
_GROWTH_NS: Final = 250 * MS
_GROWTH_SHARE: Final = 0.25
_GROWTH_OF_ALL: Final = 0.02
"""... and how often it grows later: by a quarter, but at most by a fiftieth of all that flows."""


class Yielding:
    """Watches others and says what may be used beside them.

    Args:
        capacity_bytes_per_s: What the link carries; ``None``: nobody knows.
        is_certain: It does carry that. Else it may be less, and what is left is searched below it.

    Attributes:
        allowance_bytes_per_s: What may be used now.
    """

    def __init__(self, capacity_bytes_per_s: int | None = None, *, is_certain: bool = True) -> None:
        self.allowance_bytes_per_s = ALLOWANCE_MIN_BYTES_PER_S
        self._capacity_bytes_per_s = capacity_bytes_per_s
        self._is_certain = is_certain and capacity_bytes_per_s is not None
        self._samples: deque[tuple[int, float]] = deque()
        self._is_searching = True
        self._grow_ns = 0
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
        if not self._is_certain:
            self._search(others_bytes_per_s, used_bytes_per_s, now=now)
        if self._capacity_bytes_per_s is not None:
            left = self._capacity_bytes_per_s * USED_SHARE - max(self._smooth(_SMOOTH_KNOWN_NS))
            self._allow(left if self._is_certain else min(left, self.allowance_bytes_per_s))
        return self.allowance_bytes_per_s

    def _search(self, others_bytes_per_s: float, used_bytes_per_s: float, *, now: int) -> None:
        means = self._smooth(_SMOOTH_NS)
        most, latest = max(means), means[-1]
        if latest < _DIP_SHARE * most and now >= self._judge_ns:
            self._is_searching = False
            used = min(float(self.allowance_bytes_per_s), used_bytes_per_s)
            self._allow(used - _LOSS_FACTOR * (most - latest))
            self._judge_ns = self._grow_ns = now + _SMOOTH_NS  # until then means are of before
        elif now >= self._grow_ns and used_bytes_per_s >= self.allowance_bytes_per_s / 2:
            # Else nobody asks for more.
            growth = self.allowance_bytes_per_s * (1.0 if self._is_searching else _GROWTH_SHARE)
            if not self._is_searching:
                growth = min(growth, _GROWTH_OF_ALL * (others_bytes_per_s + used_bytes_per_s))
            self._allow(self.allowance_bytes_per_s + growth)
            self._grow_ns = now + (_SEARCH_NS if self._is_searching else _GROWTH_NS)

    def _allow(self, rate_bytes_per_s: float) -> None:
        self.allowance_bytes_per_s = max(int(rate_bytes_per_s), ALLOWANCE_MIN_BYTES_PER_S)

    def _smooth(self, window_ns: int) -> list[float]:
        """Return the means over windows that end with each sample; one alone sways too much."""
        means: list[float] = []
        window: deque[tuple[int, float]] = deque()
        sum_ = 0.0
        for at_ns, rate in self._samples:
            window.append((at_ns, rate))
            sum_ += rate
            while window[0][0] <= at_ns - window_ns:
                sum_ -= window.popleft()[1]
            means.append(sum_ / len(window))
        first_ns = self._samples[0][0]
        whole = [
            mean
            for (at_ns, _), mean in zip(self._samples, means, strict=True)
            if at_ns - first_ns >= window_ns * 3 // 4
        ]
        return whole or means[-1:]
