"""What must hold when recoveries end: in time, with little waste, or with the right reason.

Promise P3: once faults stop and every needed block has an honest holder, a recovery completes
within one and a half times what the bandwidth allows, plus thirty seconds. What the bandwidth
allows is computed here without any scheduler.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from ckptd.core.effects import Effect, EndRecovery, PlaceVersion
from ckptd.limits import SECOND, refetch_bytes_max
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality, FailureCause, Result
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.node.node import Node
from ckptd.sim.world.layouts import SavedVersion
from ckptd.sim.world.network import Network, Port

SLACK: Final = 1.5
PATIENCE_NS: Final = 30 * SECOND
"""A recovery may take ``SLACK`` times the ideal and this."""

DUPLICATE_SHARE_MAX: Final = 0.05
"""Most duplicates, as a share of what is needed."""

OVERSHOOT_S: Final = 0.1
"""A simulated lane notices within two reports that staging is full."""


class Work(Check):
    """A recovery fetches little more than it needs, and counts all of it.

    Args:
        network: Knows how fast nodes receive.
        redundancy: From how many sources nodes ask for a critical range at the tail.
    """

    def __init__(self, network: Network, redundancy: int = 1) -> None:
        self._network = network
        self._redundancy = redundancy

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at a recovery that ends, and at what is given up as missing."""
        if isinstance(effect, PlaceVersion):
            _check_missing(book, effect)
        if not isinstance(effect, EndRecovery):
            return
        recovery = book.recoveries[effect.recovery]
        if effect.final.received_bytes != recovery.body_bytes:
            problem = f"{effect.recovery} counts {effect.final.received_bytes} bytes"
            raise CheckFailed(book, f"{problem}; {recovery.body_bytes} came")
        final = effect.final
        is_over = effect.result.is_success
        if is_over and final.reused_bytes != recovery.reused_bytes:
            problem = f"{effect.recovery} reused {final.reused_bytes} bytes"
            raise CheckFailed(book, f"{problem}; its disks brought {recovery.reused_bytes}")
        used_bytes = final.verified_bytes - final.resumed_bytes - final.local_bytes
        if final.received_bytes != used_bytes + sum(final.wasted_bytes.values()):
            problem = f"{effect.recovery} received {final.received_bytes} bytes"
            waste = {reason.value: size for reason, size in final.wasted_bytes.items()}
            raise CheckFailed(book, f"{problem}; it used {used_bytes} and wasted {waste}")
        if recovery.version is None:
            return
        size_bytes = recovery.version.size_bytes
        allowed = DUPLICATE_SHARE_MAX * size_bytes + recovery.bytes.cut
        if self._redundancy > 1:  # races may bring the critical units twice
            critical = recovery.version.classes[Criticality.CRITICAL] | recovery.prioritized
            allowed += recovery.version.set_bytes(critical)
        if recovery.bytes.duplicate > allowed:
            raise CheckFailed(book, f"{effect.recovery} got {recovery.bytes} for {size_bytes}")

    def at_crash(self, book: NodeBook) -> None:
        """Look at what a crash takes."""
        overshoot = OVERSHOOT_S * self._network.ports[book.name].ingress.rate_bytes_per_s
        for name, recovery in book.recoveries.items():
            if recovery.version is not None:
                bound = refetch_bytes_max(recovery.version.size_bytes)
                if recovery.bytes.forgotten_max > bound + overshoot:
                    raise CheckFailed(book, f"a crash takes {recovery.bytes} of {name}")


def _check_missing(book: NodeBook, order: PlaceVersion) -> None:
    """Check that blocks are given up only if no source says it has them."""
    recovery = book.recoveries[order.recovery]
    for source in book.said:
        held = (order.missing - order.unchosen) & book.servable(recovery, source)
        if held:
            raise CheckFailed(book, f"{order.recovery} gives up {held}; {source} has that")


def check_end(
    book: NodeBook, end: EndRecovery, *, excuses: frozenset[Result | FailureCause]
) -> None:
    """Check that a recovery ended well, or badly for a reason that the scenario gives.

    Raises:
        CheckFailed: It did not.
    """
    reason = end.cause if end.result is Result.FAILED else end.result
    if reason is not Result.COMPLETE and reason not in excuses:
        raise CheckFailed(book, f"{end.recovery} ends {end.result.value}: {end.message}")


