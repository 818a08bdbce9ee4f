"""The manifests of all shards of a version: asked for side by side, of whoever claims each.

A version counts as whole only if the manifest of every shard came, also of those that this node
does not want. What a peer claims and cannot show costs it what any such claim does, and the next
one who claims the shard is asked.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ckptd.core.effects import FetchManifest
from ckptd.core.events import ManifestArrived, ManifestMissed, ManifestRefused
from ckptd.core.jobs.choosing import Choice
from ckptd.core.jobs.wholeness import counting_peers, look_at
from ckptd.core.stages import manifest_search
from ckptd.core.stages.claims_on_content import counts
from ckptd.core.stages.ending import retry_or_fail
from ckptd.core.stages.manifest_faults import blame_for_content, blame_for_missed
from ckptd.core.stages.questions import drop_question
from ckptd.core.state.record.joining import Attempt, Failed, KnownShard
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.ids import Digest, Origin, PathId
from ckptd.model.shards import Shard, shard_name

AT_ONCE_MAX: Final = 16
"""So many sources are asked for manifests at the same time, each for one."""


def begin(step: Step, recovery: Recovery, choice: Choice) -> Attempt:
    """Begin to collect the manifests of a version that are not known yet."""
    attempt = Attempt(
        choice.layout, choice.contents, why=choice.why, is_reliable=choice.is_reliable
    )
    attempt.begun_ns = step.now
    _renew_patience(step, recovery, attempt)
    _line_up(step, recovery, attempt)
    recovery.joining.attempt = attempt
    recovery.joining.seen_revision = step.state.job_claims.revision
    return attempt


def refresh(step: Step, recovery: Recovery, attempt: Attempt) -> str:
    """Look again at a version after claims changed, or one turned out to count for nothing.

    Returns:
        Which shard is not whole any more; empty if all are.
    """
    revision = step.state.job_claims.revision
    if recovery.joining.seen_revision == revision:
        return ""
    recovery.joining.seen_revision = revision
    looked = look_at(step, recovery, attempt.layout, is_reliable=attempt.is_reliable)
    if not looked.lacking:
        attempt.contents = looked.contents
        _line_up(step, recovery, attempt)
    return looked.lacking


def _line_up(step: Step, recovery: Recovery, attempt: Attempt) -> None:
    """Note what each source can be asked for."""
    known = recovery.joining.known
    attempt.wanted = {
        digest: index
        for index, contents in attempt.contents.items()
        for digest in contents
        if digest not in known
    }
    attempt.queues = {}
    own = {held.digest for held in recovery.own}
    able = counting_peers(step, recovery, is_reliable=attempt.is_reliable)
    shards = step.state.job_claims.shards(recovery.checkpoint, attempt.layout)
    for digest, index in attempt.wanted.items():
        if digest in own:
            attempt.queues.setdefault(None, deque()).append(digest)
        for path in shards.get(index, {}).get(digest, ()):
            is_able = path in able and digest in able[path].holdings
            if is_able and (not attempt.is_reliable or counts(step, recovery, able[path], digest)):
                attempt.queues.setdefault(path, deque()).append(digest)


def _renew_patience(step: Step, recovery: Recovery, attempt: Attempt) -> None:
    options = step.options.manifests
    patience_ns = options.patience_ns >> min(recovery.search.given_way, 10)
    attempt.give_way_at_ns = step.now + max(patience_ns, options.patience_min_ns)


def abandon(step: Step, recovery: Recovery) -> None:
    """Collect the manifests of a version no further: another one is looked for."""
    attempt = recovery.joining.attempt
    if attempt is not None:
        for path in list(attempt.late_ns):
            drop_question(step, recovery, path, recovery.search.asked[path])
    recovery.joining.attempt = None


def collect(step: Step, recovery: Recovery, attempt: Attempt) -> None:
    """Ask every source that is free for the next manifest that it claims and that is wanted."""
    if not attempt.wanted:
        return
    asked, now = recovery.search.asked, step.now
    under_way = {asked[path] for path, late_ns in attempt.late_ns.items() if now < late_ns}
    for path, queue in attempt.queues.items():
        if len(attempt.late_ns) >= AT_ONCE_MAX:
            break
        if queue and path not in asked and _may_be_asked(step, attempt, path):
            digest = _next(attempt, queue, under_way)
            if digest is not None:
                under_way.add(digest)
                attempt.late_ns[path] = now + _patience_ns(step, path)
                asked[path] = digest
                step.order(FetchManifest(recovery.id, path, digest))


def next_due_ns(step: Step, recovery: Recovery, attempt: Attempt) -> int:
    """Return when an attempt is to be looked at though nothing happened."""
    moments = [attempt.give_way_at_ns]
    moments += (late_ns for late_ns in attempt.late_ns.values() if late_ns > step.now)
    moments += (rests_ns for rests_ns in attempt.rests_ns.values() if rests_ns > step.now)
    return max(min(moments), step.now + 1)


def give_up(step: Step, recovery: Recovery, attempt: Attempt, why: str) -> None:
    """Try a version no more for a while whose manifests do not come.

    It is held against those who could be asked, once for each, however much it is.
    """
    until_ns = step.now + step.options.manifests.patience_max_ns
    recovery.joining.failed[attempt.layout] = Failed(why, until_ns, step.state.job_claims.returns)
    origins: dict[Origin, Digest] = {}
    for path in attempt.queues:
        peer = None if path is None else step.state.peers.get(path)
        digest = next((each for each in attempt.queues[path] if each in attempt.wanted), None)
        if peer is not None and digest is not None:
            origins.setdefault(peer.origin, digest)
    for origin, digest in origins.items():
        recovery.search.claimant(origin).failed.add(digest)
    recovery.search.given_way += 1


def _next(attempt: Attempt, queue: deque[Digest], under_way: set[Digest]) -> Digest | None:
    """Take the first of a queue that is wanted and that nobody was asked for; it stays in it."""
    for _ in range(len(queue)):
        digest = queue.popleft()
        if digest not in attempt.wanted:
            continue
        queue.append(digest)
        if digest not in under_way:
            return digest
    return None


def _patience_ns(step: Step, path: PathId | None) -> int:
    peer = None if path is None else step.state.peers.get(path)
    usual_ns = 0 if peer is None else peer.link.latency_ns or 0
    return max(step.options.silence.gaps * usual_ns, step.options.silence.floor_ns)


def _may_be_asked(step: Step, attempt: Attempt, path: PathId | None) -> bool:
    """Tell whether a source is there, is trusted, and did not fail to deliver just now."""
    if path is None:
        return True
    peer = step.state.peers.get(path)
    if peer is None or not peer.is_live or peer.standing.quarantined_until_ns > step.now:
        return False
    return attempt.rests_ns.get(path, 0) <= step.now


def _take_answer(recovery: Recovery, source: PathId | None) -> tuple[Digest, bool]:
    """Take an answer; its source may be asked for another shard."""
    if recovery.joining.attempt is not None:
        recovery.joining.attempt.late_ns.pop(source, None)
    return recovery.search.take_answer(source)


def on_manifest_arrived(step: Step, recovery: Recovery, event: ManifestArrived) -> None:
    """Learn what a shard consists of, as far as it matters for what is whole."""
    if recovery.request.job is None:
        manifest_search.on_manifest_arrived(step, recovery, event)
        return
    digest, _ = _take_answer(recovery, event.source)
    attempt = recovery.joining.attempt
    index = None if attempt is None else attempt.wanted.get(digest)
    if attempt is None or index is None:
        return
    manifest = event.space.manifest
    name = shard_name(recovery.checkpoint, Shard(index, attempt.layout.shard_count))
    if (manifest.checkpoint, manifest.version) != (name, attempt.layout.version):
        missed = ManifestMissed(recovery.id, event.source, is_lie=True)
        _miss(step, recovery, digest, missed, was_dropped=False)
        return
    optional = event.space.optional_blocks()
    recovery.joining.known[digest] = KnownShard(event.space.block_count, optional)
    del attempt.wanted[digest]
    _renew_patience(step, recovery, attempt)
    recovery.local.worked()
    for path, asked in recovery.search.asked.items():
        if asked == digest:
            drop_question(step, recovery, path, digest)


def on_manifest_missed(step: Step, recovery: Recovery, event: ManifestMissed) -> None:
    """Remember who did not deliver a manifest; somebody else is asked next."""
    if recovery.request.job is None:
        manifest_search.on_manifest_missed(step, recovery, event)
        return
    digest, was_dropped = _take_answer(recovery, event.source)
    if event.shortage is not None:
        retry_or_fail(step, recovery, event.shortage)
    else:
        _miss(step, recovery, digest, event, was_dropped=was_dropped)


def on_manifest_refused(step: Step, recovery: Recovery, event: ManifestRefused) -> None:
    """Take a content for none that cannot be what its publisher meant."""
    if recovery.request.job is None:
        manifest_search.on_manifest_refused(step, recovery, event)
        return
    digest, _ = _take_answer(recovery, event.source)
    step.state.note_refused(digest, event.refusal.message)
    peer = None if event.source is None else step.state.peers.get(event.source)
    if peer is not None:
        blame_for_content(step, recovery, peer, digest, is_junk=event.refusal.is_junk)
    _look_again(recovery)


def _miss(
    step: Step, recovery: Recovery, digest: Digest, event: ManifestMissed, *, was_dropped: bool
) -> None:
    """Draw conclusions from a manifest that did not come.

    Args:
        step: The event being handled.
        recovery: For which recovery it was asked.
        digest: Which manifest.
        event: What became of it.
        was_dropped: Nobody waited for it any more.
    """
    recovery.search.signature_refusal = event.refusal or recovery.search.signature_refusal
    if event.source is None:
        recovery.search.own_missed.add(digest)
        _look_again(recovery)
        return
    peer = step.state.peers.get(event.source)
    if peer is None:
        return
    attempt = recovery.joining.attempt
    if blame_for_missed(step, recovery, peer, digest, event, was_dropped=was_dropped):
        if attempt is not None:
            attempt.rests_ns[event.source] = peer.usable_at_ns
        return
    if attempt is not None and not attempt.is_reliable:
        attempt.rests_ns[event.source] = step.now + step.options.commits.retry_ns
    _look_again(recovery)


def _look_again(recovery: Recovery) -> None:
    """Look again at what is whole: something that was claimed does not count any more."""
    recovery.joining.seen_revision = -1


HANDLERS: Final = (
    RecoveryHandler(ManifestArrived, on_manifest_arrived),
    RecoveryHandler(ManifestMissed, on_manifest_missed),
    RecoveryHandler(ManifestRefused, on_manifest_refused),
)
"""What is taken in here: those of recoveries of checkpoints go to the search for a manifest."""
