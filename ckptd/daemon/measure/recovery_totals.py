"""What recoveries have moved and how long they took: those that ended and those under way.

All of it is read off the scheduler's orders and views; the deciders count nothing for us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final

from ckptd.core.effects import EndRecovery
from ckptd.core.report.views import RecoverySnapshot
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId
from ckptd.model.words import Criticality, Result, Stage, WasteReason
from ckptd.observe.durations import NO_RECOVERIES, Durations
from ckptd.observe.metrics import (
    MetricRow,
    counter,
    counters,
    gauge,
    gauges,
    histogram,
    histograms,
)
from ckptd.store.records.ended import EndedRecovery

_UNIT_STATES: Final = ("done", "missing")
_MILESTONES: Final = ("first_unit", "first_phase", "critical", "usable", "complete")
"""Whatever phases are called: publishers choose their names."""


def milestone_seconds(ended: EndedRecovery) -> dict[str, float]:
    """Return how long it took until each milestone that a recovery reached.

    It is *usable* once the units of its first phase stand under their final names: until then
    whoever waits for it is down.
    """
    first = ended.phases[0] if ended.phases else None
    reached = {
        "first_unit": ended.first_unit_s,
        "first_phase": first.complete_s if first else None,
        "critical": ended.critical_s,
        "usable": first.placed_s if first else None,
        "complete": ended.complete_s,
    }
    return {name: after_s for name, after_s in reached.items() if after_s is not None}


@dataclass(slots=True)
class Totals:
    """Sums over recoveries that ended; those under way are added when somebody looks.

    Attributes:
        results: How many ended how.
        durations: How long the complete ones took.
        critical_durations: How long it took until the last critical unit was here.
        milestones: How long it took until each milestone, of all that reached it.
        resumed_bytes: What earlier runs had left.
        local_bytes: What else was on this node's disks already, or is zeros.
        reused_bytes: Those of them that were copied from elsewhere on this node.
        wasted_bytes: Received for nothing, by reason.
        bad_blocks: Blocks with a wrong digest.
        hedges: Ranges asked of a second source.
    """

    results: Counter[str] = field(default_factory=Counter)
    durations: Durations = NO_RECOVERIES
    critical_durations: Durations = NO_RECOVERIES
    milestones: dict[str, Durations] = field(default_factory=dict)
    resumed_bytes: int = 0
    local_bytes: int = 0
    reused_bytes: int = 0
    wasted_bytes: Counter[str] = field(default_factory=Counter)
    bad_blocks: int = 0
    hedges: int = 0

    def note_end(self, effect: EndRecovery, ended: EndedRecovery) -> None:
        """Add a recovery that ended."""
        self.results[ended.result.value] += 1
        if ended.result is Result.COMPLETE:
            self.durations = self.durations.plus(ended.duration_s)
        if ended.critical_s is not None:
            self.critical_durations = self.critical_durations.plus(ended.critical_s)
        for name, after_s in milestone_seconds(ended).items():
            known = self.milestones.get(name, NO_RECOVERIES)
            self.milestones[name] = known.plus(after_s)
        self.add(effect.final)

    def with_active(self, active: Iterable[RecoverySnapshot]) -> Totals:
        """Return the sums with recoveries under way added."""
        sums = replace(self, results=Counter(self.results), wasted_bytes=Counter(self.wasted_bytes))
        for recovery in active:
            sums.add(recovery)
        return sums

    def add(self, recovery: RecoverySnapshot) -> None:
        """Add what a recovery has moved so far."""
        self.resumed_bytes += recovery.resumed_bytes
        self.local_bytes += recovery.local_bytes
        self.reused_bytes += recovery.reused_bytes
        for reason, size_bytes in recovery.wasted_bytes.items():
            self.wasted_bytes[reason.value] += size_bytes
        self.bad_blocks += recovery.bad_blocks
        self.hedges += recovery.hedges


class StageTimes:
    """How long recoveries spend in each stage."""

    def __init__(self) -> None:
        self._spent_ns: Counter[Stage] = Counter()
        self._since: dict[RecoveryId, tuple[Stage, int]] = {}

    def note(
        self, current: Mapping[RecoveryId, Stage], *, now: int
    ) -> list[tuple[RecoveryId, Stage]]:
        """Take in how far every active recovery is; return those that moved on."""
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


@dataclass(frozen=True, slots=True)
class RecoveriesSeen:
    """All recoveries at one moment.

    Attributes:
        active: Those that have not ended, oldest first.
        totals: Sums over them and those that ended.
        stage_seconds: Time spent in each stage.
        bytes_by_class: Of active ones whose manifest is here, by whether they are verified.
        elapsed_ns: Since the oldest active one was asked for, also before a restart.
    """

    active: Sequence[RecoverySnapshot] = ()
    totals: Totals = field(default_factory=Totals)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    bytes_by_class: Mapping[tuple[bool, Criticality], int] = field(default_factory=dict)
    elapsed_ns: int = 0

    def eta_s(self) -> float | None:
        """Return when the last active one completes; ``None`` if that cannot be said."""
        etas = [recovery.eta_ns for recovery in self.active]
        known = [eta for eta in etas if eta is not None]
        return max(known, default=0) / SECOND if len(known) == len(etas) else None

    def units_by_state(self) -> dict[str, int]:
        """Return how many units of active ones are done, and how many are missing."""
        done = sum(recovery.units_done for recovery in self.active)
        return {"done": done, "missing": sum(each.units_total for each in self.active) - done}

    def bytes_by_state(self) -> dict[tuple[str, str], int]:
        """Return how many bytes of each class are done, and how many are missing."""
        return {
            ("done" if is_verified else "missing", criticality.label): size_bytes
            for (is_verified, criticality), size_bytes in self.bytes_by_class.items()
        }


RECOVERY_METRICS: Final[Sequence[MetricRow[RecoveriesSeen]]] = (
    gauge("recovery_active", "Recoveries that have not ended.", lambda seen: len(seen.active)),
    gauge(
        "recovery_elapsed_seconds",
        "Since the request of the oldest active recovery, also before a restart.",
        lambda seen: seen.elapsed_ns / SECOND,
    ),
    gauge(
        "recovery_eta_seconds",
        "Until the last active recovery completes; absent if that cannot be said.",
        RecoveriesSeen.eta_s,
    ),
    gauge(
        "recovery_remaining_bytes",
        "Missing bytes of the active recoveries.",
        lambda seen: sum(each.total_bytes - each.verified_bytes for each in seen.active),
    ),
    gauges(
        "recovery_units",
        "Units of the active recoveries.",
        ("state",),
        RecoveriesSeen.units_by_state,
        _UNIT_STATES,
    ),
    gauges(
        "recovery_bytes",
        "Bytes of the active recoveries, by what has come and how urgent it is.",
        ("state", "criticality"),
        RecoveriesSeen.bytes_by_state,
        product(_UNIT_STATES, (criticality.label for criticality in Criticality)),
    ),
    counters(
        "recoveries",
        "Recoveries that ended.",
        ("result",),
        lambda seen: seen.totals.results,
        (result.value for result in Result),
    ),
    histogram(
        "recovery_duration_seconds",
        "From request to end, of recoveries that completed.",
        lambda seen: seen.totals.durations,
    ),
    histogram(
        "recovery_critical_ready_seconds",
        "From request to the last critical unit, of recoveries that ended.",
        lambda seen: seen.totals.critical_durations,
    ),
    histograms(
        "recovery_milestone_seconds",
        "From request to what makes a recovery useful, of recoveries that ended.",
        "milestone",
        lambda seen: seen.totals.milestones,
        _MILESTONES,
        empty=NO_RECOVERIES,
    ),
    counters(
        "recovery_stage_seconds",
        "Time that recoveries spent in each stage.",
        ("stage",),
        lambda seen: seen.stage_seconds,
        (stage.value for stage in Stage if not stage.is_ended),
    ),
    counter(
        "resumed_bytes",
        "Bytes that an interrupted recovery did not fetch again.",
        lambda seen: seen.totals.resumed_bytes,
    ),
    counter(
        "local_bytes",
        "Bytes of recoveries that were on this node's disks already or are zeros, and not fetched.",
        lambda seen: seen.totals.local_bytes,
    ),
    counter(
        "reused_bytes",
        "Bytes of recoveries that were copied from another place or version on this node.",
        lambda seen: seen.totals.reused_bytes,
    ),
)
WASTE_METRICS: Final[Sequence[MetricRow[RecoveriesSeen]]] = (
    counters(
        "wasted_bytes",
        "Body bytes received for nothing.",
        ("reason",),
        lambda seen: seen.totals.wasted_bytes,
        (reason.value for reason in WasteReason),
    ),
    counters(
        "verify_failures",
        "Blocks received whose digest was wrong.",
        ("source_kind",),
        lambda seen: {"peer": seen.totals.bad_blocks},
        ("peer",),
    ),
    counter(
        "hedges",
        "Late critical ranges asked of a second source.",
        lambda seen: seen.totals.hedges,
    ),
)
