"""What the daemon has done so far, in numbers for metrics.

All of it is read off the scheduler's events, orders and views; the deciders count nothing for us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ckptd.control.messages.api import RecoveryResult
from ckptd.core.effects import Effect, EndRecovery, FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.core.report.views import RecoverySnapshot
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId, TransferId
from ckptd.model.words import Criticality, RangeOutcome, Stage
from ckptd.observe.durations import NO_RECOVERIES, NO_TRANSFERS, Durations


@dataclass(slots=True)
class Totals:
    """Sums over recoveries that ended; those under way are added when somebody looks.

    Attributes:
        results: How many ended how.
        durations: How long the complete ones took.
        critical_durations: How long it took until the last critical unit was here.
        received_bytes: Body bytes from peers.
        resumed_bytes: What earlier runs had left.
        wasted_bytes: Received for nothing, by reason.
        bad_blocks: Blocks with a wrong digest.
        hedges: Ranges asked of a second source.
    """

    results: Counter[str] = field(default_factory=Counter)
    durations: Durations = NO_RECOVERIES
    critical_durations: Durations = NO_RECOVERIES
    received_bytes: int = 0
    resumed_bytes: int = 0
    wasted_bytes: Counter[str] = field(default_factory=Counter)
    bad_blocks: int = 0
    hedges: int = 0

    def note_end(self, effect: EndRecovery, result: RecoveryResult) -> None:
        """Add a recovery that ended."""
        self.results[result.result.value] += 1
        if result.result is result.result.COMPLETE:
            self.durations = self.durations.plus(result.duration_s)
        if result.time_to_critical_s is not None:
            self.critical_durations = self.critical_durations.plus(result.time_to_critical_s)
        self.add(effect.final)

    def with_active(self, active: Iterable[RecoverySnapshot]) -> Totals:
        """Return the sums with recoveries under way added."""
        sums = replace(self, results=Counter(self.results), wasted_bytes=Counter(self.wasted_bytes))
        for recovery in active:
            sums.add(recovery)
        return sums

    def add(self, recovery: RecoverySnapshot) -> None:
        """Add what a recovery has moved so far."""
        self.received_bytes += recovery.received_bytes
        self.resumed_bytes += recovery.resumed_bytes
        for reason, size_bytes in recovery.wasted_bytes.items():
            self.wasted_bytes[reason.value] += size_bytes
        self.bad_blocks += recovery.bad_blocks
        self.hedges += recovery.hedges


@dataclass(slots=True)
class _Transfer:
    """One that is under way."""

    ordered_ns: int
    criticality: Criticality
    received_bytes: int = 0
    is_heard: bool = False


class TransferTimes:
    """How long transfers take, and how they end.

    Attributes:
        outcomes: How many ended how.
        received_bytes: Body bytes by how urgent they were.
        ranges: From order to end, of those that delivered.
        first_bytes: From order to the first byte.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.received_bytes: Counter[str] = Counter()
        self.ranges: Durations = NO_TRANSFERS
        self.first_bytes: Durations = NO_TRANSFERS
        self._open: dict[TransferId, _Transfer] = {}

    def note(self, events: Sequence[Event], effects: Sequence[Effect], *, now: int) -> None:
        """Take in what the scheduler was told and what it ordered.

        Every order to fetch ends with one ``RangeEnded``, so what is open stays bounded.
        """
        for event in events:
            match event:
                case RangeProgressed() if event.received_bytes:
                    self._hear(event.transfer, event.received_bytes, now)
                case RangeEnded():
                    self._end(event, now)
                case _:
                    pass
        for effect in effects:
            if isinstance(effect, FetchRange):
                self._open[effect.transfer] = _Transfer(now, effect.criticality)

    def _hear(self, transfer: TransferId, received_bytes: int, now: int) -> None:
        known = self._open.get(transfer)
        if known is None:
            return
        self.received_bytes[known.criticality.label] += received_bytes - known.received_bytes
        known.received_bytes = received_bytes
        if not known.is_heard:
            known.is_heard = True
            self.first_bytes = self.first_bytes.plus((now - known.ordered_ns) / SECOND)

    def _end(self, event: RangeEnded, now: int) -> None:
        known = self._open.pop(event.transfer, None)
        self.outcomes[event.outcome.value] += 1
        if known is not None and event.outcome is RangeOutcome.DELIVERED:
            self.ranges = self.ranges.plus((now - known.ordered_ns) / SECOND)


class StageTimes:
    """How long recoveries spend in each stage."""

    def __init__(self) -> None:
        self._spent_ns: Counter[Stage] = Counter()
        self._since: dict[RecoveryId, tuple[Stage, int]] = {}

    def note(
        self, stages: Iterable[tuple[RecoveryId, Stage]], *, now: int
    ) -> list[tuple[RecoveryId, Stage]]:
        """Take in how far every active recovery is; return those that moved on."""
        current = dict(stages)
        moved = []
        for recovery, (stage, since_ns) in list(self._since.items()):
            if current.get(recovery) is not stage:
                self._spent_ns[stage] += now - since_ns
                del self._since[recovery]
        for recovery, stage in current.items():
            if recovery not in self._since:
                self._since[recovery] = (stage, now)
                moved.append((recovery, stage))
        return moved

    def seconds(self, *, now: int) -> dict[str, float]:
        """Return the time spent in each stage, that of active recoveries included."""
        spent_ns = Counter(self._spent_ns)
        for stage, since_ns in self._since.values():
            spent_ns[stage] += now - since_ns
        return {stage.value: spent / SECOND for stage, spent in spent_ns.items()}
