"""How recoveries end, and how they retry instead of ending."""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import DiscardStaging, EndRecovery
from ckptd.core.events import Refusal, StagingDiscarded
from ckptd.core.explain.narration import report_refusal
from ckptd.core.explain.peer_parts import explain
from ckptd.core.explain.snapshot import view_recovery
from ckptd.core.ranges.own_disks import note_nearby
from ckptd.core.report.rivals import Rival
from ckptd.core.stages.questions import drop_questions
from ckptd.core.state.recovery import Ending, Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.blocks import BlockSet
from ckptd.model.words import CloseReason, FailureCause, LocalOrder, Result, Stage


def retry_or_fail(step: Step, recovery: Recovery, refusal: Refusal) -> None:
    """Deal with an order that this node's disk refused.

    What may work later is tried again after a pause, what was staged and is lost is fetched again;
    anything else ends the recovery. Where this node is short of descriptors, memory or threads,
    the lanes give back theirs: what they verified stays, and no source is to blame.
    """
    local = recovery.local
    if recovery.ending is not None or local.is_staging_lost:
        return
    until_ns = step.now + step.options.commits.retry_ns
    if refusal.is_shortage and local.is_short and local.retry_at_ns is not None:
        local.hold_up(refusal, until_ns=until_ns)  # several lanes find out, one after another
        return
    report_refusal(step, recovery, refusal)
    if refusal.is_staging_lost and local.staging_losses < step.options.commits.staging_losses_max:
        local.staging_losses += 1
        local.is_staging_lost = True
        local.hold_up(refusal, until_ns=None)
        close_lanes(step, recovery)
    elif refusal.is_retryable:
        local.hold_up(refusal, until_ns=until_ns)
        if refusal.is_shortage:
            close_lanes(step, recovery)
    else:
        cause = FailureCause.VERIFICATION if refusal.is_verification else FailureCause.STORE
        fail(step, recovery, cause, refusal.message)


def fail(
    step: Step,
    recovery: Recovery,
    cause: FailureCause,
    message: str,
    rivals: tuple[Rival, ...] = (),
) -> None:
    """End a recovery that cannot complete.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        cause: What made it fail.
        message: The sentence for a person.
        rivals: With ``CONFLICT``: the contents to choose from.
    """
    wind_up(step, recovery, Ending(Result.FAILED, cause, message, rivals))


def wind_up(step: Step, recovery: Recovery, ending: Ending) -> None:
    """Let everything of a recovery come to rest, remove what it left, then end it so."""
    if recovery.ending is not None:
        return
    recovery.ending = ending
    recovery.move(Stage.DISCARDING)
    drop_questions(step, recovery)
    if recovery.local.pending_order is LocalOrder.MANIFEST:
        recovery.local.pending_order = (
            None  # a question leaves nothing behind; nobody waits for its answer
        )
    close_lanes(step, recovery)


def close_lanes(step: Step, recovery: Recovery) -> None:
    """Close every lane of a recovery."""
    for lane in list(recovery.work.lanes.values()):
        step.close_lane(lane, CloseReason.NOT_WANTED)


def discard_when_quiet(step: Step, recovery: Recovery) -> None:
    """Order the removal of what a recovery left, once nothing writes there any more."""
    if recovery.is_quiet and recovery.ending is not None:
        recovery.local.pending_order = LocalOrder.DISCARD
        is_cancelled = recovery.ending.result is Result.CANCELLED
        withdraws = is_cancelled and recovery.placing.has_begun
        step.order(DiscardStaging(recovery.id, withdraws_placed=withdraws))


def on_staging_discarded(step: Step, recovery: Recovery, event: StagingDiscarded) -> None:
    """End a recovery of which nothing is left."""
    assert recovery.ending is not None
    end(step, recovery, recovery.ending)


def end(step: Step, recovery: Recovery, ending: Ending) -> None:
    """End a recovery. It is not in the state any more after this."""
    close_lanes(step, recovery)
    assert not recovery.work.lanes, f"{recovery.id} ends with ranges in flight"
    final = view_recovery(step.state, recovery, step.options, now=step.now)
    explanation = explain(step.state, recovery, step.options, now=step.now)
    step.state.best_rate = max(step.state.best_rate * 0.9, recovery.tally.rate.best_bytes_per_s)
    if recovery.described is not None:
        note_nearby(step.state, recovery, BlockSet())
    del step.state.recoveries[recovery.id]
    step.state.recovery_alarms.set(recovery.id, None)
    step.order(
        EndRecovery(
            recovery.id,
            ending.result,
            final,
            ending.cause,
            ending.message,
            ending.rivals,
            explanation,
        )
    )


def is_out_of_patience(
    step: Step, recovery: Recovery, *, is_starved: bool, at_most_ns: int | None = None
) -> bool:
    """Measure how long nobody has had what is missing; return whether that was too long.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        is_starved: Nobody has it now.
        at_most_ns: It is waited for no longer than this; ``None``: as long as patience lasts.
    """
    recovery.patience_max_ns = at_most_ns
    if not is_starved:
        recovery.starved_since_ns = None
        return False
    if recovery.starved_since_ns is None:
        recovery.starved_since_ns = step.now
    given_up_at_ns = recovery.given_up_at_ns
    return given_up_at_ns is not None and step.now >= given_up_at_ns


HANDLERS: Final = (RecoveryHandler(StagingDiscarded, on_staging_discarded),)
"""What is taken in here."""
