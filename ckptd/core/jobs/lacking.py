"""What is said of a job of which no version is whole, and how long it is waited for."""

from __future__ import annotations

from ckptd.core.jobs.choosing import eligible, why_none
from ckptd.core.stages.ending import fail, is_out_of_patience
from ckptd.core.stages.version_choice import explain_rollback
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest
from ckptd.model.nearest import nearest_names
from ckptd.model.words import FailureCause


def wait_or_fail(step: Step, recovery: Recovery) -> None:
    """Wait for a version that is whole, for as long as there is patience."""
    is_settled = step.state.is_settled
    rollback = _rollback(step, recovery) if is_settled else ""
    is_hopeless = rollback and not any(eligible(step, recovery))
    is_refused = recovery.search.signature_refusal and step.state.is_everybody_heard
    if (
        is_hopeless
        or is_refused
        or is_out_of_patience(
            step, recovery, is_starved=is_settled, at_most_ns=_unknown_patience_ns(step, recovery)
        )
    ):
        fail(step, recovery, *_explain(step, recovery, rollback))


def _unknown_patience_ns(step: Step, recovery: Recovery) -> int | None:
    """Return how long a job is waited for at most of which nobody has any shard.

    Returns:
        ``None``: as long as patience lasts.
    """
    state, request = step.state, recovery.request
    if request.is_name_awaited or not any(peer.is_live for peer in state.peers.values()):
        return None
    if request.not_below is not None or recovery.own:
        return None
    if state.job_claims.layouts(recovery.checkpoint):
        return None
    return 0 if state.is_everybody_heard else step.options.patience.unknown_ns


def _rollback(step: Step, recovery: Recovery) -> str:
    """Say that only older versions than this node had are left; empty: that is not so."""
    not_below = recovery.request.not_below
    if recovery.wanted_version is not None or not_below is None:
        return ""
    older = [
        each.version
        for each in step.state.job_claims.layouts(recovery.checkpoint)
        if each.version < not_below
    ]
    newest = (older[0], Digest("")) if older else None
    return explain_rollback(recovery.checkpoint, newest, not_below) or ""


def _explain(step: Step, recovery: Recovery, rollback: str) -> tuple[FailureCause, str]:
    """Say why no version could be chosen."""
    job, wanted = recovery.checkpoint, recovery.wanted_version
    layouts = step.state.job_claims.layouts(job)
    name = job if wanted is None else f"{job}@{wanted}"
    if not layouts and not recovery.own:
        known = nearest_names(job, [*step.state.job_claims.jobs(), *recovery.request.own_names])
        hint = f"known: {', '.join(known)}" if known else "nothing is known of any job"
        return FailureCause.UNKNOWN, f"nobody has shards of {job}; {hint}"
    lacking = why_none(step, recovery)
    if refusal := recovery.search.signature_refusal:
        return FailureCause.VERIFICATION, "; ".join(filter(None, (refusal, lacking)))
    if rollback:
        return FailureCause.VERIFICATION, "; ".join(filter(None, (rollback, lacking)))
    if not lacking:
        versions = ", ".join(str(each) for each in layouts[:5])
        return FailureCause.UNKNOWN, f"nobody has shards of {name}; known: {versions}"
    return FailureCause.REQUIRED_MISSING, f"no version of {name} is whole: {lacking}"
