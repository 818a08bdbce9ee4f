"""The stages of a recovery, from the request to the rename.

    SEEKING → DESCRIBING → PREPARING → TRANSFERRING → PLACING → complete, chosen, partial
       └──────────┴────────────┴────────────┴────────────┴────→ DISCARDING → failed, cancelled

A handler notes what happened; :func:`advance` then does for each recovery whatever its stage
allows now. So it does not matter in which order facts arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, assert_never

from ckptd.core.effects import CommitBlocks, PlaceVersion
from ckptd.core.events import (
    BlocksCommitted,
    BlocksDurable,
    CommitFailed,
    PlacementFailed,
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryRequested,
    RecoveryResumed,
    Refusal,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)
from ckptd.core.explain.narration import report_resumed
from ckptd.core.explain.prediction import needs_of, predict, supplies_of
from ckptd.core.peers.blame import recall
from ckptd.core.peers.claims import count_sources
from ckptd.core.ranges.lanes import reset_lane_alarms
from ckptd.core.ranges.needing import wake_all
from ckptd.core.ranges.own_disks import note_nearby
from ckptd.core.ranges.phases import settle_phase
from ckptd.core.stages.choosing_again import (
    choose_again,
    explain_rollback_to_others,
    has_alternative,
    is_beyond_completion,
)
from ckptd.core.stages.ending import (
    close_lanes,
    discard_when_quiet,
    end,
    fail,
    is_out_of_patience,
    retry_or_fail,
    wind_up,
)
from ckptd.core.stages.manifest_search import ask, describe
from ckptd.core.stages.milestones import note_milestones, note_placed
from ckptd.core.stages.placing_phases import are_phases_left, place_phase
from ckptd.core.stages.restaging import (
    prepare_again,
    restage_when_quiet,
    take_stock,
    widen,
)
from ckptd.core.stages.seeking import seek
from ckptd.core.stages.unknown import why_not_without
from ckptd.core.state.deadlines import commit_age_ns, recovery_deadline
from ckptd.core.state.eligibility import holders
from ckptd.core.state.recovery import Ending, Recovery
from ckptd.core.state.step import NodeHandler, RecoveryHandler, Step
from ckptd.limits import MS
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import PathId
from ckptd.model.words import FailureCause, LocalOrder, Result, Stage

_HELD_UP_MIN_NS = 20 * MS
"""A disk that holds all lanes up for less changes nothing: a hedge waits ten times as long. To
look at every lane after each commit is most of what a range would cost."""


def on_recovery_requested(step: Step, event: RecoveryRequested) -> None:
    """Take a new recovery in; one that was interrupted goes on with the version chosen then."""
    state = step.state
    assert event.recovery not in state.recoveries, f"{event.recovery} was requested twice"
    recovery = Recovery(event, state.next_sequence, started_ns=step.now)
    recovery.swarm.own_place = step.rng.random()
    recovery.placing.has_begun = event.has_placed
    state.next_sequence += 1
    state.recoveries[recovery.id] = recovery
    if event.digest is not None:
        assert event.version is not None, f"{event.recovery} goes on without its version"
        recovery.version, recovery.digest = event.version, event.digest
        recovery.phasing.earlier = dict(event.reached)
        recovery.move(Stage.DESCRIBING)
        report_resumed(step, recovery, event.version)
        if event.job is None:
            ask(step, recovery, None)


def on_paused(step: Step, recovery: Recovery, event: RecoveryPaused) -> None:
    """Stand still at once: what is verified stays, what is on its way is cut off."""
    assert event.recovery == recovery.id
    recovery.is_paused = True
    close_lanes(step, recovery)


def on_resumed(step: Step, recovery: Recovery, event: RecoveryResumed) -> None:
    """Go on where it stood still."""
    assert event.recovery == recovery.id
    recovery.is_paused = False
    step.note_room_everywhere()


def on_cancelled(step: Step, recovery: Recovery, event: RecoveryCancelled) -> None:
    """Give a recovery up, unless it is so far that it will be complete in a moment."""
    if recovery.local.pending_order is not LocalOrder.PLACEMENT:
        wind_up(step, recovery, Ending(Result.CANCELLED))


def on_staging_prepared(step: Step, recovery: Recovery, event: StagingPrepared) -> None:
    """Start transferring what is not here yet."""
    recovery.local.pending_order = None
    if recovery.stage is not Stage.PREPARING:
        return
    take_stock(recovery, event)
    wake_all(step, recovery)
    note_nearby(step.state, recovery, event.nearby)
    _check_own(recovery, event.verified | event.nearby)
    recovery.local.worked()
    recovery.move(Stage.TRANSFERRING)
    recall(step, recovery)
    count_sources(step)
    step.note_room_everywhere()
    note_milestones(step, recovery)
    _predict(step, recovery, event.factors)


def _check_own(recovery: Recovery, verified: BlockSet) -> None:
    """Count on this node's own holding no more if the disk does not bear it out."""
    own = (held.blocks for held in recovery.own if held.digest == recovery.digest)
    if not union(own).issubset(verified):
        recovery.search.own_missed.add(recovery.chosen_digest)


