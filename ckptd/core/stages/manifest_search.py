"""From whom the manifest of the chosen version is asked, and what comes of it.

One holder is asked first. While it does not answer, others are asked as well, one after another,
and the first answer wins: a manifest is small beside what it describes. Each question ends
with one event, however late; by then the recovery may be further, or for another version.

Work is by who claims, not by what is claimed: an origin whose manifests were wrong or did not come
twice is asked for no other while somebody else has something, and one in quarantine for none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptd.core.effects import FetchManifest
from ckptd.core.events import ManifestArrived, ManifestMissed, ManifestRefused
from ckptd.core.explain.narration import report_given_up, report_manifest_late
from ckptd.core.report.story import format_span
from ckptd.core.stages.choosing_again import has_alternative, has_other, start_over
from ckptd.core.stages.claims_on_content import counts, is_choice_reachable
from ckptd.core.stages.ending import fail, is_out_of_patience, retry_or_fail
from ckptd.core.stages.manifest_faults import blame_for_content, blame_for_missed
from ckptd.core.stages.questions import drop_question, drop_questions
from ckptd.core.stages.restaging import order_staging
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, PathId, Version
from ckptd.model.words import FailureCause, LocalOrder, Stage, StoryReason

_MANIFEST_BYTES_PER_BLOCK: Final = 192
"""A digest for each block, and path, digest and sizes for each unit, of which most have one."""


def on_manifest_arrived(step: Step, recovery: Recovery, event: ManifestArrived) -> None:
    """Learn what the version consists of, and make room for it."""
    digest, _ = _take_answer(recovery, event.source)
    if not _is_wanted(recovery, digest):
        return
    manifest = event.space.manifest
    if (manifest.checkpoint, manifest.version) != (recovery.checkpoint, recovery.version):
        # An old version was advertised as a newer one, or as another checkpoint.
        _miss(step, recovery, digest, ManifestMissed(recovery.id, event.source, is_lie=True))
        return
    drop_questions(step, recovery)
    recovery.starved_since_ns = recovery.search.give_way_at_ns = None
    recovery.local.worked()
    if event.misfit:
        fail(step, recovery, FailureCause.UNKNOWN, event.misfit)
        return
    unchosen = BlockSet()
    if event.chosen is not None:
        unchosen = BlockSet.full(event.space.block_count) - event.chosen
        if not is_choice_reachable(step, recovery, digest, unchosen):
            report_given_up(step, recovery, BlockSet(), "nobody has all that was asked for of it")
            _give_way(step, recovery)
            return
    recovery.described = Described.of(Version(manifest.version), digest, event.space)
    recovery.coverage.unchosen = unchosen
    recovery.move(Stage.PREPARING)
    order_staging(step, recovery)


def on_manifest_missed(step: Step, recovery: Recovery, event: ManifestMissed) -> None:
    """Remember who did not deliver the manifest; somebody else is asked next.

    If this node was too short of something to ask, nobody is to blame, and it asks again later.
    """
    digest, was_dropped = _take_answer(recovery, event.source)
    if event.shortage is None:
        _miss(step, recovery, digest, event, was_dropped=was_dropped)
    elif _is_wanted(recovery, digest):
        retry_or_fail(step, recovery, event.shortage)


def on_manifest_refused(step: Step, recovery: Recovery, event: ManifestRefused) -> None:
    """Take a version for none that cannot be what its publisher meant, and choose another one."""
    digest, _ = _take_answer(recovery, event.source)
    step.state.note_refused(digest, event.refusal.message)
    peer = None if event.source is None else step.state.peers.get(event.source)
    if peer is not None:
        blame_for_content(step, recovery, peer, digest, is_junk=event.refusal.is_junk)
    if _is_wanted(recovery, digest):
        report_given_up(step, recovery, BlockSet(), event.refusal.message)
        _give_way(step, recovery)


def _miss(
    step: Step,
    recovery: Recovery,
    digest: Digest,
    event: ManifestMissed,
    *,
    was_dropped: bool = False,
) -> None:
    """Draw conclusions from a manifest that did not come.

    What a source lied about it does not have; but it may well have a version of which it has no
    signature that suffices.

    Args:
        step: The event being handled.
        recovery: For which recovery it was asked.
        digest: Which manifest.
        event: What became of it.
        was_dropped: Nobody waited for it any more.
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
    if peer is None:
        return
    blame_for_missed(step, recovery, peer, digest, event, was_dropped=was_dropped)


