"""Bytes that came and were of no use."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field


class WasteReason(enum.Enum):
    """Why bytes were of no use. The values are stable: metrics have them as labels."""

    CORRUPT = "corrupt"
    """Blocks with a wrong digest."""
    DUPLICATE = "duplicate"
    """Blocks that were here already, for none of the reasons below."""
    CANCELLED = "cancelled"
    """Of blocks that were not whole when the transfer ended, for none of the reasons below."""
    HEDGE = "hedge"
    """A hedge or its rival lost the race: blocks that both sent, and what the loser had begun."""
    STOLEN = "stolen"
    """What a lane had begun of a block when a faster source took its work over."""
    PREEMPTED = "preempted"
    """What a lane had begun of a block when it gave way to another recovery."""
    SILENT = "silent"
    """What a lane brought of a block, or of blocks that were here, before it was closed as late."""
    LOST = "lost"
    """Blocks that were verified and written, and that somebody removed from staging."""


@dataclass(slots=True)
class Waste:
    """How much was of no use, by reason."""

    by_reason: Counter[WasteReason] = field(default_factory=Counter)

    def add(self, reason: WasteReason, size_bytes: int) -> None:
        """Count some bytes."""
        self.by_reason[reason] += size_bytes

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return self.by_reason.total()
