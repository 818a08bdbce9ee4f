"""What a wrong manifest, or none, costs whoever was asked for it."""

from __future__ import annotations

from ckptd.core.events import ManifestMissed
from ckptd.core.explain.narration import report_pause, report_withdrawn
from ckptd.core.peers.claims import count_sources
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest
from ckptd.model.words import StoryReason


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
    if not is_lie:
        peer.link.failed(step.options, step.rng, now=step.now)
        report_pause(step, recovery, peer.path, StoryReason.NO_MANIFEST)
        step.rest(peer.path)
        return
    recovery.search.claimant(peer.origin).failed.add(digest)
    if not is_kept:
        peer.withdraw(digest)
        count_sources(step)
    _take_trust(step, recovery, peer)


def blame_for_missed(
    step: Step,
    recovery: Recovery,
    peer: Peer,
    digest: Digest,
    event: ManifestMissed,
    *,
    was_dropped: bool,
) -> bool:
    """Hold against a source, as far as it is at fault, what it did in place of sending a manifest.

    Args:
        step: The event being handled.
        recovery: For which recovery it was asked.
        peer: The source.
        digest: Which manifest.
        event: What became of it.
        was_dropped: Nobody waited for it any more.

    Returns:
        Whether it may still come: the source only did not deliver, and rests.
    """
    claimant = recovery.search.claimant(peer.origin)
    if event.is_lie:
        is_kept = bool(event.refusal)
        blame_for_manifest(step, recovery, peer, digest, is_lie=True, is_kept=is_kept)
    elif event.refusal:
        claimant.unsuited.add(digest)
    elif event.is_denied:
        claimant.unsuited.add(digest)
        peer.withdraw(digest)
        count_sources(step)
        report_withdrawn(step, recovery, peer.path)
    elif not was_dropped:
        blame_for_manifest(step, recovery, peer, digest, is_lie=False)
        return True
    return False


def blame_for_content(
    step: Step, recovery: Recovery, peer: Peer, digest: Digest, *, is_junk: bool
) -> None:
    """Hold it against a source that the manifest it offers, which is the right one, is of no use.

    Args:
        step: The event being handled.
        recovery: For which recovery it was asked.
        peer: The source.
        digest: Which manifest.
        is_junk: It breaks a rule that whoever offers it could have checked; else it costs nothing.
    """
    claimant = recovery.search.claimant(peer.origin)
    if not is_junk:
        claimant.unsuited.add(digest)
        return
    claimant.failed.add(digest)
    _take_trust(step, recovery, peer)


def _take_trust(step: Step, recovery: Recovery, peer: Peer) -> None:
    """Let a source pay for a wrong manifest as for a bad block, and leave it alone for a while."""
    peer.link.failed(step.options, step.rng, now=step.now)
    peer.standing.blame(step.options.trust.per_bad_block, step.options, now=step.now)
    report_pause(step, recovery, peer.path, StoryReason.WRONG_MANIFEST)
    step.rest(peer.path)
