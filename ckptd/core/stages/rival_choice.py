"""Which of several contents a recovery is for that go by one checkpoint and version.

Two jobs took one name, a step was saved twice, nodes published their own shards: nobody but a
person knows which one is meant. What is known without asking goes first: a content that a trusted
key signed, then one that this node has or had. A content counts only if somebody was seen to have
it, by its manifest and a block drawn here, and never for a peer in quarantine: or whoever invents a
digest would stop everybody. Where only one is claimed nothing is examined.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from ckptd.core.effects import ExamineRival
from ckptd.core.events import RivalExamined
from ckptd.core.explain.narration import report_examined
from ckptd.core.peers.blame import question_claim
from ckptd.core.report.rivals import Rival, conflict_message
from ckptd.core.stages.claims_on_content import Claimed, claim_of
from ckptd.core.stages.ending import fail, is_out_of_patience
from ckptd.core.stages.manifest_faults import blame_for_content, blame_for_manifest
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.rivalry import Claim, Examined
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, Origin, PathId, Version
from ckptd.model.words import FailureCause, OnConflict, RivalVerdict


class _PeerClaim(NamedTuple):
    """What a peer says it has."""

    peer: Peer
    holding: Holding

    @property
    def key(self) -> Claim:
        """Who says so, and of which content."""
        return claim_of(self.peer, self.holding)


class Settled(NamedTuple):
    """Which content was chosen, and why."""

    digest: Digest
    why: str


def settle_rivals(
    step: Step,
    recovery: Recovery,
    version: Version,
    contents: Sequence[Digest],
    claims: Iterable[Claimed],
    *,
    count: int,
) -> Settled | None:
    """Choose one of several contents, or find out first which of them are genuine.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        version: What all of them go by.
        contents: Their digests, that with most holders first.
        claims: Who has any of them; this node, or peers that are not in quarantine.
        count: How many there are with those that do not count any more; more than one.

    Returns:
        The one that was chosen; ``None`` if none is yet, or if the recovery ended for it.
    """
    of_version = [each for each in claims if each.holding.version == version]
    own = {each.holding.digest for each in of_version if each.peer is None}
    by_digest = _by_digest(step, of_version)
    seen = own.union(recovery.rivalry.genuine)
    is_late = _is_late(step, recovery)
    if is_late:
        _discount(step, recovery, [by_digest.get(digest, []) for digest in set(contents) - seen])
    else:
        is_open = [_examine(step, recovery, by_digest.get(digest, [])) for digest in contents]
        if any(is_open):
            recovery.starved_since_ns = None
            return None
    genuine = [digest for digest in contents if digest in seen]
    if is_late or genuine:
        recovery.rivalry.late_at_ns = None
    if not genuine and is_late:
        recovery.search.given_way += 1
        return None
    if not genuine:
        recovery.starved_since_ns = None
        recovery.rivalry.unanswered.clear()
        recovery.local.retry_at_ns = step.now + step.options.commits.retry_ns
        return None
    if len(genuine) == 1:
        return Settled(genuine[0], f"the only one of {count} contents that could be seen")
    own = (own | recovery.request.had) - recovery.request.copied
    rivals = [_rival(recovery, by_digest.get(digest, []), digest, own) for digest in genuine]
    return _settle(step, recovery, version, rivals)


def _is_late(step: Step, recovery: Recovery) -> bool:
    """Tell whether the contents of this version were looked at for as long as may be."""
    rivalry, options = recovery.rivalry, step.options.rivals
    if rivalry.late_at_ns is None:
        patience_ns = options.patience_ns >> min(recovery.search.given_way, 10)
        rivalry.late_at_ns = step.now + max(patience_ns, options.patience_min_ns)
    return step.now >= rivalry.late_at_ns


def _discount(step: Step, recovery: Recovery, unseen: Iterable[Sequence[_PeerClaim]]) -> None:
    """Let claims not count any more that nobody could look at."""
    for claimed in unseen:
        for peer, holding in claimed:
            recovery.search.claimant(peer.origin).failed.add(holding.digest)


def _by_digest(step: Step, claims: Iterable[Claimed]) -> dict[Digest, list[_PeerClaim]]:
    """Return who claims which content, without peers that claim more of them than anybody has."""
    by_origin: dict[Origin, list[_PeerClaim]] = {}
    for peer, holding in claims:
        if peer is not None:
            by_origin.setdefault(peer.origin, []).append(_PeerClaim(peer, holding))
    by_digest: dict[Digest, list[_PeerClaim]] = {}
    for claimed in by_origin.values():
        contents = {each.holding.digest for each in claimed}
        if len(contents) <= step.options.rivals.per_node_max:
            for each in claimed:
                by_digest.setdefault(each.holding.digest, []).append(each)
    return by_digest


def _examine(step: Step, recovery: Recovery, claimed: Sequence[_PeerClaim]) -> bool:
    """Have somebody's claim to a content examined, unless that is settled.

    Returns:
        Whether something of it is not known yet.
    """
    rivalry, options = recovery.rivalry, step.options.rivals
    if any(each.holding.digest in rivalry.genuine for each in claimed):
        return False
    if any((each.peer.path, each.holding.digest) in rivalry.asked for each in claimed):
        return True
    untried = [
        each
        for each in claimed
        if rivalry.unanswered.get(each.key, 0) < options.tries_max and _can_be_seen(each)
    ]
    if not untried:
        return False
    if len(rivalry.asked) >= options.at_once_max:
        return True

    def rank(each: _PeerClaim) -> tuple[int, int, int, PathId]:
        link = each.peer.link
        tries = rivalry.unanswered.get(each.key, 0)
        return (tries, link.failures, link.queue_time_ns(step.options), each.peer.path)

    best = min(untried, key=rank)
    blocks = best.holding.blocks
    block = blocks.nth(step.rng.randrange(len(blocks))) if blocks else None
    rivalry.asked[best.peer.path, best.holding.digest] = best.peer.epoch
    digest, version = best.holding.digest, best.holding.version
    step.order(ExamineRival(recovery.id, version, digest, best.peer.path, block))
    return True


def _can_be_seen(each: _PeerClaim) -> bool:
    """Tell whether a holder has a block that can be asked for, or the version has none."""
    return bool(each.holding.blocks) or not each.holding.block_count


def _rival(
    recovery: Recovery, claimed: Sequence[_PeerClaim], digest: Digest, own: Collection[Digest]
) -> Rival:
    seen = recovery.rivalry.genuine.get(digest)
    if seen is None:  # it is here
        sizes = (held.size_bytes for held in recovery.own if held.digest == digest)
        seen = Examined(max(sizes, default=0))
    nodes = tuple(sorted({each.peer.node for each in claimed}))
    return Rival(
        digest, seen.size_bytes, nodes, seen.signers, seen.is_trusted, is_own=digest in own
    )


def _settle(
    step: Step, recovery: Recovery, version: Version, rivals: list[Rival]
) -> Settled | None:
    """Choose among contents that are all genuine."""
    count = len(rivals)
    if trusted := [rival for rival in rivals if rival.is_trusted]:
        rivals = trusted
        if len(rivals) == 1:
            signers = ", ".join(rivals[0].signers)
            return Settled(rivals[0].digest, f"of {count} contents the one signed by {signers}")
    if own := [rival for rival in rivals if rival.is_own]:
        rivals = own
        if len(rivals) == 1:
            return Settled(rivals[0].digest, f"of {count} contents the one this node had")
    message = conflict_message(recovery.checkpoint, version, rivals)
    if not recovery.is_background:
        recovery.version = version
        fail(step, recovery, FailureCause.CONFLICT, message, tuple(rivals))
        return None
    if step.options.rivals.on_conflict is OnConflict.MOST_HOLDERS:
        most = max(rivals, key=lambda rival: len(rival.nodes))
        return Settled(most.digest, f"of {count} contents the one that most nodes have; {message}")
    recovery.rivalry.listed = tuple(rivals)
    if is_out_of_patience(step, recovery, is_starved=True):
        recovery.version = version
        fail(step, recovery, FailureCause.CONFLICT, message, tuple(rivals))
    return None


def on_rival_examined(step: Step, recovery: Recovery, event: RivalExamined) -> None:
    """Take in what came of looking at a claim; a lie costs what any lie about a manifest does."""
    rivalry, digest = recovery.rivalry, event.digest
    claim = (event.source, rivalry.asked.pop((event.source, digest)), digest)
    report_examined(step, recovery, event)
    peer = step.state.peers.get(event.source)
    match event.verdict:
        case RivalVerdict.GENUINE:
            rivalry.genuine[digest] = Examined(event.size_bytes, event.signers, event.is_trusted)
        case RivalVerdict.UNUSABLE:
            rivalry.unusable.add(digest)
            step.state.note_refused(digest, event.refusal or "its manifest cannot be used")
        case RivalVerdict.NO_ANSWER:
            rivalry.unanswered[claim] = rivalry.unanswered.get(claim, 0) + 1
        case (
            RivalVerdict.FALSE
            | RivalVerdict.BAD_BLOCK
            | RivalVerdict.UNSIGNED
            | RivalVerdict.NOT_HELD
        ):
            rivalry.rejected.add(claim)
            recovery.search.signature_refusal = event.refusal or recovery.search.signature_refusal
    if peer is not None and event.verdict in {RivalVerdict.UNSIGNED, RivalVerdict.NOT_HELD}:
        recovery.search.claimant(peer.origin).unsuited.add(digest)
    if peer is None or (peer.path, peer.epoch, digest) != claim:
        return  # it is gone, or began another life
    if event.verdict in {RivalVerdict.FALSE, RivalVerdict.NO_ANSWER}:
        is_lie = event.verdict is RivalVerdict.FALSE
        is_kept = bool(event.refusal)
        blame_for_manifest(step, recovery, peer, digest, is_lie=is_lie, is_kept=is_kept)
    elif event.verdict is RivalVerdict.UNUSABLE:
        blame_for_content(step, recovery, peer, digest, is_junk=event.is_junk)
    elif event.verdict is RivalVerdict.BAD_BLOCK and event.block is not None:
        question_claim(step, peer, digest, event.block)


HANDLERS: Final = (RecoveryHandler(RivalExamined, on_rival_examined),)
"""What is taken in here."""
