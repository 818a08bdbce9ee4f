"""Recoveries as the control socket shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from ckptd.control.messages.milestone_rows import PhaseRow, usable_after_s
from ckptd.control.messages.recovery_results import RecoveryResult, SourceShare
from ckptd.control.messages.rivals import RivalRow
from ckptd.control.messages.running_recoveries import RecoveryView, SourceRow, TuningRow
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.core.report.views import PhaseSnapshot, SourceTuning
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.recover.local_load import local_load
from ckptd.daemon.recover.recoveries import EndedStory, OpenRecovery
from ckptd.daemon.recover.recovering import Recovering
from ckptd.limits import SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Result, SourceState, Stage
from ckptd.store.records.ended import EndedPhase, EndedRecovery


class RecoveryViews:
    """Shows recoveries that have not ended.

    Args:
        recovering: All recoveries.
        limiting: Knows how long they wait for a limit.
        loop_lag_s: How late the event loop is.
        is_configured: Tells whether the daemon asked for a recovery itself, by ``[[recover]]``.
        is_for_copies: Tells whether what stands in a directory is a copy.
    """

    def __init__(
        self,
        recovering: Recovering,
        limiting: Limiting,
        loop_lag_s: Callable[[], float],
        is_configured: Callable[[str], bool],
        is_for_copies: Callable[[str], bool],
    ) -> None:
        self._scheduler = recovering.scheduler
        self._coded = recovering.coded
        self._now = recovering.runtime.now
        self._limiting = limiting
        self._loop_lag_s = loop_lag_s
        self._is_configured = is_configured
        self._is_for_copies = is_for_copies

    def of(self, opened: OpenRecovery) -> RecoveryView:
        """Return a recovery at this moment."""
        snapshot = self._scheduler.recovery(opened.id, now=self._now())
        assert snapshot is not None, f"{opened.id} is in the book and not in the scheduler"
        bottleneck = self._scheduler.bottleneck(opened.id, self._load(opened), now=self._now())
        elapsed_ns = self._now() - opened.since_ns
        before_ns = elapsed_ns - snapshot.elapsed_ns  # in earlier lives of the daemon
        phases = _phases(snapshot.phases, before_ns)
        choice = opened.choice
        level = choice.min_criticality if choice else None
        coding = self._coded.why_of_all(opened)
        return RecoveryView(
            recovery=snapshot.recovery,
            checkpoint=snapshot.checkpoint,
            version=snapshot.version,
            digest=snapshot.digest,
            target=opened.target_path,
            stage=snapshot.stage,
            is_paused=snapshot.is_paused,
            is_background=opened.record.is_background,
            patience_s=_seconds_of(opened.record.patience_ns),
            allow_partial=opened.record.allow_partial,
            place=opened.record.place.value,
            units_total=snapshot.units_total,
            units_done=snapshot.units_done,
            bytes_total=snapshot.total_bytes,
            bytes_verified=snapshot.verified_bytes,
            bytes_left=snapshot.total_bytes - snapshot.verified_bytes,
            rate_bytes_per_s=snapshot.rate_bytes_per_s,
            eta_s=None if snapshot.eta_ns is None else round(snapshot.eta_ns / SECOND, 1),
            waiting_for=snapshot.waiting_for,
            missing_blocks=snapshot.missing_blocks,
            missing_units=snapshot.missing_units,
            sources=tuple(
                SourceRow(
                    node=row.source.node,
                    path=row.source.path,
                    state=row.source.state,
                    bytes=row.verified_bytes,
                    rate_bytes_per_s=row.source.rate_bytes_per_s,
                    in_flight_bytes=row.source.in_flight_bytes,
                    tuning=_tuning(row.tuning),
                    coding=coding.get(row.source.path, ""),
                )
                for row in snapshot.sources
            ),
            started_at_s=opened.record.started_at_s,
            elapsed_s=round(elapsed_ns / SECOND, 3),
            bottleneck=None if bottleneck is None else bottleneck.value,
            lanes=snapshot.lanes,
            transfers=snapshot.transfers,
            hedges=snapshot.hedges,
            hedged_bytes=snapshot.hedged_bytes,
            hedge_budget_bytes=snapshot.hedge_budget_bytes,
            wasted={reason.value: size for reason, size in snapshot.wasted_bytes.items()},
            bytes_local=snapshot.local_bytes,
            bytes_reused=snapshot.reused_bytes,
            is_by_choice=choice is not None,
            units=choice.patterns if choice else (),
            min_criticality=level.label if level is not None else None,
            rest_follows=opened.record.rest_follows,
            is_on_demand=opened.record.is_on_demand,
            is_activating=opened.record.is_activating,
            first_unit_after_s=_moment(snapshot.first_unit_ns, before_ns),
            critical_after_s=_moment(snapshot.critical_ns, before_ns),
            usable_after_s=usable_after_s(phases),
            phases=phases,
            asked_by=self._who_asked(opened.id, opened.target_path),
        )

    def of_ended(self, record: EndedRecovery, story: EndedStory | None = None) -> RecoveryView:
        """Return a recovery that has ended, with how blocks came if its story is kept."""
        coding = {} if story is None else coding_of_ended(story, self._coded.why_off)
        view = view_of_ended(record, coding)
        asked_by = self._who_asked(record.recovery, record.target)
        return msgspec.structs.replace(view, asked_by=asked_by)

    def _who_asked(self, recovery: str, target: str) -> str:
        if self._is_for_copies(target):
            return "copies"
        return "configuration" if self._is_configured(recovery) else ""

    def _load(self, opened: OpenRecovery) -> LocalLoad:
        """Return what the lanes of a recovery do with their time."""
        loop_lag_ns = int(self._loop_lag_s() * SECOND)
        shaper_share = self._limiting.shaper_share(is_background=opened.record.is_background)
        return local_load(opened, shaper_share=shaper_share, loop_lag_ns=loop_lag_ns)


def _seconds_of(patience_ns: int | None) -> float | None:
    return None if patience_ns is None else patience_ns / SECOND


def _moment(time_ns: int | None, before_ns: int) -> float | None:
    return None if time_ns is None else round((before_ns + time_ns) / SECOND, 3)


def _phases(phases: Iterable[PhaseSnapshot], before_ns: int) -> tuple[PhaseRow, ...]:
    return tuple(
        PhaseRow(
            name=phase.name,
            units=phase.units_total,
            bytes_total=phase.total_bytes,
            bytes_left=phase.left_bytes,
            complete_after_s=_moment(phase.durable_ns, before_ns),
            placed_after_s=_moment(phase.placed_ns, before_ns),
        )
        for phase in phases
    )


def _ended_phases(ended: EndedRecovery) -> tuple[PhaseRow, ...]:
    return tuple(
        PhaseRow(
            name=phase.name,
            units=phase.unit_count,
            bytes_total=phase.total_bytes,
            bytes_left=phase.total_bytes if _is_gone(ended, phase) else phase.left_bytes,
            complete_after_s=phase.complete_s,
            placed_after_s=phase.placed_s,
        )
        for phase in ended.phases
    )


def _is_gone(ended: EndedRecovery, phase: EndedPhase) -> bool:
    """Return whether nothing is left of a phase, since what was staged of it went with the end."""
    if ended.result.is_success or ended.placed_bytes:
        return False
    return ended.result is Result.CANCELLED or phase.placed_s is None


def _tuning(tuning: SourceTuning) -> TuningRow:
    def seconds(time_ns: int) -> float:
        return round(time_ns / SECOND, 6)

    latency_ns, hedge_ns = tuning.latency_ns, tuning.hedge_after_ns
    return TuningRow(
        latency_s=None if latency_ns is None else seconds(latency_ns),
        gap_s=seconds(tuning.gap_ns),
        window_s=seconds(tuning.window_ns),
        window_bytes=tuning.window_bytes,
        range_bytes=tuning.range_bytes,
        silence_timeout_s=seconds(tuning.silence_timeout_ns),
        first_byte_timeout_s=seconds(tuning.first_byte_timeout_ns),
        hedge_after_s=None if hedge_ns is None else seconds(hedge_ns),
        back_off_s=seconds(tuning.back_off_ns),
        load_bytes=tuning.load_bytes,
        lanes=tuning.lanes,
        transfers=tuning.transfers,
    )


def result_of(ended: EndedRecovery) -> RecoveryResult:
    """Return how a recovery ended."""
    phases = _ended_phases(ended)
    return RecoveryResult(
        recovery=ended.recovery,
        checkpoint=ended.checkpoint,
        version=ended.version,
        digest=ended.digest,
        result=ended.result,
        is_degraded=ended.is_degraded,
        missing_units=ended.missing_units,
        cause=ended.cause,
        message=ended.message,
        target=ended.target,
        bytes_total=ended.total_bytes,
        bytes_received=ended.received_bytes,
        bytes_resumed=ended.resumed_bytes,
        bytes_local=ended.local_bytes,
        bytes_reused=ended.reused_bytes,
        was_here=ended.was_here,
        bytes_kept_warm=ended.kept_warm_bytes,
        bytes_wasted=ended.wasted_bytes,
        duration_s=ended.duration_s,
        time_to_critical_s=ended.critical_s,
        sources=tuple(
            SourceShare(node=share.node, bytes=share.verified_bytes) for share in ended.sources
        ),
        predicted_duration_s=ended.predicted_duration_s,
        predicted_critical_s=ended.predicted_critical_s,
        wasted=ended.wasted_bytes_by_reason,
        happenings=ended.happenings,
        rivals=tuple(
            RivalRow(
                digest=rival.digest,
                size_bytes=rival.size_bytes,
                nodes=rival.nodes,
                signers=rival.signers,
                is_trusted=rival.is_trusted,
                is_own=rival.is_own,
            )
            for rival in ended.rivals
        ),
        bytes_placed=ended.placed_bytes,
        followed_by=ended.followed_by,
        link=ended.link,
        link_problem=ended.link_problem,
        first_unit_after_s=ended.first_unit_s,
        critical_after_s=ended.critical_s,
        usable_after_s=usable_after_s(phases),
        complete_after_s=ended.complete_s,
        phases=phases,
    )


def coding_of_ended(story: EndedStory, why_off: str) -> dict[NodeId, str]:
    """Return of each node how it was asked for blocks in the end, on the first path that was used.

    Args:
        story: Why the recovery went as it did.
        why_off: Why no source is asked for coded blocks; empty: any may be.
    """
    found: dict[NodeId, str] = {}
    for peer in story.explanation.peers:
        how = (why_off if peer.verified_bytes else "") or story.coding.get(peer.path, "")
        if how:
            found.setdefault(peer.node, how)
    return found


def view_of_ended(record: EndedRecovery, coding: Mapping[NodeId, str] = {}) -> RecoveryView:
    """Return a recovery that has ended.

    Args:
        record: How it ended.
        coding: Of nodes how they were asked for blocks, as far as it is known.
    """
    here, phases = record.placed_bytes, _ended_phases(record)
    return RecoveryView(
        recovery=record.recovery,
        checkpoint=record.checkpoint,
        version=record.version,
        digest=record.digest,
        target=record.target,
        stage=Stage(record.result),
        is_paused=False,
        units_total=record.unit_count,
        units_done=record.verified_unit_count,
        bytes_total=record.total_bytes,
        bytes_verified=here,
        bytes_left=record.total_bytes - here,
        rate_bytes_per_s=0,
        eta_s=None,
        waiting_for="",
        missing_blocks=0,
        missing_units=record.missing_units,
        sources=tuple(
            SourceRow(
                node=share.node,
                path=share.node,
                state=SourceState.IDLE,
                bytes=share.verified_bytes,
                rate_bytes_per_s=0,
                in_flight_bytes=0,
                coding=coding.get(share.node, ""),
            )
            for share in record.sources
        ),
        started_at_s=record.started_at_s,
        elapsed_s=record.duration_s,
        wasted=record.wasted_bytes_by_reason,
        message=record.message,
        is_by_choice=record.result is Result.CHOSEN,
        followed_by=record.followed_by,
        first_unit_after_s=record.first_unit_s,
        critical_after_s=record.critical_s,
        usable_after_s=usable_after_s(phases),
        complete_after_s=record.complete_s,
        phases=phases,
    )