def _take_answer(recovery: Recovery, source: PathId | None) -> tuple[Digest, bool]:
    """Take an answer; if nobody else is asked for the chosen version, it is not waited for."""
    digest, was_dropped = recovery.search.take_answer(source)
    is_awaited = recovery.search.is_awaited(recovery.digest)
    if recovery.local.pending_order is LocalOrder.MANIFEST and not is_awaited:
        recovery.local.pending_order = recovery.search.ask_again_at_ns = None
    return digest, was_dropped


def _is_wanted(recovery: Recovery, digest: Digest) -> bool:
    """Return whether a manifest is what the recovery waits for."""
    return recovery.stage is Stage.DESCRIBING and digest == recovery.digest


def describe(step: Step, recovery: Recovery) -> bool:
    """Ask somebody for the manifest who has not failed to deliver it.

    Returns:
        Whether the version is given up and another one is to be chosen.
    """
    if recovery.is_paused:
        recovery.starved_since_ns = recovery.search.give_way_at_ns = None
        return False
    if _is_late(step, recovery):
        return True
    if recovery.local.pending_order is not None:
        _ask_another(step, recovery)
    elif recovery.local.retry_at_ns is None:
        return _ask_first(step, recovery)
    elif recovery.starved_since_ns is not None:
        return _has_given_up(step, recovery, is_starved=True)
    return False


def _is_late(step: Step, recovery: Recovery) -> bool:
    """Give a version up whose manifest takes too long, if there is another one.

    The next one has half the time: whoever invents versions and never sends a manifest is not
    waited for as often as it likes.
    """
    search = recovery.search
    if search.give_way_at_ns is None or step.now < search.give_way_at_ns:
        return False
    if recovery.is_begun or not has_other(step, recovery):
        search.give_way_at_ns = step.now + step.options.commits.retry_ns
        return False
    was_away = search.is_away
    search.is_away = not any(
        peer.is_live and _claims(peer, recovery) for peer in step.state.peers.values()
    )
    back_by_ns = (search.asked_ns or 0) + step.options.manifests.absence_ns
    if (search.is_away or was_away) and step.now < back_by_ns:
        # Who has it may come back, and has its time then; but not for ever.
        search.give_way_at_ns = min(step.now + _patience_ns(step, recovery), back_by_ns)
        return False
    late = {path for path, digest in search.asked.items() if digest == recovery.digest}
    _discount(step, recovery, late | search.tried)
    waited = format_span(_patience_ns(step, recovery))
    why = f"its manifest did not come within {waited}"
    report_given_up(step, recovery, BlockSet(), why, StoryReason.NO_MANIFEST)
    search.given_way += 1
    _give_way(step, recovery)
    return True


def _discount(step: Step, recovery: Recovery, paths: Iterable[PathId | None]) -> None:
    """Let the claims of some sources to the chosen version not count any more."""
    for path in paths:
        peer = None if path is None else step.state.peers.get(path)
        if peer is not None and _claims(peer, recovery):
            recovery.search.claimant(peer.origin).failed.add(recovery.chosen_digest)


def _give_way(step: Step, recovery: Recovery) -> None:
    """Look for another version; nobody waits for the manifest of this one any more."""
    drop_questions(step, recovery)
    if recovery.local.pending_order is LocalOrder.MANIFEST:
        recovery.local.pending_order = recovery.search.ask_again_at_ns = None
    start_over(recovery)


def _patience_ns(step: Step, recovery: Recovery) -> int:
    """Return how long the manifest of the chosen version may take while there are others."""
    options = step.options.manifests
    claims = (peer.holding_of(recovery.digest) for peer in step.state.peers.values())
    block_count = max((each.block_count for each in claims if each is not None), default=0)
    transfer_ns = block_count * _MANIFEST_BYTES_PER_BLOCK * SECOND // options.bytes_per_s
    patience_ns = min(options.patience_ns + transfer_ns, options.patience_max_ns)
    return max(patience_ns >> min(recovery.search.given_way, 10), options.patience_min_ns)


