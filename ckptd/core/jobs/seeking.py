"""The way of a recovery of a job to its joined version, and over to another one.

Called once for each event, before the stages of all recoveries are looked at.
"""

from __future__ import annotations

from ckptd.core.jobs.agreeing import (
    find_agreement,
    give_way,
    is_out_of_reach,
    is_quiet,
    leave_version,
)
from ckptd.core.jobs.choosing import announced, choose, rivals_of_shard, why_none
from ckptd.core.jobs.collecting import (
    abandon,
    begin,
    collect,
    give_up,
    next_due_ns,
    refresh,
)
from ckptd.core.jobs.joined import forget_unused, order_joint, order_joint_again
from ckptd.core.jobs.lacking import wait_or_fail
from ckptd.core.report.rivals import conflict_message
from ckptd.core.stages.ending import fail, is_out_of_patience
from ckptd.core.state.record.joining import Attempt, Dispute
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.shards import Shard, shard_name
from ckptd.model.words import FailureCause, OnConflict, Stage

LOOK_AGAIN_NS = 1 * SECOND
"""Who is trusted changes without an event: what waits looks again so often."""


def advance_jobs(step: Step) -> None:
    """Let every recovery of a job do what is to be done before and beside its stages."""
    for recovery in list(step.state.recoveries.values()):
        if recovery.request.job is None or recovery.ending is not None:
            continue
        recovery.joining.due_ns = None
        if not recovery.is_paused:
            _advance(step, recovery)
        elif recovery.stage in {Stage.SEEKING, Stage.DESCRIBING}:
            recovery.starved_since_ns = None
    forget_unused(step)


def _advance(step: Step, recovery: Recovery) -> None:
    if recovery.joining.settles_ns <= step.now:
        recovery.joining.settles_ns = 0
    match recovery.stage:
        case Stage.SEEKING:
            _seek_on(step, recovery)
        case Stage.DESCRIBING:
            _describe(step, recovery)
        case Stage.PREPARING | Stage.TRANSFERRING:
            _keep_agreement(step, recovery)
        case _:
            pass


def _seek_on(step: Step, recovery: Recovery) -> None:
    """Choose a version, and begin to collect its manifests."""
    _seek(step, recovery)
    if recovery.joining.attempt is not None and recovery.ending is None:
        _describe(step, recovery)


def _seek(step: Step, recovery: Recovery) -> None:
    """Choose a version as soon as one is whole."""
    joining = recovery.joining
    if recovery.wanted_version is None and not step.state.is_settled:
        return
    if joining.attempt is None:
        if _is_disputed(step, recovery):
            return
        is_due = joining.look_again_ns <= step.now
        revision = step.state.job_claims.revision
        choice = None
        if is_due or joining.seen_revision != revision:
            joining.seen_revision = revision
            joining.look_again_ns = step.now + LOOK_AGAIN_NS
            choice = choose(step, recovery)
            joining.lacking = "" if choice else why_none(step, recovery)
        if choice is None:
            joining.due_ns = joining.look_again_ns
            wait_or_fail(step, recovery)
            return
        begin(step, recovery, choice)
    assert joining.attempt is not None
    recovery.starved_since_ns = None
    recovery.version = joining.attempt.layout.version
    recovery.move(Stage.DESCRIBING)


def _describe(step: Step, recovery: Recovery) -> None:
    """Collect the manifests of all shards, then have those joined that are wanted."""
    if recovery.local.pending_order is not None or _is_held_up(step, recovery):
        return
    attempt = recovery.joining.attempt
    if attempt is None:
        order_joint_again(step, recovery)
        return
    lacking = _has_joined_others(step, recovery, attempt) or _collect(step, recovery, attempt)
    if lacking:
        _start_over(step, recovery)
    elif not attempt.wanted and not _find_dispute(step, recovery, attempt):
        order_joint(step, recovery, attempt)


