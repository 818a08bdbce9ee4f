"""The stages of a recovery, from the request to the rename.

    SEEKING → DESCRIBING → PREPARING → TRANSFERRING → PLACING → complete
       └──────────┴────────────┴────────────┴────────────┴────→ DISCARDING → failed, cancelled

A handler notes what happened; :func:`advance` then does for each recovery whatever its stage
allows now. So it does not matter in which order facts arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ckptd.core.effects import ChooseVersion, CommitBlocks, PlaceVersion
from ckptd.core.events import (
    RecoveryPaused,
    RecoveryRequested,
    Refusal,
    StagingPrepared,
)
from ckptd.core.explain.narration import tell_choice, tell_critical, tell_resumed
from ckptd.core.explain.prediction import needs_of, predict, supplies_of
from ckptd.core.peers.claims import count_sources
from ckptd.core.ranges.lanes import rouse_lanes
from ckptd.core.stages.ending import (
    close_lanes,
    discard_when_quiet,
    end,
    fail,
    is_out_of_patience,
    stumble,
    wind_up,
)
from ckptd.core.stages.manifest_search import ask, describe
from ckptd.core.stages.restaging import restage_when_quiet, take_stock
from ckptd.core.stages.version_choice import choose_version, explain_choice, explain_rollback
from ckptd.core.state.deadlines import commit_age_ns, recovery_deadline
from ckptd.core.state.eligibility import holders
from ckptd.core.state.recovery import Ending, Recovery
from ckptd.core.state.step import Turn
from ckptd.limits import MS
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.words import FailureCause, LocalOrder, Result, Stage

_HELD_UP_MIN_NS = 20 * MS
"""A disk that holds all lanes up for less changes nothing: a hedge waits ten times as long. To
look at every lane after each commit is most of what a range would cost."""


def on_recovery_requested(turn: Turn, event: RecoveryRequested) -> None:
    """Take a new recovery in; one that was interrupted goes on with the version chosen then."""
    state = turn.state
    assert event.recovery not in state.recoveries, f"{event.recovery} was requested twice"
    recovery = Recovery(
        event, state.next_sequence, started_ns=turn.now, own_place=turn.rng.random()
    )
    state.next_sequence += 1
    state.recoveries[recovery.id] = recovery
    if event.digest is not None:
        assert event.version is not None, f"{event.recovery} goes on without its version"
        recovery.version, recovery.digest = event.version, event.digest
        recovery.move(Stage.DESCRIBING)
        tell_resumed(turn, recovery, event.version)
        ask(turn, recovery, None)


def on_paused(turn: Turn, recovery: Recovery, event: RecoveryPaused) -> None:
    """Stand still at once: what is verified stays, what is on its way is cut off."""
    assert event.recovery == recovery.id
    recovery.is_paused = True
    close_lanes(turn, recovery)


def on_cancelled(turn: Turn, recovery: Recovery) -> None:
    """Give a recovery up, unless it is so far that it will be complete in a moment."""
    if recovery.awaited is not LocalOrder.PLACEMENT:
        wind_up(turn, recovery, Ending(Result.CANCELLED))


def on_staging_prepared(turn: Turn, recovery: Recovery, event: StagingPrepared) -> None:
    """Start transferring what is not here yet."""
    recovery.awaited = None
    if recovery.stage is not Stage.PREPARING:
        return
    take_stock(recovery, event.verified)
    recovery.trouble = ""
    recovery.move(Stage.TRANSFERRING)
    count_sources(turn)
    turn.note_room_everywhere()
    _note_critical(turn, recovery)
    _predict(turn, recovery)


def on_order_refused(turn: Turn, recovery: Recovery, refusal: Refusal) -> None:
    """Deal with staging or placing that did not work."""
    recovery.awaited = None
    if recovery.stage is Stage.PREPARING:
        # Nothing has travelled yet: say so at once rather than wait for room that may never come.
        fail(turn, recovery, FailureCause.STORE, refusal.message)
    else:
        stumble(turn, recovery, refusal)


def on_blocks_committed(turn: Turn, recovery: Recovery) -> None:
    """Take blocks into the books as durable."""
    recovery.awaited = None
    recovery.committed |= recovery.committing
    recovery.committing = BlockSet()
    recovery.trouble = ""
    _make_up_for_disk(turn, recovery)
    _note_critical(turn, recovery)


def _make_up_for_disk(turn: Turn, recovery: Recovery) -> None:
    """Give lanes back the time in which none at all delivered: it was the disk's."""
    held_up_ns = turn.now - recovery.commit_started_ns
    if held_up_ns >= _HELD_UP_MIN_NS:
        held_up_ns = min(held_up_ns, turn.now - recovery.delivered_ns)
    if held_up_ns >= _HELD_UP_MIN_NS:
        for lane in recovery.lanes.values():
            if lane.transfers:
                lane.heard_ns = min(lane.heard_ns + held_up_ns, turn.now)
    if held_up_ns >= _HELD_UP_MIN_NS or recovery.is_held_up:
        rouse_lanes(turn, recovery)


