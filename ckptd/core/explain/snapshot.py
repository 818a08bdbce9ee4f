"""Takes views of the scheduler's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from ckptd.core.explain.prediction import needs_of
from ckptd.core.explain.waiting import why_still
from ckptd.core.options import Options
from ckptd.core.report.views import (
    PeerSnapshot,
    PhaseSnapshot,
    RecoverySnapshot,
    RecoverySourceSnapshot,
    SourceSnapshot,
    SourceTuning,
)
from ckptd.core.state.deadlines import hedge_after_ns
from ckptd.core.state.eligibility import claimed
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import OWN_DISKS
from ckptd.model.milestones import CRITICAL, FIRST_UNIT, Milestone
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality, MilestoneKind, SourceState, Stage, StoryReason

MISSING_UNITS_SHOWN: Final = 20
"""How many names of units a view holds that nobody has."""


def view_sources(state: State, *, now: int) -> tuple[SourceSnapshot, ...]:
    """Return a view of every peer, by name."""
    active = {lane.source for lane in state.lanes.values() if lane.transfers}
    return tuple(
        _view_source(peer, is_active=path in active, now=now)
        for path, peer in sorted(state.peers.items())
    )


def view_peer(state: State, peer: Peer, *, now: int) -> PeerSnapshot:
    """Return everything that is known of one peer."""
    active = any(lane.transfers for lane in state.lanes.values() if lane.source == peer.path)
    link, standing, until_ns = peer.link, peer.standing, peer.standing.quarantined_until_ns
    return PeerSnapshot(
        source=_view_source(peer, is_active=active, now=now),
        latency_ns=link.latency_ns,
        learned=state.learned.of(peer.path, link, now=now),
        failures=link.failures,
        quarantines=standing.quarantines,
        quarantined_until_ns=until_ns if until_ns > now else None,
        holdings=tuple(peer.said),
        bad_block_count=standing.evidence.bad_block_count,
        bad_blocks=tuple(standing.evidence.last),
    )


def bytes_by_class(state: State) -> dict[tuple[bool, Criticality], int]:
    """Return bytes of all recoveries whose manifest is here, by whether they are verified."""
    sizes: Counter[tuple[bool, Criticality]] = Counter()
    for recovery in state.recoveries.values():
        content, verified = recovery.described, recovery.coverage.verified
        if content is None:
            continue
        missing = BlockSet.full(content.space.block_count) - verified - recovery.coverage.unchosen
        for is_verified, blocks in ((True, verified), (False, missing)):
            for need in needs_of(content.space, content.class_ends, blocks):
                assert need.criticality is not None
                sizes[is_verified, need.criticality] += need.size_bytes
    return dict(sizes)


def view_recovery(
    state: State, recovery: Recovery, options: Options, *, now: int
) -> RecoverySnapshot:
    """Return a view of one recovery.

    Args:
        state: What is known.
        recovery: Which recovery.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    space = None if recovery.described is None else recovery.described.space
    missing = missing_blocks(state, recovery)
    why = why_still(state, recovery, missing, now=now)
    unchosen = recovery.coverage.unchosen
    verified = recovery.coverage.verified - unchosen
    verified_bytes = space.set_bytes(verified) if space else 0
    total_bytes = recovery.wanted_bytes if space else 0
    rate = int(recovery.tally.rate.bytes_per_s) if recovery.work.transfer_count else 0
    left = total_bytes - verified_bytes
    reused_bytes = recovery.tally.source_bytes.get(OWN_DISKS, 0)
    return RecoverySnapshot(
        recovery=recovery.id,
        checkpoint=recovery.checkpoint,
        version=recovery.version,
        digest=recovery.digest,
        stage=recovery.stage,
        is_paused=recovery.is_paused,
        units_total=len(space.manifest.units) - space.whole_units(unchosen) if space else 0,
        units_done=space.units_within(verified) if space else 0,
        total_bytes=total_bytes,
        verified_bytes=verified_bytes,
        placed_bytes=_placed_bytes(recovery),
        is_committed=not recovery.commit.committing and not recovery.commit.blocks,
        resumed_bytes=recovery.tally.resumed_bytes,
        local_bytes=recovery.tally.local_bytes + reused_bytes,
        reused_bytes=reused_bytes,
        received_bytes=recovery.tally.received_bytes,
        wasted_bytes=dict(recovery.tally.waste.by_reason),
        bad_blocks=recovery.tally.bad_blocks,
        rate_bytes_per_s=rate,
        eta_ns=left * SECOND // rate if rate and space else None,
        elapsed_ns=now - recovery.started_ns,
        critical_ns=_reached_ns(recovery, CRITICAL),
        predicted_ns=recovery.tally.predicted_ns,
        predicted_critical_ns=recovery.tally.predicted_critical_ns,
        waiting_for="" if why is None else why[1],
        missing_blocks=len(missing),
        missing_units=unit_names(space, missing) if space else (),
        sources=_view_recovery_sources(state, recovery, options, now=now),
        lanes=len(recovery.work.lanes),
        transfers=recovery.work.transfer_count,
        hedges=recovery.duplicates.count,
        hedged_bytes=recovery.duplicates.hedged_bytes,
        hedge_budget_bytes=int(options.hedging.share * total_bytes),
        is_short=recovery.local.is_short,
        is_idle=why is not None and why[0] is StoryReason.ON_DEMAND,
        is_in_the_way=why is not None and why[0] is StoryReason.IN_THE_WAY,
        first_unit_ns=_reached_ns(recovery, FIRST_UNIT),
        phases=_view_phases(recovery),
    )


