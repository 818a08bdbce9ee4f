"""From whom the manifest of the chosen version is asked, and what comes of it.

One holder is asked first. While it does not answer, others are asked as well, one after another,
and the first answer wins: a manifest is small beside what it describes. Each question ends
with one event, however late; by then the recovery may be further, or for another version.
"""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import FetchManifest, PrepareStaging
from ckptd.core.events import ManifestArrived, ManifestMissed, ManifestRefused
from ckptd.core.explain.narration import report_manifest_late, report_pause
from ckptd.core.peers.claims import count_sources
from ckptd.core.stages.choosing_again import has_alternative, start_over
from ckptd.core.stages.ending import fail, is_out_of_patience, retry_or_fail
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, PathId, Version
from ckptd.model.words import FailureCause, LocalOrder, Stage, StoryReason


def on_manifest_arrived(step: Step, recovery: Recovery, event: ManifestArrived) -> None:
    """Learn what the version consists of, and make room for it."""
    digest = _take_answer(recovery, event.source)
    if not _is_wanted(recovery, digest):
        return
    manifest = event.space.manifest
    if (manifest.checkpoint, manifest.version) != (recovery.checkpoint, recovery.version):
        # An old version was advertised as a newer one, or as another checkpoint.
        _miss(step, recovery, digest, ManifestMissed(recovery.id, event.source, is_lie=True))
        return
    recovery.described = Described.of(Version(manifest.version), digest, event.space)
    recovery.move(Stage.PREPARING)
    recovery.local.worked()
    recovery.local.pending_order = LocalOrder.STAGING
    step.order(PrepareStaging(recovery.id, digest, event.space))


def on_manifest_missed(step: Step, recovery: Recovery, event: ManifestMissed) -> None:
    """Remember who did not deliver the manifest; somebody else is asked next.

    If this node was too short of something to ask, nobody is to blame, and it asks again later.
    """
    digest = _take_answer(recovery, event.source)
    if event.shortage is None:
        _miss(step, recovery, digest, event)
    elif _is_wanted(recovery, digest):
        retry_or_fail(step, recovery, event.shortage)


def on_manifest_refused(step: Step, recovery: Recovery, event: ManifestRefused) -> None:
    """Give up on a version that cannot be what its publisher meant; on another one, if there is."""
    digest = _take_answer(recovery, event.source)
    if event.refusal.is_contradiction:
        step.state.note_contradiction(digest, event.refusal.message)
    if not _is_wanted(recovery, digest):
        return
    if event.refusal.is_contradiction and not recovery.is_begun and has_alternative(step, recovery):
        start_over(recovery)
    else:
        fail(step, recovery, FailureCause.VERIFICATION, event.refusal.message)


def _miss(step: Step, recovery: Recovery, digest: Digest, event: ManifestMissed) -> None:
    """Draw conclusions from a manifest that did not come.

    What a source lied about it does not have; but it may well have a version of which it has no
    signature that suffices.
    """
    if event.source is None:
        recovery.search.own_missed.add(digest)
        recovery.search.signature_refusal = event.refusal or recovery.search.signature_refusal
        return
    if _is_wanted(recovery, digest):
        recovery.search.tried.add(event.source)
        if event.refusal:
            recovery.search.unsigned_by.add(event.source)
            recovery.search.signature_refusal = event.refusal
    peer = step.state.peers.get(event.source)
    if peer is None or (event.refusal and not event.is_lie):
        return
    is_kept = bool(event.refusal)
    blame_for_manifest(step, recovery, peer, digest, is_lie=event.is_lie, is_kept=is_kept)


def blame_for_manifest(
    step: Step,
    recovery: Recovery,
    peer: Peer,
    digest: Digest,
    *,
    is_lie: bool,
    is_kept: bool = False,
) -> None:
    """Hold it against a source that a manifest did not come, or was not what it should be.

    Args:
        step: The event being handled.
        recovery: For which recovery it was asked.
        peer: The source.
        digest: Which manifest.
        is_lie: It sent something else.
        is_kept: It may have the version all the same.
    """
    peer.link.failed(step.options, step.rng, now=step.now)
    if is_lie:
        if not is_kept:
            peer.holdings.pop(digest, None)
            count_sources(step)
        peer.standing.blame(step.options.trust.per_bad_block, step.options, now=step.now)
    reason = StoryReason.WRONG_MANIFEST if is_lie else StoryReason.NO_MANIFEST
    report_pause(step, recovery, peer.path, reason)
    step.rest(peer.path)


def _take_answer(recovery: Recovery, source: PathId | None) -> Digest:
    """Take note that a question is answered; return what it was for."""
    digest = recovery.search.asked.pop(source)
    is_asked = recovery.digest in recovery.search.asked.values()
    if recovery.local.pending_order is LocalOrder.MANIFEST and not is_asked:
        recovery.local.pending_order = recovery.search.ask_again_at_ns = None
    return digest


