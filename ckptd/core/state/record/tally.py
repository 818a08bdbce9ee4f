"""What a recovery has cost and brought so far, for people and predictions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ckptd.core.state.link import RateEstimate
from ckptd.model.ids import PathId
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


@dataclass(slots=True)
class Tally:
    """Bytes and moments of a recovery.

    Attributes:
        rate: How fast body bytes come from all sources together.
        received_bytes: Body bytes from sources.
        resumed_bytes: What an earlier run left here.
        local_bytes: What else was on this node's disks already, or is zeros.
        source_bytes: Verified bytes by source.
        waste: Received bytes that were of no use.
        bad_blocks: How many blocks had a wrong digest.
        predicted_ns: How long it would take in all, said when transferring began; ``None``: that
            could not be said.
        predicted_critical_ns: … and until the last critical block was here.
        still_since_ns: Since when nothing is asked of anybody though something is missing.
    """

    rate: RateEstimate = field(default_factory=RateEstimate)
    received_bytes: int = 0
    resumed_bytes: int = 0
    local_bytes: int = 0
    source_bytes: dict[PathId, int] = field(default_factory=dict)
    waste: Waste = field(default_factory=Waste)
    bad_blocks: int = 0
    predicted_ns: int | None = None
    predicted_critical_ns: int | None = None
    still_since_ns: int | None = None


@dataclass(slots=True)
class Duplicates:
    """What was asked of two sources.

    Attributes:
        count: How many hedges were ordered.
        hedged_bytes: Length of those that a late source made necessary.
        raced_bytes: Length of those that two sources raced for.
    """

    count: int = 0
    hedged_bytes: int = 0
    raced_bytes: int = 0
