"""What peers claim, and this node has, of the checkpoint that a recovery is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ckptd.core.report.rivals import Rival
from ckptd.core.stages.version_choice import contents_of_choice
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer, once_for_each_node
from ckptd.core.state.record.rivalry import Claim
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version


class Claimed(NamedTuple):
    """What somebody has of the checkpoint of a recovery: a peer says so, or this node has it."""

    peer: Peer | None
    holding: Holding


def claims_on(step: Step, recovery: Recovery, *, is_reliable: bool) -> list[Claimed]:
    """Return what live peers say they have, and this node has, that may be chosen.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        is_reliable: Only of peers that are not in quarantine, and nothing that was withdrawn here.
    """
    request, rivalry = recovery.request, recovery.rivalry
    claims = [
        Claimed(peer, holding)
        for peer in step.state.peers.values()
        if peer.is_live and not (is_reliable and peer.standing.quarantined_until_ns > step.now)
        for holding in peer.holdings.values()
        if holding.checkpoint == recovery.checkpoint
        and not (rivalry.rejected and claim_of(peer, holding) in rivalry.rejected)
    ]
    claims += [
        Claimed(None, holding)
        for holding in recovery.own
        if not (is_reliable and holding.digest in request.withdrawn)
    ]
    refused = recovery.search.unsigned | rivalry.unusable | step.state.contradictions.keys()
    digests = {each.holding.digest for each in claims} - refused
    digests = {digest for digest in digests if digest.startswith(request.digest_prefix)}
    if request.from_node is not None:
        digests &= {
            each.holding.digest
            for each in claims
            if each.peer is not None and each.peer.node == request.from_node
        }
    return [each for each in claims if each.holding.digest in digests]


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
        for holding in peer.holdings.values():
            if holding.checkpoint == checkpoint and version in {None, holding.version}:
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
    reliable = once_for_each_node(
        (peer.node, holding)
        for peer in state.peers.values()
        if peer.is_live and peer.standing.quarantined_until_ns <= now
        for holding in peer.holdings.values()
    )
    contents = contents_of_choice([*reliable, *own], checkpoint, wanted, not_below)
    mine = {holding.digest: holding.size_bytes for holding in own}
    claimed = {rival.digest: rival for rival in claimed_contents(state, checkpoint, None, now=now)}
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
        (each.peer.node, each.holding) for each in claims if each.peer is not None
    )
    own = [each.holding for each in claims if each.peer is None]
    return contents_of_choice(
        [*holdings, *own], request.checkpoint, recovery.wanted_version, not_below, is_whole=is_whole
    )
