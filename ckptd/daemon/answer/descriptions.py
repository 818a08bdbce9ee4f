"""Turns what the daemon knows into what the control socket says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckptd.config import Address
from ckptd.control.messages.checkpoints import CheckpointRow, PublishProgress
from ckptd.control.messages.daemon_status import ListenAddresses, RootRow, Status
from ckptd.control.messages.peers import BadBlockRow, PeerRow, PeerView
from ckptd.control.messages.recoveries import RecoveryView, SourceRow, TuningRow
from ckptd.control.messages.recovery_results import RecoveryResult, SourceShare
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.core.report.views import PeerSnapshot, RecoverySnapshot, SourceSnapshot, SourceTuning
from ckptd.daemon.host.root_watch import RootState
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.model.words import (
    Bottleneck,
    Location,
    PeerState,
    Result,
    SourceState,
    Stage,
)
from ckptd.store.files.roots import Roots
from ckptd.store.published.catalog import Catalog, HeldVersion
from ckptd.store.published.publishing import HashingProgress
from ckptd.store.records.ended import EndedRecovery


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What the daemon says of itself."""

    node: NodeId
    ckptd_version: str
    epoch: Epoch
    started_at_s: float
    uptime_s: float
    listen: ListenAddresses
    event_loop_lag_s: float


def status(
    facts: DaemonFacts,
    active: Sequence[RecoveryView],
    catalog: Catalog,
    peering: Peering,
    roots: Sequence[RootState],
) -> Status:
    """Return the daemon at this moment."""
    others = [peer for peer in peering.peers() if peer.state is not PeerState.SELF]
    return Status(
        node=facts.node,
        ckptd_version=facts.ckptd_version,
        epoch=facts.epoch,
        started_at_s=facts.started_at_s,
        uptime_s=facts.uptime_s,
        listen=facts.listen,
        roots=tuple(
            RootRow(
                name=root.name, path=root.path, free_bytes=root.free_bytes, problem=root.obstacle
            )
            for root in roots
        ),
        checkpoints=sum(1 for holding in catalog.holdings() if holding.is_complete),
        peers=len(others),
        peers_reachable=sum(1 for peer in others if peer.state is PeerState.LIVE),
        recoveries=tuple(active),
        event_loop_lag_s=facts.event_loop_lag_s,
    )


def checkpoints(
    node: NodeId, catalog: Catalog, peering: Peering, roots: Roots
) -> list[CheckpointRow]:
    """Return what this node and its peers hold, by name, newest version first."""
    offers: dict[tuple[CheckpointName, Version, Digest], list[tuple[NodeId, Holding]]] = (
        defaultdict(list)
    )
    here: dict[Digest, HeldVersion] = {}
    for held in catalog.versions():
        here[held.holding.digest] = held
        offers[_key(held.holding)] += [] if held.is_stale else [(node, held.holding)]
    for peer in peering.peers():
        if peer.holdings is not None:
            for holding in peer.holdings.holdings:
                offers[_key(holding)].append((peer.holdings.node, holding))
    return [
        _checkpoint_row(key, offers[key], here.get(key[2]), node, roots)
        for key in sorted(offers, key=lambda key: (key[0], -key[1], key[2]))
    ]


def peers(peering: Peering, sources: Iterable[SourceSnapshot]) -> list[PeerRow]:
    """Return the known peers, by address."""
    rates = {source.node: source.rate_bytes_per_s for source in sources}
    rows = []
    for peer in peering.peers():
        holdings = peer.holdings
        rows.append(
            PeerRow(
                node=holdings.node if holdings else None,
                address=peer.name,
                state=PeerState.UNREACHABLE if peer.state is PeerState.UNKNOWN else peer.state,
                epoch=holdings.epoch if holdings else None,
                versions=len(holdings.holdings) if holdings else 0,
                rate_bytes_per_s=rates.get(holdings.node, 0) if holdings else 0,
                last_error=peer.last_error,
            )
        )
    return rows


def peer(
    snapshot: PeerSnapshot, address: tuple[str, int] | None, *, wall_clock_ahead_s: float
) -> PeerView:
    """Return everything that is known of a peer.

    Args:
        snapshot: What the scheduler knows.
        address: Where it answers.
        wall_clock_ahead_s: Unix time less the scheduler's.
    """
    source, until_ns = snapshot.source, snapshot.quarantined_until_ns

    def unix_s(at_ns: int) -> float:
        return round(at_ns / SECOND + wall_clock_ahead_s, 3)

    return PeerView(
        node=source.node,
        address=None if address is None else str(Address(*address)),
        state=source.state,
        epoch=source.epoch,
        versions=len(snapshot.holdings),
        versions_complete=sum(holding.is_complete for holding in snapshot.holdings),
        rate_bytes_per_s=source.rate_bytes_per_s or None,
        latency_s=None if snapshot.latency_ns is None else snapshot.latency_ns / SECOND,
        trust=source.trust,
        failures=snapshot.failures,
        quarantines=snapshot.quarantines,
        quarantined_until_s=None if until_ns is None else unix_s(until_ns),
        bad_blocks=snapshot.bad_block_count,
        evidence=tuple(
            BadBlockRow(
                at_s=unix_s(bad.at_ns),
                checkpoint=bad.checkpoint,
                version=bad.version,
                unit=bad.unit,
                block=bad.block,
                recovery=bad.recovery,
                answer=bad.answer,
            )
            for bad in reversed(snapshot.bad_blocks)
        ),
    )


