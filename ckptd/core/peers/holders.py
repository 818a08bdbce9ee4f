"""Who holds any of the version of a recovery, and who recovers it as well."""

from __future__ import annotations

from ckptd.core.state.peer import Peer, once_for_each_node
from ckptd.core.state.record.spread import Spread
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.holdings import Holding


def look_for_holders(step: Step) -> None:
    """Look for each recovery who holds any of its version, and who recovers it as well."""
    for recovery in step.state.recoveries.values():
        if recovery.digest is not None:
            count_holders(step, recovery)
            take_stock(step, recovery)


def count_holders(step: Step, recovery: Recovery) -> None:
    """Count the sources that hold any of a version; a node is one on each path to it."""
    said = _said(step, recovery)
    recovery.swarm.source_count = len(said)
    recovery.swarm.is_swarming = any(holding.is_growing for _, holding in said)


def take_stock(step: Step, recovery: Recovery) -> None:
    """Note which blocks other nodes have that recover the version as well."""
    holdings = once_for_each_node(_said(step, recovery))
    recovery.swarm.spread = Spread(each.blocks for each in holdings if each.is_growing)


def _said(step: Step, recovery: Recovery) -> list[tuple[Peer, Holding]]:
    """Return what live peers have of the version of a recovery, on each path to them."""
    return [
        (peer, peer.holdings[recovery.digest])
        for peer in step.state.peers.values()
        if peer.is_live and recovery.digest in peer.holdings
    ]
