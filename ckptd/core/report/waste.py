"""Bytes that came and were of no use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ckptd.model.words import WasteReason


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