def recovery(
    snapshot: RecoverySnapshot,
    opened: OpenRecovery,
    *,
    elapsed_s: float,
    bottleneck: Bottleneck | None,
) -> RecoveryView:
    """Return a recovery that has not ended."""
    return RecoveryView(
        recovery=snapshot.recovery,
        checkpoint=snapshot.checkpoint,
        version=snapshot.version,
        digest=snapshot.digest,
        target=opened.target_path,
        stage=snapshot.stage,
        is_paused=snapshot.is_paused,
        is_background=opened.record.is_background,
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
                state=row.source.state,
                bytes=row.verified_bytes,
                rate_bytes_per_s=row.source.rate_bytes_per_s,
                in_flight_bytes=row.source.in_flight_bytes,
                tuning=_tuning(row.tuning),
            )
            for row in snapshot.sources
        ),
        started_at_s=opened.record.started_at_s,
        elapsed_s=round(elapsed_s, 3),
        bottleneck=None if bottleneck is None else bottleneck.value,
        lanes=snapshot.lanes,
        transfers=snapshot.transfers,
        hedges=snapshot.hedges,
        hedged_bytes=snapshot.hedged_bytes,
        hedge_budget_bytes=snapshot.hedge_budget_bytes,
        wasted={reason.value: size for reason, size in snapshot.wasted_bytes.items()},
    )


def local_load(opened: OpenRecovery, *, shaper_share: float, loop_lag_ns: int) -> LocalLoad:
    """Return what the lanes of a recovery do with their time."""
    if opened.staging is None:
        return LocalLoad(shaper_share=shaper_share, loop_lag_ns=loop_lag_ns)
    disk_share, cpu_share = opened.staging.lane_times.shares()
    is_disk_awaited = opened.staging.held.waiting > 0
    return LocalLoad(disk_share, cpu_share, is_disk_awaited, shaper_share, loop_lag_ns)


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


def result(ended: EndedRecovery) -> RecoveryResult:
    """Return how a recovery ended."""
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
    )


def ended(record: EndedRecovery) -> RecoveryView:
    """Return a recovery that has ended."""
    is_complete = record.result is Result.COMPLETE
    here = record.total_bytes if is_complete else 0
    return RecoveryView(
        recovery=record.recovery,
        checkpoint=record.checkpoint,
        version=record.version,
        digest=record.digest,
        target=record.target,
        stage=Stage(record.result),
        is_paused=False,
        units_total=0,
        units_done=0,
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
                state=SourceState.IDLE,
                bytes=share.verified_bytes,
                rate_bytes_per_s=0,
                in_flight_bytes=0,
            )
            for share in record.sources
        ),
        started_at_s=0.0,
        elapsed_s=record.duration_s,
        wasted=record.wasted_bytes_by_reason,
    )


def publish_progress(progress: HashingProgress) -> PublishProgress:
    """Return how far hashing is."""
    return PublishProgress(
        files_done=progress.files_done,
        files_total=progress.files_total,
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_total,
    )


def _key(holding: Holding) -> tuple[CheckpointName, Version, Digest]:
    return (holding.checkpoint, holding.version, holding.digest)


def _checkpoint_row(
    key: tuple[CheckpointName, Version, Digest],
    offers: Sequence[tuple[NodeId, Holding]],
    held: HeldVersion | None,
    node: NodeId,
    roots: Roots,
) -> CheckpointRow:
    whole = sorted(owner for owner, holding in offers if holding.is_complete)
    reachable = BlockSet()
    for _, holding in offers:
        reachable |= holding.blocks
    facts = held.holding if held else offers[0][1]
    return CheckpointRow(
        checkpoint=key[0],
        version=key[1],
        digest=key[2],
        size_bytes=facts.size_bytes,
        held=Location.HERE if node in whole else Location.PEERS,
        is_complete=len(reachable) == facts.block_count,
        is_stale=held is not None and held.is_stale,
        nodes=tuple(whole),
        directory=roots[held.root].absolute(held.directory) if held else None,
    )