def on_order_refused(
    step: Step, recovery: Recovery, event: StagingRefused | PlacementFailed
) -> None:
    """Deal with staging or placing that did not work."""
    recovery.local.pending_order = None
    is_in_the_way = isinstance(event, PlacementFailed) and event.is_in_the_way
    recovery.placing.obstacle = event.refusal.message if is_in_the_way else ""
    if event.refusal.is_contradiction and recovery.stage in {Stage.PREPARING, Stage.PLACING}:
        _refuse_content(step, recovery, event.refusal)
    elif recovery.stage is Stage.PREPARING and not _is_worth_waiting(recovery, event.refusal):
        # Nothing has travelled yet: say so at once rather than wait for room that may never come.
        fail(step, recovery, FailureCause.STORE, event.refusal.message)
    else:
        retry_or_fail(step, recovery, event.refusal)


def _is_worth_waiting(recovery: Recovery, refusal: Refusal) -> bool:
    """Return whether staging is prepared again later: a shortage passes, and what is here stays."""
    has_staged = recovery.is_begun or recovery.local.staging_losses > 0
    return refusal.is_shortage or (refusal.is_retryable and has_staged)


def _refuse_content(step: Step, recovery: Recovery, refusal: Refusal) -> None:
    """Give up on a content whose manifest contradicts itself; take another one if there is."""
    step.state.note_refused(recovery.content.digest, refusal.message)
    if has_alternative(step, recovery) and not recovery.placing.has_begun:
        choose_again(step, recovery, why=refusal.message)
    else:
        fail(step, recovery, FailureCause.VERIFICATION, refusal.message)


def on_blocks_durable(step: Step, recovery: Recovery, event: BlocksDurable) -> None:
    """Take note that a commit waits for the state directory from now on, not for the root."""
    if recovery.local.pending_order is LocalOrder.COMMIT:
        recovery.commit.durable_ns = step.now


def on_blocks_committed(step: Step, recovery: Recovery, event: BlocksCommitted) -> None:
    """Take blocks into the books as durable."""
    recovery.local.pending_order = None
    new = recovery.commit.committing
    recovery.coverage.committed |= new
    recovery.commit.committing = BlockSet()
    recovery.local.worked()
    _make_up_for_disk(step, recovery)
    note_milestones(step, recovery, new)


def _make_up_for_disk(step: Step, recovery: Recovery) -> None:
    """Give lanes back the time in which none at all delivered: it was the disk's."""
    held_up_ns = step.now - recovery.commit.started_ns
    if held_up_ns >= _HELD_UP_MIN_NS:
        held_up_ns = min(held_up_ns, step.now - recovery.work.delivered_ns)
    if held_up_ns >= _HELD_UP_MIN_NS:
        for lane in recovery.work.lanes.values():
            if lane.transfers:
                lane.heard_ns = min(lane.heard_ns + held_up_ns, step.now)
    if held_up_ns >= _HELD_UP_MIN_NS or recovery.work.is_held_up:
        reset_lane_alarms(step, recovery)


