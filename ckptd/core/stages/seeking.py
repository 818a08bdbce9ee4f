"""Which version a recovery goes for, once there is something to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptd.core.effects import ChooseVersion
from ckptd.core.explain.narration import report_choice
from ckptd.core.stages.claims_on_content import Claimed, as_chosen, claims_on, contents_among
from ckptd.core.stages.discounted import why_discounted
from ckptd.core.stages.ending import fail, is_out_of_patience
from ckptd.core.stages.manifest_search import describe
from ckptd.core.stages.rival_choice import settle_rivals
from ckptd.core.stages.unknown import explain_unknown, unknown_patience_ns
from ckptd.core.stages.version_choice import (
    PASSED_OVER_SHOWN,
    choose_version,
    explain_choice,
    explain_rollback,
)
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, Version
from ckptd.model.words import FailureCause, Stage


def seek(step: Step, recovery: Recovery) -> None:
    """Choose a version as soon as there is something to choose from."""
    request = recovery.request
    if recovery.is_paused:
        recovery.starved_since_ns = None
        return
    if recovery.wanted_version is None and not step.state.is_settled:
        return
    recovery.rivalry.listed = ()
    claims = claims_on(step, recovery, is_reliable=True)
    contents = contents_among(recovery, claims)
    is_reliable = bool(contents)
    if not contents:
        claims = claims_on(step, recovery, is_reliable=False)
        contents = contents_among(recovery, _askable(step, claims))
    if not contents:
        contents = contents_among(recovery, claims)[:1]  # of those in quarantine none is a rival
    if len(contents) <= 1:
        recovery.rivalry.late_at_ns = None
    if not contents:
        _wait_or_fail(step, recovery, [each.holding for each in claims])
        return
    if recovery.local.retry_at_ns is not None:
        return
    version, digest = contents[0]
    why = ""
    doubted_count = _count_doubted(step, recovery, version, digest) if is_reliable else 0
    if len(contents) > 1 or doubted_count:
        digests = [digest for _, digest in contents]
        given_way = recovery.search.given_way
        settled = settle_rivals(
            step, recovery, version, digests, claims, count=len(digests) + doubted_count
        )
        if settled is None:
            if recovery.search.given_way != given_way:  # none of them counts any more
                seek(step, recovery)
            return
        digest, why = settled
    recovery.rivalry.late_at_ns = None
    if is_reliable:
        recovery.starved_since_ns = None
    recovery.version, recovery.digest = version, digest
    known = (*_known(step, recovery, version), *recovery.own)
    explained = explain_choice(
        [as_chosen(recovery, holding) for holding in known],
        request.checkpoint,
        recovery.wanted_version,
        settled=(version, digest),
        why=why,
        why_discounted=lambda passed_over: why_discounted(step, recovery, passed_over),
    )
    report_choice(step, recovery, version, explained)
    recovery.move(Stage.DESCRIBING)
    step.order(ChooseVersion(recovery.id, request.checkpoint, version, digest, explained.why))
    describe(step, recovery)


def _wait_or_fail(step: Step, recovery: Recovery, offers: Sequence[Holding]) -> None:
    """Wait for somebody who has the version, for as long as there is patience."""
    refusal = _refusal_of(step, recovery, offers) if step.state.is_settled else ""
    is_hopeless = refusal and not _may_come_back(step, recovery)
    if is_hopeless or is_out_of_patience(
        step,
        recovery,
        is_starved=step.state.is_settled,
        at_most_ns=None if refusal else unknown_patience_ns(step, recovery),
    ):
        unknown = explain_unknown(step.state, recovery)
        fail(step, recovery, *((FailureCause.VERIFICATION, refusal) if refusal else unknown))


def _count_doubted(step: Step, recovery: Recovery, version: Version, chosen: Digest) -> int:
    """Count other contents of a version whose claims do not count any more for this recovery.

    They may be real, at a peer that is slow: what is chosen instead has to be seen.
    """
    if not recovery.search.claimants:
        return 0
    claims = _askable(step, claims_on(step, recovery, is_reliable=False))
    contents = {each.holding.digest for each in claims if each.holding.version == version}
    reliable = claims_on(step, recovery, is_reliable=True)
    return len(contents - {each.holding.digest for each in reliable} - {chosen})


def _askable(step: Step, claims: Iterable[Claimed]) -> list[Claimed]:
    """Return what this node has, or peers that are not in quarantine."""
    return [
        each
        for each in claims
        if each.peer is None or each.peer.standing.quarantined_until_ns <= step.now
    ]


def _may_come_back(step: Step, recovery: Recovery) -> bool:
    """Tell whether a peer that is lost for the moment has something that could be chosen."""
    lost = claims_on(step, recovery, is_reliable=True, is_lost=True)
    return bool(contents_among(recovery, lost))


def _claimed(step: Step, recovery: Recovery) -> list[Holding]:
    """Return what could be chosen, or was refused."""
    at_most = step.options.manifests.claims_max
    return step.state.claimed(recovery.checkpoint, recovery.wanted_version, at_most=at_most)


def _known(step: Step, recovery: Recovery, chosen: Version) -> list[Holding]:
    """Return by what a choice is explained: the newest versions, and the chosen one."""
    at_most = PASSED_OVER_SHOWN + 1
    return step.state.claimed(recovery.checkpoint, chosen, at_most=at_most)


def _refusal_of(step: Step, recovery: Recovery, offers: Sequence[Holding]) -> str:
    """Say which versions could be had and are not wanted.

    Those are unsigned ones, ones that contradict themselves, and a rollback.

    Nobody waits for better ones that no peer had: one that offers these may be lying, and a person
    has to know.
    """
    request = recovery.request
    newest = choose_version(offers, request.checkpoint, recovery.wanted_version)
    rollback = explain_rollback(request.checkpoint, newest, request.not_below)
    refused = [
        step.state.refused_contents[holding.digest]
        for holding in _claimed(step, recovery)
        if holding.digest in step.state.refused_contents
        and recovery.wanted_version in {None, holding.version}
    ]
    parts = (recovery.search.signature_refusal, *refused[:1], rollback)
    return "; ".join(part for part in parts if part)