def on_commit_failed(turn: Turn, recovery: Recovery, refusal: Refusal) -> None:
    """Give up: after a failed sync nobody knows what is on the disk. Of lost files one does.

    Source: Rebello et al., *Can Applications Recover from fsync Failures?* (ATC 2020).
    """
    recovery.awaited = None
    recovery.uncommitted |= recovery.committing
    recovery.committing = BlockSet()
    if refusal.is_staging_lost:
        stumble(turn, recovery, refusal)
    else:
        fail(turn, recovery, FailureCause.STORE, refusal.message)


def on_version_placed(turn: Turn, recovery: Recovery) -> None:
    """End in success."""
    recovery.awaited = None
    end(turn, recovery, Ending(Result.COMPLETE))


def advance(turn: Turn) -> None:
    """Let every recovery do what its stage allows now."""
    for name, recovery in list(turn.state.recoveries.items()):
        for refusal in recovery.refusals:
            stumble(turn, recovery, refusal)
        recovery.refusals.clear()
        if recovery.retry_at_ns is not None and recovery.retry_at_ns <= turn.now:
            recovery.retry_at_ns = None
            turn.note_room_everywhere()
        _advance_in_stage(turn, recovery)
        if recovery.ending is not None:
            discard_when_quiet(turn, recovery)
        turn.state.recovery_alarms.set(name, recovery_deadline(recovery, turn.options))


def _advance_in_stage(turn: Turn, recovery: Recovery) -> None:
    match recovery.stage:
        case Stage.TRANSFERRING | Stage.PLACING if recovery.is_staging_lost:
            restage_when_quiet(turn, recovery)
        case Stage.TRANSFERRING:  # where nearly all events fall
            _transfer(turn, recovery)
        case Stage.SEEKING:
            _seek(turn, recovery)
        case Stage.DESCRIBING:
            if describe(turn, recovery):
                _seek(turn, recovery)
        case Stage.PREPARING | Stage.DISCARDING:
            pass
        case Stage.PLACING:
            _place(turn, recovery)
        case Stage.COMPLETE | Stage.FAILED | Stage.CANCELLED:
            raise AssertionError(f"{recovery.id} has ended")
        case unreachable:
            assert_never(unreachable)


def _seek(turn: Turn, recovery: Recovery) -> None:
    """Choose a version as soon as there is something to choose from."""
    request = recovery.request
    if recovery.is_paused:
        recovery.starved_since_ns = None
        return
    if request.version is None and not turn.state.is_settled:
        return
    offers = [
        holding for holding in turn.state.live_holdings() if holding.digest not in recovery.unsigned
    ]
    choice = choose_version(offers, request.checkpoint, request.version, request.not_below)
    if choice is None:
        refusal = _refusal_of(recovery, offers) if turn.state.is_settled else ""
        if refusal:
            fail(turn, recovery, FailureCause.VERIFICATION, refusal)
        elif is_out_of_patience(turn, recovery, is_starved=turn.state.is_settled):
            message = f"nobody has {recovery.checkpoint}"
            fail(turn, recovery, FailureCause.CRITICAL_MISSING, message)
        return
    recovery.starved_since_ns = None
    recovery.version, recovery.digest = choice
    explained = explain_choice(turn.state.live_holdings(), request.checkpoint, request.version)
    tell_choice(turn, recovery, choice[0], explained)
    recovery.move(Stage.DESCRIBING)
    turn.order(ChooseVersion(recovery.id, request.checkpoint, *choice))
    describe(turn, recovery)


