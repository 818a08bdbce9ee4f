"""How recoveries come to an end, and how they stumble without ending."""

from __future__ import annotations

from ckptd.core.effects import DiscardStaging, EndRecovery
from ckptd.core.events import Refusal
from ckptd.core.explain.narration import tell_stumble
from ckptd.core.explain.peer_parts import explain
from ckptd.core.explain.snapshot import view_recovery
from ckptd.core.state.recovery import Ending, Recovery
from ckptd.core.state.step import Turn
from ckptd.model.words import CloseReason, FailureCause, LocalOrder, Result, Stage


def stumble(turn: Turn, recovery: Recovery, refusal: Refusal) -> None:
    """Deal with an order that this node's disk refused.

    What may work later is tried again after a pause, what was staged and is lost is fetched again;
    anything else ends the recovery.
    """
    if recovery.ending is not None or recovery.is_staging_lost:
        return
    tell_stumble(turn, recovery, refusal)
    if refusal.is_staging_lost and recovery.staging_losses < turn.options.staging_losses_max:
        recovery.staging_losses += 1
        recovery.is_staging_lost = True
        recovery.trouble = refusal.message
        close_lanes(turn, recovery)
    elif refusal.is_retryable:
        recovery.trouble = refusal.message
        recovery.retry_at_ns = turn.now + turn.options.retry_ns
    else:
        cause = FailureCause.VERIFICATION if refusal.is_verification else FailureCause.STORE
        fail(turn, recovery, cause, refusal.message)


def fail(turn: Turn, recovery: Recovery, cause: FailureCause, message: str) -> None:
    """End a recovery that cannot complete."""
    wind_up(turn, recovery, Ending(Result.FAILED, cause, message))


def wind_up(turn: Turn, recovery: Recovery, ending: Ending) -> None:
    """Let everything of a recovery come to rest, remove what it left, then end it so."""
    if recovery.ending is not None:
        return
    recovery.ending = ending
    recovery.move(Stage.DISCARDING)
    if recovery.awaited is LocalOrder.MANIFEST:
        recovery.awaited = None  # a question leaves nothing behind; nobody waits for its answer
    close_lanes(turn, recovery)


def close_lanes(turn: Turn, recovery: Recovery) -> None:
    """Close every lane of a recovery."""
    for lane in list(recovery.lanes.values()):
        turn.close_lane(lane, CloseReason.NOT_WANTED)


def discard_when_quiet(turn: Turn, recovery: Recovery) -> None:
    """Order the removal of what a recovery left, once nothing writes there any more."""
    if recovery.awaited is None and not recovery.lanes:
        recovery.awaited = LocalOrder.DISCARD
        turn.order(DiscardStaging(recovery.id))


def on_staging_discarded(turn: Turn, recovery: Recovery) -> None:
    """End a recovery of which nothing is left."""
    assert recovery.ending is not None
    end(turn, recovery, recovery.ending)


def end(turn: Turn, recovery: Recovery, ending: Ending) -> None:
    """End a recovery. It is not in the state any more after this."""
    close_lanes(turn, recovery)
    assert not recovery.lanes, f"{recovery.id} ends with ranges in flight"
    final = view_recovery(turn.state, recovery, turn.options, now=turn.now)
    explanation = explain(turn.state, recovery, turn.options, now=turn.now)
    turn.state.best_rate = max(turn.state.best_rate * 0.9, recovery.rate.best_bytes_per_s)
    del turn.state.recoveries[recovery.id]
    turn.state.recovery_alarms.set(recovery.id, None)
    turn.order(
        EndRecovery(recovery.id, ending.result, final, ending.cause, ending.message, explanation)
    )


def is_out_of_patience(turn: Turn, recovery: Recovery, *, is_starved: bool) -> bool:
    """Keep count of how long nobody has had what is missing; tell when that was too long."""
    if not is_starved:
        recovery.starved_since_ns = None
        return False
    if recovery.starved_since_ns is None:
        recovery.starved_since_ns = turn.now
    patience_ns = recovery.request.patience_ns
    return patience_ns is not None and turn.now - recovery.starved_since_ns >= patience_ns
