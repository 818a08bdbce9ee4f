"""The same version on all nodes that recover a job at once.

A recovery that is under way goes over to a newer version that a live peer recovers, once the
manifests of all its shards are here and it is whole; and from one that is whole no more to any
such version. What is placed stays.
"""

from __future__ import annotations

from ckptd.core.jobs.choosing import (
    Choice,
    announced,
    choose,
    eligible,
    is_failed,
    why_with_others,
)
from ckptd.core.jobs.collecting import begin
from ckptd.core.jobs.wholeness import look_at
from ckptd.core.stages.choosing_again import choose_again, is_beyond_completion, without_holder
from ckptd.core.stages.ending import close_lanes
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.words import Stage


def find_agreement(step: Step, recovery: Recovery) -> None:
    """Begin to look at the version that others recover, if this one should go over to it."""
    joining, revision = recovery.joining, step.state.job_claims.revision
    if joining.attempt is not None or joining.is_giving_way or recovery.version is None:
        return
    if recovery.placing.has_begun:
        return  # what is placed stays
    if recovery.wanted_version is not None or joining.seen_revision == revision:
        return
    joining.seen_revision = revision
    others = announced(step.state, recovery.checkpoint, now=step.now)
    others.pop(recovery.version, None)
    if not others:
        return
    is_down = _lacks_holders(step, recovery)
    if max(others) < recovery.version and not is_down:
        return
    for layout in eligible(step, recovery):
        if layout.version not in others or is_failed(step, recovery, layout):
            continue
        if layout.version < recovery.version and not is_down:
            continue
        looked = look_at(step, recovery, layout)
        if not looked.lacking:
            why = why_with_others(layout, others[layout.version])
            begin(step, recovery, Choice(layout, looked.contents, why))
            return


def _lacks_holders(step: Step, recovery: Recovery) -> bool:
    """Tell whether the version is not whole any more: nobody has blocks that are required."""
    if recovery.stage is not Stage.TRANSFERRING:
        return False
    return bool(without_holder(step, recovery, counts_lost=False))


def is_out_of_reach(step: Step, recovery: Recovery) -> bool:
    """Tell whether nobody can complete the version: for good, or for longer than patience lasts."""
    if recovery.stage is not Stage.TRANSFERRING or recovery.work.transfer_count:
        return False
    if recovery.placing.has_begun:
        return False
    given_up_at_ns = recovery.given_up_at_ns
    is_given_up = given_up_at_ns is not None and step.now >= given_up_at_ns
    if not is_given_up and (recovery.is_begun or not is_beyond_completion(step, recovery)):
        return False
    return recovery.lacks_required and choose(step, recovery) is not None


def give_way(step: Step, recovery: Recovery) -> None:
    """Go over to another version: first nothing may be under way any more."""
    recovery.joining.is_giving_way = True
    close_lanes(step, recovery)


def is_quiet(recovery: Recovery) -> bool:
    """Tell whether nothing of a recovery is under way."""
    return recovery.is_disk_free and not recovery.work.transfer_count


def leave_version(step: Step, recovery: Recovery) -> None:
    """Forget the version that a recovery was for; what was begun of another one stays."""
    joining = recovery.joining
    attempt = joining.attempt
    why = "" if attempt is None else f"others recover {attempt.layout.version}"
    choose_again(step, recovery, why=why)
    joining.attempt, joining.joint = attempt, None
    joining.is_giving_way = False
    joining.look_again_ns = step.now