def _reached_ns(recovery: Recovery, milestone: Milestone) -> int | None:
    """Return how long it took until a milestone; ``None``: it is not reached."""
    at_ns = recovery.phasing.reached.get(milestone)
    return None if at_ns is None else at_ns - recovery.started_ns


def _view_phases(recovery: Recovery) -> tuple[PhaseSnapshot, ...]:
    if recovery.described is None:
        return ()
    space = recovery.described.space
    views: list[PhaseSnapshot] = []
    for phase in space.phases:
        if units := recovery.wanted_units(phase):
            wanted = recovery.wanted_of_phase(phase)
            views.append(
                PhaseSnapshot(
                    phase.phase,
                    phase.name,
                    units,
                    space.set_bytes(wanted),
                    space.set_bytes(wanted - recovery.coverage.verified),
                    _reached_ns(recovery, Milestone(MilestoneKind.PHASE, phase.phase)),
                    _reached_ns(recovery, Milestone(MilestoneKind.PLACED, phase.phase)),
                )
            )
    return tuple(views)


def _placed_bytes(recovery: Recovery) -> int:
    if recovery.stage is not Stage.PLACING:
        return 0
    space = recovery.content.space
    missing = recovery.coverage.unclaimed | recovery.left_out
    return space.set_bytes(space.of_whole_units(missing) - recovery.coverage.unchosen)


def _view_source(peer: Peer, *, is_active: bool, now: int) -> SourceSnapshot:
    if not peer.is_live:
        state = SourceState.LOST
    elif peer.standing.quarantined_until_ns > now:
        state = SourceState.DISTRUSTED
    elif peer.usable_at_ns > now:
        state = SourceState.BACKING_OFF
    else:
        state = SourceState.ACTIVE if is_active else SourceState.IDLE
    return SourceSnapshot(
        peer.node,
        peer.epoch,
        state,
        int(peer.link.rate.bytes_per_s),
        peer.link.outstanding_bytes,
        peer.standing.trust,
        len(peer.holdings) - len(peer.joined),
        peer.path,
        peer.standing.quarantines,
        peer.link.trouble_at(now),
    )


def _view_recovery_sources(
    state: State, recovery: Recovery, options: Options, *, now: int
) -> tuple[RecoverySourceSnapshot, ...]:
    views: list[RecoverySourceSnapshot] = []
    for path, peer in sorted(state.peers.items()):
        brought = recovery.tally.source_bytes.get(path, 0)
        if brought or recovery.digest in peer.holdings:
            bundle = recovery.work.bundles.get(path)
            lanes = [] if bundle is None else bundle.lanes
            is_active = any(lane.transfers for lane in lanes)
            tuning = _view_tuning(state, peer, lanes, options, now=now)
            source = _view_source(peer, is_active=is_active, now=now)
            views.append(RecoverySourceSnapshot(source, brought, tuning))
    return tuple(views)


def _view_tuning(
    state: State, peer: Peer, lanes: Sequence[Lane], options: Options, *, now: int
) -> SourceTuning:
    link = peer.link
    hedges = (hedge_after_ns(state, lane, options) for lane in lanes)
    return SourceTuning(
        latency_ns=link.latency_ns,
        gap_ns=link.gap_ns,
        window_ns=options.ranges.window_ns,
        window_bytes=link.window_bytes(options),
        range_bytes=link.range_bytes(options),
        silence_timeout_ns=link.silence_timeout_ns(options),
        first_byte_timeout_ns=link.first_byte_timeout_ns(options),
        hedge_after_ns=min((after for after in hedges if after is not None), default=None),
        back_off_ns=max(peer.usable_at_ns - now, 0),
        load_bytes=link.load_bytes,
        lanes=len(lanes),
        transfers=sum(len(lane.transfers) for lane in lanes),
    )


def missing_blocks(state: State, recovery: Recovery) -> BlockSet:
    """Return the blocks that are needed and that no live peer has and sent rightly."""
    missing = recovery.coverage.unclaimed
    if recovery.stage is Stage.PLACING:
        return missing
    for peer in state.sources():
        if not missing:
            break
        if peer.is_live:
            missing = missing - claimed(recovery, peer)
    return missing


def unit_names(space: AddressSpace, blocks: BlockSet) -> tuple[str, ...]:
    """Return the paths of the first units that some blocks belong to."""
    names: list[str] = []
    run = blocks.first_run()
    while run is not None and len(names) < MISSING_UNITS_SHOWN:
        unit = space.unit_of(run.start)
        names.append(space.manifest.units[unit].path)
        run = blocks.first_run(space.unit_run(unit)[1])
    return tuple(names)
