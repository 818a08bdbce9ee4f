"""What follows from one block that was drawn from what a peer claims, fetched for no recovery."""

from __future__ import annotations

from typing import Final, NamedTuple

from ckptd.core.events import ClaimAudited
from ckptd.core.peers.blame import question_claim
from ckptd.core.peers.claims import count_sources
from ckptd.core.report.evidence import BadBlock
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.step import NodeHandler, Step
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, Epoch, NodeId, Origin, PathId, RecoveryId

AUDIT: Final = RecoveryId("audit")
"""What a bad block was fetched for that no recovery wanted."""


class AuditableClaim(NamedTuple):
    """What a peer says that it has of a version.

    Attributes:
        path: On which path it answers.
        node: Who it says it is.
        origin: Who it is.
        epoch: Which life of it.
        holding: What it claims.
    """

    path: PathId
    node: NodeId
    origin: Origin
    epoch: Epoch
    holding: Holding


def claim_moments(state: State, *, now: int) -> dict[PathId, tuple[Epoch, int]]:
    """Return of each live peer that is not in quarantine which life it is, and when it said what.

    Cost: O(peers).
    """
    return {
        path: (peer.epoch, peer.claimed_ns)
        for path, peer in state.peers.items()
        if peer.is_live and peer.standing.quarantined_until_ns <= now
    }


def claims_of(state: State, path: PathId) -> list[AuditableClaim]:
    """Return everything that a live peer said last that it has; of shards what it said itself."""
    peer = state.peers.get(path)
    if peer is None or not peer.is_live:
        return []
    return [
        AuditableClaim(path, peer.node, peer.origin, peer.epoch, holding) for holding in peer.said
    ]


def claims_of_node(state: State, node: NodeId, digest: Digest) -> list[tuple[Origin, Holding]]:
    """Return what a node says that it has of a version, on each path on which it is live.

    Nothing of who sent a bad block of it, and has not sent it rightly since. Cost: that of a look
    into three tables for each path: it is asked of every claim every few seconds.
    """
    found: list[tuple[Origin, Holding]] = []
    for path in state.paths.get(node, ()):
        peer = state.peers[path]
        holding = peer.holdings.get(digest) if peer.is_live else None
        if holding is not None and not (
            peer.standing.doubts and doubted_blocks(state, path, digest)
        ):
            found.append((peer.origin, holding))
    return found


def doubted_blocks(state: State, path: PathId, digest: Digest) -> BlockSet:
    """Return which blocks of a version a peer sent wrongly, and not rightly since."""
    peer = state.peers.get(path)
    doubts = None if peer is None else peer.standing.doubts.get(digest)
    return BlockSet() if doubts is None else union(unit.bad for unit in doubts.units.values())


def on_claim_audited(step: Step, event: ClaimAudited) -> None:
    """Blame a wrong block as one that came for a recovery: its sender is asked about it first.

    A right one takes away what was thought of that very block. A manifest that is another one
    cannot be excused. What was asked of another life, or of somebody else, counts for nothing.
    """
    peer = step.state.peers.get(event.path)
    if peer is None or (peer.origin, peer.epoch) != (event.origin, event.epoch):
        return
    digest = event.holding.digest
    if event.is_right:
        _take_back(step, peer, digest, event.block)
    elif event.block is None:
        peer.withdraw(digest)
        peer.link.failed(step.options, step.rng, now=step.now)
        peer.standing.blame(step.options.trust.per_bad_block, step.options, now=step.now)
        count_sources(step)
        step.rest(peer.path)
    else:
        _note_evidence(step, peer, event)
        question_claim(step, peer, digest, event.block)


def _take_back(step: Step, peer: Peer, digest: Digest, block: int | None) -> None:
    doubts = peer.standing.doubts.get(digest)
    if doubts is None or block is None:
        return
    for unit in doubts.among(BlockSet.single(block)):
        unit.is_unproven = False
        unit.bad = unit.bad.without_run((block, block + 1))
    step.note_room_of(peer)


def _note_evidence(step: Step, peer: Peer, event: ClaimAudited) -> None:
    holding = event.holding
    peer.standing.evidence.note(
        BadBlock(
            step.now,
            holding.checkpoint,
            holding.version,
            holding.digest,
            event.unit,
            event.unit_block,
            AUDIT,
        )
    )


HANDLERS: Final = (NodeHandler(ClaimAudited, on_claim_audited),)
"""What is taken in here."""