def _collect(step: Step, recovery: Recovery, attempt: Attempt) -> str:
    """Go on collecting; return why the version is to be given up, empty if it is not."""
    lacking = refresh(step, recovery, attempt)
    if lacking:
        return lacking
    if not attempt.wanted:
        # What the manifests say counts from here on, and not what peers say of optional blocks.
        recovery.joining.seen_revision = -1
        return refresh(step, recovery, attempt)
    if step.now >= attempt.give_way_at_ns:
        index = next(iter(attempt.wanted.values()))
        shard = Shard(index, attempt.layout.shard_count)
        why = f"shard {shard} is missing: its manifest did not come in time"
        give_up(step, recovery, attempt, why)
        return why
    collect(step, recovery, attempt)
    recovery.joining.due_ns = next_due_ns(step, recovery, attempt)
    return ""


def _has_joined_others(step: Step, recovery: Recovery, attempt: Attempt) -> str:
    """Tell whether others recover a version that is whole, which is to be taken instead.

    Nothing was said of this one yet. So nobody goes over to it whom it would cost anything.

    Returns:
        Why this one is given up; empty if it is not.
    """
    if recovery.joining.seen_revision == step.state.job_claims.revision:
        return ""
    others = announced(step.state, recovery.checkpoint, now=step.now)
    if recovery.wanted_version is not None or not others or attempt.layout.version in others:
        return ""
    choice = choose(step, recovery)
    is_theirs = choice is not None and choice.layout.version in others
    return "others recover another version" if is_theirs else ""


def _start_over(step: Step, recovery: Recovery) -> None:
    abandon(step, recovery)
    recovery.version = None
    recovery.joining.look_again_ns = step.now
    recovery.move(Stage.SEEKING)
    _seek_on(step, recovery)


def _is_held_up(step: Step, recovery: Recovery) -> bool:
    retry_at_ns = recovery.local.retry_at_ns
    return retry_at_ns is not None and step.now < retry_at_ns


def _keep_agreement(step: Step, recovery: Recovery) -> None:
    """Look whether others recover another version that this one should go over to."""
    if not recovery.joining.is_giving_way:
        find_agreement(step, recovery)
        attempt = recovery.joining.attempt
        if attempt is not None:
            _try_other(step, recovery, attempt)
        elif is_out_of_reach(step, recovery):
            give_way(step, recovery)
    if recovery.joining.is_giving_way and is_quiet(recovery):
        leave_version(step, recovery)
        _seek_on(step, recovery)


def _try_other(step: Step, recovery: Recovery, attempt: Attempt) -> None:
    """Go over to another version once it is known to be whole."""
    if _is_held_up(step, recovery):
        return
    if _collect(step, recovery, attempt):
        abandon(step, recovery)
    elif not attempt.wanted and recovery.stage is Stage.TRANSFERRING:
        give_way(step, recovery)


def _find_dispute(step: Step, recovery: Recovery, attempt: Attempt) -> bool:
    """Look whether a shard has several contents that are all genuine; a person chooses then."""
    disputed = [index for index, contents in attempt.contents.items() if len(contents) > 1]
    if not disputed:
        return False
    if recovery.is_background and step.options.rivals.on_conflict is OnConflict.MOST_HOLDERS:
        return False  # that of most holders is the first one
    index = disputed[0]
    name = shard_name(recovery.checkpoint, Shard(index, attempt.layout.shard_count))
    rivals = rivals_of_shard(step, recovery, attempt.contents[index])
    message = conflict_message(name, attempt.layout.version, rivals)
    abandon(step, recovery)
    if not recovery.is_background:
        fail(step, recovery, FailureCause.CONFLICT, message, rivals)
        return True
    recovery.rivalry.listed = rivals
    recovery.joining.dispute = Dispute(step.state.job_claims.revision, message, rivals)
    recovery.version = None
    recovery.move(Stage.SEEKING)
    _is_disputed(step, recovery)
    return True


def _is_disputed(step: Step, recovery: Recovery) -> bool:
    """Tell whether a person has to choose, as far as is known; end when patience does."""
    dispute = recovery.joining.dispute
    if dispute is None:
        return False
    if dispute.revision != step.state.job_claims.revision:
        recovery.joining.dispute = None
        recovery.rivalry.listed = ()
        return False
    if is_out_of_patience(step, recovery, is_starved=True):
        fail(step, recovery, FailureCause.CONFLICT, dispute.message, tuple(dispute.rivals))
    return True