def on_commit_failed(step: Step, recovery: Recovery, event: CommitFailed) -> None:
    """Give up: after a failed sync nobody knows what is on the disk. Of lost files one does.

    Where there was no room, what the journal has is good and the rest is fetched again. What was
    not tried at all is tried later.

    Source: Rebello et al., *Can Applications Recover from fsync Failures?* (ATC 2020).
    """
    recovery.local.pending_order = None
    recovery.commit.blocks |= recovery.commit.committing
    recovery.commit.committing = BlockSet()
    if event.may_repeat and event.refusal.is_retryable:
        recovery.commit.is_held_up = True
        close_lanes(step, recovery)  # soon they would wait for it, and look silent
        retry_or_fail(step, recovery, event.refusal)
    elif event.refusal.is_staging_lost:
        retry_or_fail(step, recovery, event.refusal)
    elif event.refusal.is_retryable:
        lost = replace(event.refusal, is_retryable=False, is_staging_lost=True)
        retry_or_fail(step, recovery, lost)
    else:
        fail(step, recovery, FailureCause.STORE, event.refusal.message)


def on_version_placed(step: Step, recovery: Recovery, event: VersionPlaced) -> None:
    """End in success: complete without optional units at most, else in part."""
    recovery.local.pending_order = None
    note_placed(step, recovery)
    if recovery.lacks_required:
        result = Result.PARTIAL
    else:
        result = Result.CHOSEN if recovery.is_in_part else Result.COMPLETE
    end(step, recovery, Ending(result))


def advance(step: Step) -> None:
    """Let every recovery do what its stage allows now."""
    for name, recovery in list(step.state.recoveries.items()):
        for refusal in recovery.local.refusals:
            retry_or_fail(step, recovery, refusal)
        recovery.local.refusals.clear()
        if recovery.local.retry_at_ns is not None and recovery.local.retry_at_ns <= step.now:
            recovery.local.retry_at_ns = None
            recovery.commit.is_held_up = False
            step.note_room_everywhere()
        if recovery.placing.retry_at_ns is not None and recovery.placing.retry_at_ns <= step.now:
            recovery.placing.retry_at_ns = None
        _advance_in_stage(step, recovery)
        if recovery.ending is not None:
            discard_when_quiet(step, recovery)
        step.state.recovery_alarms.set(name, recovery_deadline(recovery, step.options))


def _advance_in_stage(step: Step, recovery: Recovery) -> None:
    match recovery.stage:
        case Stage.TRANSFERRING | Stage.PLACING if recovery.local.is_staging_lost:
            restage_when_quiet(step, recovery)
        case Stage.SEEKING | Stage.DESCRIBING if recovery.request.job is not None:
            pass
        case Stage.TRANSFERRING if recovery.joining.is_giving_way:
            pass
        case Stage.TRANSFERRING:  # where nearly all events fall
            widen(step, recovery)
            _transfer(step, recovery)
        case Stage.SEEKING:
            seek(step, recovery)
        case Stage.DESCRIBING:
            if describe(step, recovery):
                seek(step, recovery)
        case Stage.PREPARING:
            prepare_again(step, recovery)
        case Stage.DISCARDING:
            pass
        case Stage.PLACING:
            _place(step, recovery)
        case Stage.COMPLETE | Stage.CHOSEN | Stage.PARTIAL | Stage.FAILED | Stage.CANCELLED:
            raise AssertionError(f"{recovery.id} has ended")
        case unreachable:
            assert_never(unreachable)


def _transfer(step: Step, recovery: Recovery) -> None:
    """Commit what has come together; go on to placing when nothing is left to come."""
    if recovery.phasing.has_several:
        settle_phase(step, recovery)
        place_phase(step, recovery)
    if recovery.work.transfer_count:
        recovery.starved_since_ns = None
        if recovery.commit.blocks and recovery.local.pending_order is None:
            _commit(step, recovery, at_once=False)
        return
    is_starved = (
        step.state.is_settled
        and bool(recovery.to_order)
        and not recovery.is_paused
        and not any(holders(recovery, step.state.sources(), recovery.to_order))
    )
    is_given_up = is_out_of_patience(
        step,
        recovery,
        is_starved=is_starved,
        at_most_ns=None if recovery.lacks_required else step.options.patience.optional_ns,
    )
    if _gives_way(step, recovery, is_given_up=is_given_up):
        return
    missing = recovery.coverage.unclaimed if is_given_up else BlockSet()
    if missing and (obstacle := why_not_without(recovery, missing)):
        fail(step, recovery, *obstacle)
        return
    is_all_here = recovery.coverage.unclaimed == missing and not recovery.coverage.widened
    if recovery.local.pending_order is not None:
        return
    if recovery.commit.blocks:
        _commit(step, recovery, at_once=is_all_here)
    elif is_all_here and are_phases_left(step, recovery):
        return
    elif is_all_here and recovery.joining.is_settled_at(step.now):
        recovery.move(Stage.PLACING)
        _place(step, recovery)


