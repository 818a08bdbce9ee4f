"""Which versions of jobs nodes placed last, as they say themselves.

It decides nothing: what is placed stays. It shows that halves of a network that was split went
different ways.
"""

from __future__ import annotations

from ckptd.core.state.knowledge import State
from ckptd.model.ids import CheckpointName, NodeId, Version


def placed_versions(state: State, *, now: int) -> dict[CheckpointName, dict[NodeId, Version]]:
    """Return which version of each job every live peer placed last that is not in quarantine."""
    found: dict[CheckpointName, dict[NodeId, Version]] = {}
    for peer in state.peers.values():
        if peer.placed and peer.is_live and peer.standing.quarantined_until_ns <= now:
            for job, version in peer.placed:
                found.setdefault(job, {})[peer.node] = version
    return found
