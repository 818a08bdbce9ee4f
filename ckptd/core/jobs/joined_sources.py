"""What live peers have of shards that would be joined, for who only wants to know."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.core.explain.prediction import Supply, supply_of
from ckptd.core.explain.snapshot import view_peer
from ckptd.core.peers.joined_holdings import joined_holding
from ckptd.core.report.views import PeerSnapshot
from ckptd.core.state.knowledge import State
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest
from ckptd.model.joint import Joint


@dataclass(frozen=True, slots=True)
class JoinedSource:
    """What a live peer has of shards that are joined.

    Attributes:
        peer: The peer, on one of the paths to it.
        holding: What it has of them, as of one content.
        supply: What can be had from it; ``None``: nothing, it is in quarantine.
    """

    peer: PeerSnapshot
    holding: Holding
    supply: Supply | None


def joined_sources(state: State, digest: Digest, joint: Joint, *, now: int) -> list[JoinedSource]:
    """Return what each live peer has of some shards that are joined, and can give; by name.

    Args:
        state: What is known.
        digest: What the joined version is called.
        joint: What it consists of.
        now: The moment, in nanoseconds.
    """
    found = []
    for _, peer in sorted(state.peers.items()):
        holding = joined_holding(peer.holdings, digest, joint) if peer.is_live else None
        if holding is not None:
            is_source = peer.standing.quarantined_until_ns <= now
            supply = supply_of(state, peer, holding.blocks, now=now) if is_source else None
            found.append(JoinedSource(view_peer(state, peer, now=now), holding, supply))
    return found
