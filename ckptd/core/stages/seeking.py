"""Which version a recovery goes for, once there is something to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.core.effects import ChooseVersion
from ckptd.core.explain.narration import report_choice
from ckptd.core.stages.ending import fail, is_out_of_patience
from ckptd.core.stages.manifest_search import describe
from ckptd.core.stages.version_choice import choose_version, explain_choice, explain_rollback
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.holdings import Holding
from ckptd.model.words import FailureCause, Stage


def seek(step: Step, recovery: Recovery) -> None:
    """Choose a version as soon as there is something to choose from."""
    request = recovery.request
    if recovery.is_paused:
        recovery.starved_since_ns = None
        return
    if request.version is None and not step.state.is_settled:
        return
    known = [*step.state.live_holdings(), *recovery.own]
    offers = [holding for holding in known if holding.digest not in recovery.search.unsigned]
    choice = choose_version(offers, request.checkpoint, request.version, request.not_below)
    if choice is None:
        refusal = _refusal_of(recovery, offers) if step.state.is_settled else ""
        if refusal:
            fail(step, recovery, FailureCause.VERIFICATION, refusal)
        elif is_out_of_patience(step, recovery, is_starved=step.state.is_settled):
            message = f"nobody has {recovery.checkpoint}"
            fail(step, recovery, FailureCause.CRITICAL_MISSING, message)
        return
    recovery.starved_since_ns = None
    recovery.version, recovery.digest = choice
    explained = explain_choice(known, request.checkpoint, request.version)
    report_choice(step, recovery, choice[0], explained)
    recovery.move(Stage.DESCRIBING)
    step.order(ChooseVersion(recovery.id, request.checkpoint, *choice))
    describe(step, recovery)


def _refusal_of(recovery: Recovery, offers: Sequence[Holding]) -> str:
    """Say which versions could be had and are not wanted: unsigned ones, and a rollback.

    Nobody waits for better ones: a peer that offers these may be lying, and a person has to know.
    """
    request = recovery.request
    newest = choose_version(offers, request.checkpoint, request.version)
    rollback = explain_rollback(request.checkpoint, newest, request.not_below)
    return "; ".join(part for part in (recovery.search.signature_refusal, rollback) if part)
