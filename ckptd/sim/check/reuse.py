"""What lies on a node's disks does not travel while they are as quick as the peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ckptd.core.effects import Effect, FetchRange
from ckptd.limits import MS
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import OWN_DISKS, NodeId, PathId
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.world.network import Network

JUDGED_NS: Final = 200 * MS
"""So soon the scheduler acts on what it has learned of a peer's rate."""


class Reuse(Check):
    """Peers are asked for nothing that is copied, or that lies here and is right.

    The latter only where they are as fast as the disks, where nobody knows yet how fast a peer
    is, or where the disks rest after a failure.

    Args:
        network: Knows how fast peers can be.
        copying: How many bytes a second the disks of each node copy that do so without failure;
            who sees disks hang is right to think them slow.
    """

    def __init__(self, network: Network, copying: Mapping[NodeId, int]) -> None:
        self._network = network
        self._copying = copying
        self._known_ns: dict[tuple[NodeId, PathId], int] = {}

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at what is asked of peers."""
        if not isinstance(effect, FetchRange) or effect.source == OWN_DISKS:
            return
        recovery = book.recoveries[effect.recovery]
        _check_owed_by_disks(book, recovery, effect)
        blocks = BlockSet.of_run(effect.blocks) & recovery.nearby
        if not blocks or self._copying.get(book.name, 0) <= self._peers_rate(book):
            return
        state, now = book.node.scheduler.inspect(), book.node.now
        peer = state.peers[effect.source]
        if state.learned.of(peer.path, peer.link, now=now) is None:
            return
        known_ns = self._known_ns.setdefault((book.name, effect.source), now)
        may_ask = state.own_disks.usable_at_ns > now or now < known_ns + JUDGED_NS
        if not may_ask and blocks & book.node.shelf.right(effect.digest):
            raise CheckFailed(book, f"{effect.source} is asked for {blocks}, which lies here")

    def at_crash(self, book: NodeBook) -> None:
        """Forget whose rates were known."""
        self._known_ns = {
            pair: known_ns for pair, known_ns in self._known_ns.items() if pair[0] != book.name
        }

    def _peers_rate(self, book: NodeBook) -> float:
        ports = self._network.ports
        egress = sum(
            port.egress.rate_bytes_per_s for name, port in ports.items() if name != book.name
        )
        return min(egress, ports[book.name].ingress.rate_bytes_per_s)


def _check_owed_by_disks(book: NodeBook, recovery: RecoveryAccount, order: FetchRange) -> None:
    """Check that nobody else is asked for what this node's disks copy: only one may write it."""
    for attempt in recovery.attempts.values():
        start, end = max(attempt.next_block, order.blocks.start), attempt.order.blocks.end
        if attempt.order.source == OWN_DISKS and start < min(end, order.blocks.end):
            raise CheckFailed(book, f"{order.source} is asked for {order.blocks}, which is copied")
