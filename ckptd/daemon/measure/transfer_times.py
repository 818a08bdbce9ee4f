"""How long transfers take, how they end, and what they bring.

All of it is read off the scheduler's events and orders; the deciders count nothing for us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.limits import SECOND
from ckptd.model.ids import OWN_DISKS, RecoveryId, TransferId
from ckptd.model.words import Criticality, RangeOutcome, Urgency
from ckptd.observe.durations import NO_TRANSFERS, Durations
from ckptd.observe.metrics import MetricRow, counters, histogram, histograms


@dataclass(slots=True)
class _Transfer:
    """One that is under way."""

    ordered_ns: int
    criticality: Criticality
    urgency: Urgency
    received_bytes: int = 0
    is_heard: bool = False


class TransferTimes:
    """How long transfers take, and how they end.

    Attributes:
        outcomes: How many ended how.
        received_bytes: Body bytes by how urgent they were.
        ranges: From order to end, of those that delivered.
        first_bytes: From order to the first byte, by the class in which it was asked for.

    Args:
        is_background: Tells whether a recovery is in the background.
    """

    def __init__(self, is_background: Callable[[RecoveryId], bool]) -> None:
        self._is_background = is_background
        self.outcomes: Counter[str] = Counter()
        self.received_bytes: Counter[str] = Counter()
        self.ranges: Durations = NO_TRANSFERS
        self.first_bytes: dict[str, Durations] = {}
        self._open: dict[TransferId, _Transfer] = {}

    def note(self, events: Sequence[Event], effects: Sequence[Effect], *, now: int) -> None:
        """Take in the events of the scheduler and what it ordered.

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
            if isinstance(effect, FetchRange) and effect.source != OWN_DISKS:
                urgency = Urgency.of(
                    effect.criticality, is_background=self._is_background(effect.recovery)
                )
                self._open[effect.transfer] = _Transfer(now, effect.criticality, urgency)

    def _hear(self, transfer: TransferId, received_bytes: int, now: int) -> None:
        known = self._open.get(transfer)
        if known is None:
            return
        self.received_bytes[known.criticality.label] += received_bytes - known.received_bytes
        known.received_bytes = received_bytes
        if not known.is_heard:
            known.is_heard = True
            before = self.first_bytes.get(known.urgency.label, NO_TRANSFERS)
            self.first_bytes[known.urgency.label] = before.plus((now - known.ordered_ns) / SECOND)

    def _end(self, event: RangeEnded, now: int) -> None:
        known = self._open.pop(event.transfer, None)
        if known is None:  # of this node's own disks, which nothing is transferred from
            return
        self.outcomes[event.outcome.value] += 1
        if event.outcome is RangeOutcome.DELIVERED:
            self.ranges = self.ranges.plus((now - known.ordered_ns) / SECOND)


RECEIVED_METRICS: Final[Sequence[MetricRow[TransferTimes]]] = (
    counters(
        "received_bytes",
        "Body bytes received, by where from and how urgent they were.",
        ("source_kind", "criticality"),
        lambda times: {("peer", label): size for label, size in times.received_bytes.items()},
        (("peer", criticality.label) for criticality in Criticality),
    ),
)
TRANSFER_METRICS: Final[Sequence[MetricRow[TransferTimes]]] = (
    counters(
        "transfers",
        "Transfers that ended; each is one range asked of one source.",
        ("outcome",),
        lambda times: times.outcomes,
        (outcome.value for outcome in RangeOutcome),
    ),
    histogram(
        "range_duration_seconds",
        "From order to end, of ranges that were delivered.",
        lambda times: times.ranges,
    ),
    histograms(
        "first_byte_seconds",
        "From order to the first byte, by how urgent it was.",
        "class",
        lambda times: times.first_bytes,
        (urgency.label for urgency in Urgency),
        empty=NO_TRANSFERS,
    ),
)
