"""What peers claim, and this node has, of the checkpoint that a recovery is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from ckptd.core.options import ManifestOptions
from ckptd.core.report.rivals import Rival
from ckptd.core.stages.version_choice import contents_of_choice
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer, of_version, once_for_each_node
from ckptd.core.state.record.rivalry import Claim
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version

_SEEN_MAX: Final = 64
"""Of so many versions the manifest is looked at to learn whether what is wanted is within reach."""


class Claimed(NamedTuple):
    """What somebody has of the checkpoint of a recovery: a peer says so, or this node has it."""

    peer: Peer | None
    holding: Holding


def claims_on(
    step: Step, recovery: Recovery, *, is_reliable: bool, is_lost: bool = False
) -> list[Claimed]:
    """Return what live peers say they have, and this node has, that may be chosen.

    Of each peer it is the newest few versions that were not refused: what a peer invents costs
    no more than what one has.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        is_reliable: Only of peers that are not in quarantine and did not lead this recovery astray,
            and nothing that was withdrawn here.
        is_lost: What lost peers said instead, and not what this node has.
    """
    may_be_chosen = _selection(step, recovery)
    claims: list[Claimed] = []
    for peer in step.state.peers.values():
        if peer.is_live is is_lost or (is_reliable and is_distrusted(step, recovery, peer)):
            continue
        claims += _of_peer(step, recovery, peer, may_be_chosen, is_reliable=is_reliable)
    return claims + [
        Claimed(None, as_chosen(recovery, holding))
        for holding in (() if is_lost else recovery.own)
        if may_be_chosen(holding.digest)
        and not (is_reliable and holding.digest in recovery.request.withdrawn)
    ]


def _selection(step: Step, recovery: Recovery) -> Callable[[Digest], bool]:
    """Return what tells of a content whether it was asked for, and was not refused."""
    request = recovery.request
    refused = unsigned_contents(step, recovery) | recovery.rivalry.unusable
    contents_refused = step.state.refused_contents
    wanted = request.from_node
    sources = [peer for peer in step.state.peers.values() if peer.is_live and peer.node == wanted]

    def may_be_chosen(digest: Digest) -> bool:
        return (
            digest not in refused
            and digest not in contents_refused
            and digest.startswith(request.digest_prefix)
            and (wanted is None or any(digest in source.holdings for source in sources))
        )

    return may_be_chosen


def _of_peer(
    step: Step,
    recovery: Recovery,
    peer: Peer,
    may_be_chosen: Callable[[Digest], bool],
    *,
    is_reliable: bool,
) -> Iterator[Claimed]:
    """Yield the newest versions of a peer that may be chosen.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        peer: Whose.
        may_be_chosen: Tells of a content whether it may be.
        is_reliable: Nothing of which the manifest was asked of it without success.
    """
    rejected = recovery.rivalry.rejected
    claimant = recovery.search.claimants.get(peer.origin)
    holdings: Sequence[Holding] = peer.newest_first(recovery.checkpoint)
    if recovery.wanted_version is not None:
        holdings = of_version(holdings, recovery.wanted_version)
    is_doubtful = is_reliable and claimant is not None
    eligible = (
        Claimed(peer, as_chosen(recovery, holding))
        for holding in holdings
        if may_be_chosen(holding.digest)
        and not (rejected and claim_of(peer, holding) in rejected)
        and not (is_doubtful and claimant and claimant.has_missed(holding.digest))
    )
    return islice(eligible, step.options.manifests.claims_max)


def as_chosen(recovery: Recovery, holding: Holding) -> Holding:
    """Return a holding in which what a recovery does not want may be missing."""
    if not recovery.request.is_by_choice:
        return holding
    return without_unchosen(holding, recovery.search.unchosen)


def without_unchosen(holding: Holding, seen: Mapping[Digest, BlockSet]) -> Holding:
    """Return a holding in which what is not wanted may be missing, where not all units are wanted.

    Nobody knows which blocks those are before the manifest was seen: until then it is taken for
    whole if there is anything of it, of so many versions.

    Args:
        holding: Who has what of a version.
        seen: Of versions whose manifests were seen: the blocks that are not wanted.
    """
    if holding.is_whole:
        return holding
    unchosen = seen.get(holding.digest)
    if unchosen is None:
        if len(seen) >= _SEEN_MAX or not holding.blocks:
            return holding
        unchosen = BlockSet.full(holding.block_count)
    return replace(holding, optional=holding.optional | unchosen)


def is_choice_reachable(step: Step, recovery: Recovery, digest: Digest, unchosen: BlockSet) -> bool:
    """Tell whether a version may be recovered of which not all is wanted, and remember what is not.

    If nobody named it, all that is wanted must be within reach.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        digest: Which version; its manifest was just seen.
        unchosen: Its blocks that are not wanted.
    """
    seen = recovery.search.unchosen
    if digest in seen or len(seen) < _SEEN_MAX:
        seen[digest] = unchosen
    if recovery.wanted_version is not None or recovery.is_begun:
        return True
    claims = claims_on(step, recovery, is_reliable=False)
    return any(
        known == digest
        for _, known in contents_among(
            recovery, (each for each in claims if each.holding.digest == digest)
        )
    )


def unsigned_contents(step: Step, recovery: Recovery) -> set[Digest]:
    """Return the contents of which nobody who claims them has signatures that suffice.

    Whoever claims one later may have them: that others delivered it without is nothing against it.
    """
    unsigned = set(recovery.search.unsigned)
    for peer in step.state.peers.values() if unsigned else ():
        if peer.is_live:
            claimed = unsigned & peer.holdings.keys()
            unsigned -= {each for each in claimed if counts(step, recovery, peer, each)}
    return unsigned


def is_distrusted(step: Step, recovery: Recovery, peer: Peer) -> bool:
    """Tell whether nothing that a peer claims counts for a recovery while others have something."""
    claimant = recovery.search.claimants.get(peer.origin)
    is_spent = claimant is not None and claimant.is_spent(step.options.manifests)
    return is_spent or peer.standing.quarantined_until_ns > step.now


def counts(step: Step, recovery: Recovery, peer: Peer, digest: Digest) -> bool:
    """Tell whether the claim of a peer to a content counts for a recovery."""
    claimant = recovery.search.claimants.get(peer.origin)
    has_missed = claimant is not None and claimant.has_missed(digest)
    return not has_missed and not is_distrusted(step, recovery, peer)


def claim_of(peer: Peer, holding: Holding) -> Claim:
    """Return the name of a claim: by whom, in which life of it, and to which content."""
    return (peer.path, peer.epoch, holding.digest)


def claimed_contents(
    state: State, checkpoint: CheckpointName, version: Version | None, *, now: int
) -> tuple[Rival, ...]:
    """Return what live peers that are not in quarantine claim, the newest version first.

    Args:
        state: What is known.
        checkpoint: Of which checkpoint.
        version: Which version; ``None`` for all.
        now: The moment, in nanoseconds.
    """
    nodes: dict[Digest, set[NodeId]] = {}
    known: dict[Digest, Holding] = {}
    for peer in state.peers.values():
        if not peer.is_live or peer.standing.quarantined_until_ns > now:
            continue
        of_checkpoint: Sequence[Holding] = peer.newest_first(checkpoint)
        for holding in of_checkpoint if version is None else of_version(of_checkpoint, version):
            known.setdefault(holding.digest, holding)
            nodes.setdefault(holding.digest, set()).add(peer.node)
    return tuple(
        Rival(digest, holding.size_bytes, tuple(sorted(nodes[digest])))
        for digest, holding in sorted(known.items(), key=lambda item: (-item[1].version, item[0]))
    )


def rivals_of_choice(
    state: State,
    checkpoint: CheckpointName,
    wanted: Version | None,
    not_below: Version | None,
    own: Sequence[Holding],
    *,
    now: int,
) -> tuple[Rival, ...]:
    """Return the contents of the version that would be chosen, that with most holders first.

    Nobody was asked for proof.

    Args:
        state: What is known.
        checkpoint: Of which checkpoint.
        wanted: A version somebody named; ``None`` for the newest.
        not_below: Without ``wanted``: no older version than this is taken.
        own: What stands on this node's disks of the checkpoint.
        now: The moment, in nanoseconds.
    """
    reliable = state.claimed(checkpoint, wanted, at_most=ManifestOptions().claims_max, now=now)
    contents = contents_of_choice([*reliable, *own], checkpoint, wanted, not_below)
    mine = {holding.digest: holding.size_bytes for holding in own}
    version = contents[0][0] if contents else None
    claimed = {
        rival.digest: rival for rival in claimed_contents(state, checkpoint, version, now=now)
    }
    return tuple(
        replace(
            claimed.get(digest) or Rival(digest, mine.get(digest, 0), ()), is_own=digest in mine
        )
        for _, digest in contents
    )


def contents_among(
    recovery: Recovery, claims: Iterable[Claimed], *, is_whole: bool = False
) -> tuple[tuple[Version, Digest], ...]:
    """Return what goes by the version that is to be chosen; the best first.

    Args:
        recovery: For which recovery.
        claims: What is chosen from.
        is_whole: Only what can be completed.
    """
    request = recovery.request
    not_below = None if request.digest_prefix else request.not_below  # it was named
    claims = list(claims)
    holdings = once_for_each_node(
        (each.peer, each.holding) for each in claims if each.peer is not None
    )
    own = [each.holding for each in claims if each.peer is None]
    return contents_of_choice(
        [*holdings, *own], request.checkpoint, recovery.wanted_version, not_below, is_whole=is_whole
    )
