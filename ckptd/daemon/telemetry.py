"""What the daemon has done so far, in numbers for metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ckptd.control.api import RecoveryResult
from ckptd.core.effects import EndRecovery
from ckptd.core.views import RecoverySnapshot
from ckptd.observe.metrics import Durations


@dataclass(slots=True)
class Totals:
    """Sums over recoveries that ended; those under way are added when somebody looks.

    Attributes:
        results: How many ended how.
        durations: How long the complete ones took.
        received_bytes: Body bytes from peers.
        resumed_bytes: What earlier runs had left.
        wasted_bytes: Received for nothing, by reason.
        bad_blocks: Blocks with a wrong digest.
    """

    results: Counter[str] = field(default_factory=Counter)
    durations: Durations = field(default_factory=Durations)
    received_bytes: int = 0
    resumed_bytes: int = 0
    wasted_bytes: Counter[str] = field(default_factory=Counter)
    bad_blocks: int = 0

    def note_end(self, effect: EndRecovery, result: RecoveryResult) -> None:
        """Add a recovery that ended."""
        self.results[result.result.value] += 1
        if result.result is result.result.COMPLETE:
            self.durations = self.durations.plus(result.duration_s)
        self._add(effect.final)

    def with_active(self, active: Iterable[RecoverySnapshot]) -> Totals:
        """Return the sums with recoveries under way added."""
        sums = Totals(
            Counter(self.results),
            self.durations,
            self.received_bytes,
            self.resumed_bytes,
            Counter(self.wasted_bytes),
            self.bad_blocks,
        )
        for recovery in active:
            sums._add(recovery)
        return sums

    def _add(self, recovery: RecoverySnapshot) -> None:
        self.received_bytes += recovery.received_bytes
        self.resumed_bytes += recovery.resumed_bytes
        for reason, size_bytes in recovery.wasted_bytes.items():
            self.wasted_bytes[reason.value] += size_bytes
        self.bad_blocks += recovery.bad_blocks
