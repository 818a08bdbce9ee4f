"""How much processor time a source spends on coding: a bucket of it that fills as time goes on.

What a source spends on coding for others its own job does not have. When the bucket is empty
blocks go as they are, and whoever receives them asks for them so.
"""

from __future__ import annotations

from typing import Final

from ckptd.limits import SECOND

BURST_NS: Final = SECOND // 4
"""Saved up at most: a block of 16 MiB takes about a tenth of it."""


class CodingTime:
    """Processor time that may be spent. One thread at a time.

    Args:
        cores: How much of it comes with each second.
    """

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self._left_ns = BURST_NS if cores else 0
        self._since_ns: int | None = None

    def may_code(self, *, now: int) -> bool:
        """Return whether there is some left."""
        if self._since_ns is not None:
            came_ns = int((now - self._since_ns) * self._cores)
            self._left_ns = min(self._left_ns + max(came_ns, 0), BURST_NS)
        self._since_ns = now
        return self._left_ns > 0

    def spend(self, spent_ns: int) -> None:
        """Take note of what coding took; the bucket may be empty for a while."""
        self._left_ns -= spent_ns
