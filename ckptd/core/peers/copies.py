"""Which other nodes have a version, by what they say: whether this node may let it go.

A claim is no proof. It counts only from a live node that is not distrusted, and once for each node
and each origin; what this node does not know of counts as not there.
"""

from __future__ import annotations

from ckptd.core.options import TrustOptions
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Origin, PathId, Version


def copies_of(state: State, own: Holding, options: TrustOptions, *, now: int) -> tuple[PathId, ...]:
    """Return a path to each other node that says it has all of a version that is required.

    Args:
        state: What is known.
        own: The version as this node has it: that says what is required of it.
        options: Who is distrusted.
        now: The moment, in nanoseconds.
    """
    found: list[PathId] = []
    nodes: set[NodeId] = set()
    origins: set[Origin] = set()
    for path, peer in sorted(state.peers.items()):
        holding = peer.holding_of(own.digest)
        if holding is None or not peer.is_live or peer.is_own or not has_all(holding, own):
            continue
        if peer.standing.is_distrusted(options, now=now) or _is_doubtful(peer, own.digest):
            continue
        if peer.node in nodes or peer.origin in origins:
            continue
        nodes.add(peer.node)
        origins.add(peer.origin)
        found.append(path)
    return tuple(found)


def _is_doubtful(peer: Peer, digest: Digest) -> bool:
    """Return whether a peer sent bad blocks of a version, and has not sent them rightly since."""
    doubts = peer.standing.doubts.get(digest)
    return doubts is not None and any(
        unit.bad or unit.is_unproven for unit in doubts.units.values()
    )


def has_all(said: Holding, own: Holding) -> bool:
    """Return whether somebody says that he has all of a version that is required.

    What is required is what this node knows of its manifest, whatever the other one says.
    """
    if said.block_count != own.block_count:
        return False
    return said.is_complete or len(said.blocks | own.optional) == own.block_count


def parts_of(state: State, own: Holding) -> dict[NodeId, int]:
    """Return how many blocks those have who say that they have a version in part: they recover it.

    Whoever has a part that does not grow may have chosen that; here they look the same.
    """
    found: dict[NodeId, int] = {}
    for peer in state.peers.values():
        holding = peer.holding_of(own.digest)
        if holding is not None and peer.is_live and not peer.is_own and not has_all(holding, own):
            found[peer.node] = max(len(holding.blocks), found.get(peer.node, 0))
    return found


def is_recovered(state: State, job: CheckpointName, version: Version) -> bool:
    """Return whether a live peer says that it recovers a version of a job."""
    return any(peer.is_live and (job, version) in peer.recovering for peer in state.peers.values())