def _refusal_of(recovery: Recovery, offers: Sequence[Holding]) -> str:
    """Say which versions could be had and are not wanted: unsigned ones, and a rollback.

    Nobody waits for better ones: whoever offers these may be lying, and a person has to know.
    """
    request = recovery.request
    newest = choose_version(offers, request.checkpoint, request.version)
    rollback = explain_rollback(request.checkpoint, newest, request.not_below)
    return "; ".join(part for part in (recovery.signature_refusal, rollback) if part)


def _transfer(turn: Turn, recovery: Recovery) -> None:
    """Commit what has come together; go on to placing when nothing is left to come."""
    if recovery.in_flight:
        recovery.starved_since_ns = None
        if recovery.uncommitted and recovery.awaited is None:
            _commit(turn, recovery, at_once=False)
        return
    is_starved = (
        turn.state.is_settled
        and bool(recovery.unclaimed)
        and not recovery.is_paused
        and not any(holders(recovery, turn.state.peers.values(), recovery.unclaimed))
    )
    is_given_up = is_out_of_patience(turn, recovery, is_starved=is_starved)
    missing = recovery.unclaimed if is_given_up else BlockSet()
    if missing & recovery.critical:
        message = f"nobody has {len(missing & recovery.critical)} critical blocks"
        fail(turn, recovery, FailureCause.CRITICAL_MISSING, message)
        return
    is_all_here = recovery.unclaimed == missing
    if recovery.awaited is not None:
        return
    if recovery.uncommitted:
        _commit(turn, recovery, at_once=is_all_here)
    elif is_all_here:
        recovery.move(Stage.PLACING)
        _place(turn, recovery)


def _commit(turn: Turn, recovery: Recovery, *, at_once: bool) -> None:
    """Order a commit if enough has come together, or waited long enough, or is waited for."""
    since_ns = recovery.uncommitted_since_ns
    is_old = since_ns is None or turn.now - since_ns >= commit_age_ns(recovery, turn.options)
    is_due = at_once or recovery.is_awaited or is_old
    if is_due or recovery.uncommitted_bytes >= turn.options.commit_bytes:
        blocks = recovery.committing = recovery.uncommitted
        recovery.uncommitted = BlockSet()
        recovery.uncommitted_bytes = 0
        recovery.is_awaited = False
        recovery.uncommitted_since_ns = None
        recovery.commit_started_ns = turn.now
        recovery.awaited = LocalOrder.COMMIT
        turn.order(CommitBlocks(recovery.id, blocks))


def _place(turn: Turn, recovery: Recovery) -> None:
    """Order the last step, unless it was ordered or is to be tried again later."""
    if recovery.awaited is None and recovery.retry_at_ns is None:
        recovery.awaited = LocalOrder.PLACEMENT
        close_lanes(turn, recovery)
        turn.order(PlaceVersion(recovery.id, missing=recovery.unclaimed))


def _predict(turn: Turn, recovery: Recovery) -> None:
    """Say when a recovery will be how far, to be held against what comes of it."""
    assert recovery.digest is not None
    needs = needs_of(recovery.known_space(), recovery.class_ends, recovery.unclaimed)
    supplies = supplies_of(turn.state, recovery.digest, now=turn.now)
    prediction = predict(needs, supplies)
    elapsed_ns = turn.now - recovery.started_ns
    if prediction.critical_ns is not None:
        recovery.predicted_critical_ns = elapsed_ns + prediction.critical_ns
    if prediction.complete_ns is not None:
        recovery.predicted_ns = elapsed_ns + prediction.complete_ns


def _note_critical(turn: Turn, recovery: Recovery) -> None:
    """Note the moment at which the last critical block became durable."""
    if (
        recovery.critical_at_ns is None
        and recovery.critical
        and recovery.critical.issubset(recovery.committed)
    ):
        recovery.critical_at_ns = turn.now
        tell_critical(turn, recovery)