def _gives_way(step: Step, recovery: Recovery, *, is_given_up: bool) -> bool:
    """Choose another content if nobody can complete this one, once what is here of it is durable.

    Returns:
        Whether nothing else is to be done about this one.
    """
    is_unbegun = not recovery.is_begun and not recovery.is_paused
    is_due = is_given_up or (is_unbegun and is_beyond_completion(step, recovery))
    is_bound = recovery.request.job is not None or recovery.placing.has_begun
    if not is_due or not recovery.lacks_required or is_bound:
        return False
    if refusal := explain_rollback_to_others(step, recovery):
        fail(step, recovery, FailureCause.VERIFICATION, refusal)
        return True
    if not has_alternative(step, recovery):
        return False
    if recovery.local.pending_order is not None:
        return True
    if recovery.commit.blocks:
        _commit(step, recovery, at_once=True)
        return True
    choose_again(step, recovery)
    seek(step, recovery)
    return True


def _commit(step: Step, recovery: Recovery, *, at_once: bool) -> None:
    """Order a commit if enough has come together, or waited long enough, or is waited for."""
    if recovery.commit.is_held_up:
        return
    since_ns = recovery.commit.since_ns
    is_old = since_ns is None or step.now - since_ns >= commit_age_ns(recovery, step.options)
    is_due = at_once or recovery.commit.is_urgent or is_old
    if is_due or recovery.commit.size_bytes >= step.options.commits.bytes_due:
        blocks = recovery.commit.committing = recovery.commit.blocks
        recovery.commit.blocks = BlockSet()
        recovery.commit.size_bytes = 0
        recovery.commit.is_urgent = False
        recovery.commit.since_ns = None
        recovery.commit.started_ns = step.now
        recovery.commit.durable_ns = None
        recovery.local.pending_order = LocalOrder.COMMIT
        step.order(CommitBlocks(recovery.id, blocks))


def _place(step: Step, recovery: Recovery) -> None:
    """Order the last step, unless it was ordered or is to be tried again later."""
    if recovery.local.pending_order is None and recovery.local.retry_at_ns is None:
        recovery.local.pending_order = LocalOrder.PLACEMENT
        close_lanes(step, recovery)
        unchosen = recovery.left_out
        step.order(PlaceVersion(recovery.id, recovery.coverage.unclaimed | unchosen, unchosen))


def _predict(step: Step, recovery: Recovery, factors: Mapping[PathId, float]) -> None:
    """Say when a recovery will be how far, to be held against what comes of it.

    On demand nobody knows what will be read.

    Args:
        step: The step.
        recovery: Which.
        factors: How many times as fast as they were seen last sources will be.
    """
    if recovery.request.is_on_demand:
        return
    needs = needs_of(
        recovery.content.space, recovery.content.class_ends, recovery.coverage.unclaimed
    )
    supplies = supplies_of(step.state, recovery.content.digest, now=step.now)
    supplies = [supply.times(factors.get(supply.path, 1.0)) for supply in supplies]
    prediction = predict(needs, supplies)
    elapsed_ns = step.now - recovery.started_ns
    if prediction.critical_ns is not None:
        recovery.tally.predicted_critical_ns = elapsed_ns + prediction.critical_ns
    if prediction.complete_ns is not None:
        settled_ns = recovery.joining.settles_ns - step.now
        recovery.tally.predicted_ns = elapsed_ns + max(prediction.complete_ns, settled_ns)


HANDLERS: Final = (
    NodeHandler(RecoveryRequested, on_recovery_requested),
    RecoveryHandler(RecoveryPaused, on_paused),
    RecoveryHandler(RecoveryResumed, on_resumed),
    RecoveryHandler(RecoveryCancelled, on_cancelled),
    RecoveryHandler(StagingPrepared, on_staging_prepared),
    RecoveryHandler(StagingRefused, on_order_refused),
    RecoveryHandler(BlocksDurable, on_blocks_durable),
    RecoveryHandler(BlocksCommitted, on_blocks_committed),
    RecoveryHandler(CommitFailed, on_commit_failed),
    RecoveryHandler(VersionPlaced, on_version_placed),
    RecoveryHandler(PlacementFailed, on_order_refused),
)
"""What is taken in here."""