def _ask_first(step: Step, recovery: Recovery) -> bool:
    """Ask this node or the best source, or return that the version is to be given up.

    A version that nobody claims to have any more, lost peers included, was a lie or is removed,
    and one that nobody delivers with signatures that suffice is no better: another one is
    chosen, unless an interrupted recovery goes on with this one. One that no live peer claims gives
    way to one that is whole when patience ends, and one of which no claim counts to any other.
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
        return _has_given_up(step, recovery, is_starved=step.state.is_settled)
    else:
        return _ask_best(step, recovery, sources)
    return False


def _ask_best(step: Step, recovery: Recovery, sources: list[Peer]) -> bool:
    """Ask the best of those whose claim counts, of the others only where there is nothing else.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        sources: Live peers that claim the version.

    Returns:
        Whether the version is given up.
    """
    search, digest = recovery.search, recovery.chosen_digest
    able = [peer for peer in sources if counts(step, recovery, peer, digest)]
    if not able and not recovery.is_begun and has_other(step, recovery):
        start_over(recovery)
        return True
    source = _best(step, recovery, able if able and not search.rounds else sources)
    if source is None and any(peer.path in search.asked for peer in sources):
        return False  # a question that was dropped ends soon
    if source is not None and source in able:
        if not search.rounds:
            recovery.starved_since_ns = None
        ask(step, recovery, source)
        return False
    if source is not None and step.now >= search.rests_until_ns:
        search.rests_until_ns = step.now + step.options.commits.retry_ns
        ask(step, recovery, source)
        return False
    search.tried.clear()
    search.rounds += 1
    recovery.local.retry_at_ns = step.now + step.options.commits.retry_ns
    return _has_given_up(step, recovery, is_starved=not able or search.rounds > 1)


def _has_given_up(step: Step, recovery: Recovery, *, is_starved: bool) -> bool:
    """End a recovery, or choose another version, once the manifest was waited for long enough."""
    if not is_out_of_patience(step, recovery, is_starved=is_starved):
        return False
    if has_alternative(step, recovery):
        recovery.starved_since_ns = None
        _discount(step, recovery, step.state.peers)
        start_over(recovery)
        return True
    message = f"nobody has {recovery.checkpoint}@{recovery.version} any more"
    if recovery.search.rounds:
        message = f"nobody delivers the manifest of {recovery.checkpoint}@{recovery.version}"
    fail(step, recovery, FailureCause.REQUIRED_MISSING, message)
    return False


def ask(step: Step, recovery: Recovery, source: Peer | None) -> None:
    """Ask a source for the manifest, or this node."""
    search = recovery.search
    path, digest = None if source is None else source.path, recovery.chosen_digest
    search.ask_again_at_ns = None
    if source is not None:
        patience_ns = step.options.silence.gaps * (source.link.latency_ns or 0)
        search.ask_again_at_ns = step.now + max(patience_ns, step.options.silence.floor_ns)
        search.asked_ns = step.now if search.asked_ns is None else search.asked_ns
        if search.give_way_at_ns is None:
            search.give_way_at_ns = step.now + _patience_ns(step, recovery)
    search.asked[path] = digest
    recovery.local.pending_order = LocalOrder.MANIFEST
    step.order(FetchManifest(recovery.id, path, digest))


def _ask_another(step: Step, recovery: Recovery) -> None:
    """Ask one more source if those that were asked take too long.

    With as many as may be asked at once, it takes the place of the one that was asked first, and
    the next one has twice the time to answer.
    """
    search = recovery.search
    if search.ask_again_at_ns is None or step.now < search.ask_again_at_ns:
        return
    late = [
        path
        for path, digest in search.asked.items()
        if digest == recovery.digest and path not in search.dropped
    ]
    source = _best(
        step,
        recovery,
        (
            peer
            for peer in step.state.peers.values()
            if peer.is_live and counts(step, recovery, peer, recovery.chosen_digest)
        ),
    )
    if source is None:
        search.ask_again_at_ns = step.now + step.options.silence.first_byte_floor_ns
        return
    others_count = len(late) - step.options.manifests.sources_max + 1
    if late and others_count > 0:
        drop_question(step, recovery, late[0], recovery.chosen_digest)
        search.replaced += 1
    if late and late[-1] is not None:
        report_manifest_late(step, recovery, late[-1], source.path)
    ask(step, recovery, source)
    assert search.ask_again_at_ns is not None
    wait_ns = (search.ask_again_at_ns - step.now) << min(search.replaced, 6)
    search.ask_again_at_ns = step.now + wait_ns


def _best(step: Step, recovery: Recovery, sources: Iterable[Peer]) -> Peer | None:
    """Return the best source that has not failed, is not asked already, and may be asked."""

    def rank(peer: Peer) -> tuple[int, int, PathId]:
        return (peer.link.failures, peer.link.queue_time_ns(step.options), peer.path)

    untried = (
        peer
        for peer in sources
        if _claims(peer, recovery)
        and peer.standing.quarantined_until_ns <= step.now
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