def _is_wanted(recovery: Recovery, digest: Digest) -> bool:
    """Return whether a manifest is what the recovery waits for."""
    return recovery.stage is Stage.DESCRIBING and digest == recovery.digest


def describe(step: Step, recovery: Recovery) -> bool:
    """Ask somebody for the manifest who has not failed to deliver it.

    Returns:
        Whether the version is given up and another one is to be chosen.
    """
    if recovery.is_paused:
        recovery.starved_since_ns = None
    elif recovery.local.pending_order is not None:
        _ask_another(step, recovery)
    elif recovery.local.retry_at_ns is None:
        return _ask_first(step, recovery)
    return False


def _ask_first(step: Step, recovery: Recovery) -> bool:
    """Ask this node or the best source, or return that the version is to be given up.

    A version that nobody claims to have any more, lost peers included, was a lie or is removed,
    and one that nobody delivers with signatures that suffice is no better: another one is
    chosen, unless an interrupted recovery goes on with this one. One that no live peer claims gives
    way to one that is whole when patience ends.
    """
    if any(_is_for(holding, recovery) for holding in recovery.own):
        ask(step, recovery, None)
        return False
    claimants = [peer for peer in step.state.peers.values() if _claims(peer, recovery)]
    sources = [peer for peer in claimants if peer.is_live]
    is_unsigned = bool(recovery.search.unsigned_by) and recovery.search.unsigned_by.issuperset(
        peer.path for peer in sources
    )
    if not recovery.is_begun and (is_unsigned or not claimants):
        if is_unsigned:
            recovery.search.unsigned.add(recovery.chosen_digest)
        start_over(recovery)
        return True
    if is_unsigned:
        fail(step, recovery, FailureCause.VERIFICATION, recovery.search.signature_refusal)
    elif not sources:
        is_given_up = is_out_of_patience(step, recovery, is_starved=step.state.is_settled)
        if is_given_up and has_alternative(step, recovery):
            start_over(recovery)
            return True
        if is_given_up:
            message = f"nobody has {recovery.checkpoint}@{recovery.version} any more"
            fail(step, recovery, FailureCause.REQUIRED_MISSING, message)
    else:
        recovery.starved_since_ns = None
        source = _best(step, recovery)
        if source is not None:
            ask(step, recovery, source)
        else:
            recovery.search.tried.clear()
            recovery.local.retry_at_ns = step.now + step.options.commits.retry_ns
    return False


def ask(step: Step, recovery: Recovery, source: Peer | None) -> None:
    """Ask a source for the manifest, or this node."""
    path, digest = None if source is None else source.path, recovery.chosen_digest
    recovery.search.ask_again_at_ns = None
    if source is not None:
        patience_ns = step.options.silence.gaps * (source.link.latency_ns or 0)
        recovery.search.ask_again_at_ns = step.now + max(patience_ns, step.options.silence.floor_ns)
    recovery.search.asked[path] = digest
    recovery.local.pending_order = LocalOrder.MANIFEST
    step.order(FetchManifest(recovery.id, path, digest))


def _ask_another(step: Step, recovery: Recovery) -> None:
    """Ask one more source if those that were asked take too long."""
    if recovery.search.ask_again_at_ns is None or step.now < recovery.search.ask_again_at_ns:
        return
    late = [path for path, digest in recovery.search.asked.items() if digest == recovery.digest]
    if len(late) >= step.options.manifests.sources_max:
        recovery.search.ask_again_at_ns = None
        return
    source = _best(step, recovery)
    if source is None:
        recovery.search.ask_again_at_ns = step.now + step.options.silence.first_byte_floor_ns
        return
    assert late[-1] is not None, "this node is waited for"
    report_manifest_late(step, recovery, late[-1], source.path)
    ask(step, recovery, source)


def _best(step: Step, recovery: Recovery) -> Peer | None:
    """Return the best live source that has not failed and is not asked already."""

    def rank(peer: Peer) -> tuple[int, int, PathId]:
        return (peer.link.failures, peer.link.queue_time_ns(step.options), peer.path)

    untried = (
        peer
        for peer in step.state.peers.values()
        if peer.is_live
        and _claims(peer, recovery)
        and peer.path not in recovery.search.tried
        and peer.path not in recovery.search.asked
    )
    return min(untried, key=rank, default=None)


def _claims(peer: Peer, recovery: Recovery) -> bool:
    """Return whether a peer says it has just what a recovery is for."""
    holding = peer.holding_of(recovery.digest)
    return holding is not None and _is_for(holding, recovery)


def _is_for(holding: Holding, recovery: Recovery) -> bool:
    known = (holding.checkpoint, holding.version, holding.digest)
    return known == (recovery.checkpoint, recovery.version, recovery.digest)


HANDLERS: Final = (
    RecoveryHandler(ManifestArrived, on_manifest_arrived),
    RecoveryHandler(ManifestMissed, on_manifest_missed),
    RecoveryHandler(ManifestRefused, on_manifest_refused),
)
"""What is taken in here."""