def check_waiting(book: NodeBook, recovery: RecoveryAccount, *, is_obtainable: bool) -> None:
    """Check that a recovery which did not end in time waits for what nobody has, and says so.

    Args:
        book: Of its node.
        recovery: Which.
        is_obtainable: Honest nodes have all that it lacks.

    Raises:
        CheckFailed: It could go on, or names something else.
    """
    name = recovery.request.recovery
    view = book.node.scheduler.recovery(name, now=book.node.now)
    assert view is not None, f"{name} ended"
    if is_obtainable:
        why = view.waiting_for or "nothing"
        problem = f"{name} has {view.verified_bytes} of {view.total_bytes} bytes"
        raise CheckFailed(book, f"{problem} and has not ended; it waits for {why}")
    if recovery.version is None:
        return
    lacking = recovery.unclaimed()
    for source in book.said:
        lacking = lacking - book.servable(recovery, source)
    peers = book.node.scheduler.inspect().peers
    if not lacking and any(peers[source].standing.quarantines for source in book.said):
        return  # only liars have it, and it waits for the end of a quarantine
    if not lacking:
        raise CheckFailed(book, f"{name} waits for {view.waiting_for}, which is there")
    if view.missing_blocks != len(lacking):
        problem = f"{name} misses {view.missing_blocks} blocks"
        raise CheckFailed(book, f"{problem}; nobody has {lacking}")


class Ideal:
    """What the bandwidth allows: how long the transfers take that are left to do.

    Every run of blocks with the same holders is sent by these together, one run after another.
    That can be done, so a good scheduler is at least as fast.

    Args:
        nodes: All nodes, as they are now.
        network: Their rates.
    """

    def __init__(self, nodes: Mapping[NodeId, Node], network: Network) -> None:
        self._network = network
        self._holders = [
            node for node in nodes.values() if node.is_up and not node.server.bad_share
        ]

    def is_obtainable(self, version: SavedVersion, blocks: BlockSet) -> bool:
        """Tell whether each of some blocks is held by an honest node that runs."""
        for node in self._holders:
            blocks = blocks - node.server.good_blocks(version.digest)
        return not blocks

    def seconds(self, wanted: Iterable[tuple[Node, SavedVersion, BlockSet]]) -> float:
        """Return how long it takes until every receiver has what it wants.

        Args:
            wanted: Which node wants which blocks of which version.
        """
        egress_s = 0.0
        receiver_s: defaultdict[NodeId, float] = defaultdict(float)
        for receiver, version, blocks in wanted:
            port = self._network.ports[receiver.name]
            # Critical units are read once more before they are placed.
            read_bytes = version.set_bytes(version.classes[Criticality.CRITICAL])
            disk_bytes = version.set_bytes(blocks) + read_bytes
            taken_s = disk_bytes / receiver.disk.rate_bytes_per_s
            for size_bytes, holders in self._pieces(receiver, version, blocks):
                shares = [self._path_rate(holder, port) for holder in holders]
                taken_s += size_bytes / min(sum(shares), port.taken_bytes_per_s)
                egress_s += size_bytes / sum(holder.sent_bytes_per_s for holder in holders)
            receiver_s[receiver.name] += taken_s
        return max([egress_s, *receiver_s.values()])

    def _pieces(
        self, receiver: Node, version: SavedVersion, blocks: BlockSet
    ) -> Iterable[tuple[int, list[Port]]]:
        """Yield the bytes of the runs that the same nodes hold, and these nodes."""
        held = [
            (self._network.ports[node.name], node.server.good_blocks(version.digest) & blocks)
            for node in self._holders
            if node is not receiver
        ]
        bounds = sorted({bound for _, has in held for run in has.runs() for bound in run})
        for start, end in pairwise(bounds):
            holders = [port for port, has in held if start in has]
            if holders:
                yield version.run_bytes(start, end), holders

    def _path_rate(self, holder: Port, receiver: Port) -> float:
        rate = min(holder.sent_bytes_per_s, holder.serving_bytes_per_s)
        return min(rate, receiver.taken_bytes_per_s)
