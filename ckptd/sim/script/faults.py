"""What goes wrong: each fault is a value that says when, for how long, and to whom.

A fault that has an end heals itself; one without (``for_ns`` is ``None``) stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ckptd.core.events import (
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryResumed,
    Refusal,
    UnitsPrioritized,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, NodeId, RecoveryId
from ckptd.model.words import RangeOutcome
from ckptd.sim.node.node import Node
from ckptd.sim.node.simulated_peering import SimulatedPeering
from ckptd.sim.world.network import Network

Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class ClusterParts:
    """What faults can reach.

    Attributes:
        nodes: All nodes.
        network: What lies between them.
        peering: Who hears of whom.
    """

    nodes: Mapping[NodeId, Node]
    network: Network
    peering: SimulatedPeering


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        node: To whom it happens.
        at_ns: When it begins.
        for_ns: How long it lasts; ``None``: it stays. Without meaning for what is over at once.
    """

    node: NodeId
    at_ns: int
    for_ns: int | None = None

    @property
    def over_ns(self) -> int:
        """From when on it changes nothing any more."""
        return self.at_ns + (self.for_ns or 0)

    def begin(self, cluster: ClusterParts) -> Undo | None:
        """Let it happen.

        Returns:
            What ends it; ``None`` if there is nothing to end.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """A daemon ends without a word; its journal is left, and it starts again.

    Attributes:
        has_power: The machine lives on and tells peers that the connections are gone.
    """

    has_power: bool = True

    def begin(self, cluster: ClusterParts) -> Undo | None:
        """End the daemon."""
        node = cluster.nodes[self.node]
        if not node.is_up:
            return None
        if not self.has_power:
            cluster.network.silence(self.node)
        node.crash()
        cluster.peering.crashed(node)

        def start() -> None:
            if not self.has_power:
                cluster.network.end_silence(self.node)
            node.start()
            cluster.peering.started(node)

        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(Fault):
    """A daemon stands still as by ``SIGSTOP``, then goes on as if nothing had been."""

    def begin(self, cluster: ClusterParts) -> Undo | None:
        """Stop it, unless it stands still already: it would go on before nothing holds it."""
        node = cluster.nodes[self.node]
        if not node.is_up or node.is_frozen:
            return None
        node.freeze()
        cluster.network.silence(self.node)
        cluster.peering.suspect(self.node)

        def thaw() -> None:
            cluster.network.end_silence(self.node)
            node.thaw()

        return thaw


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute(Fault):
    """A source takes connections and requests, and sends nothing: not the rest of a body either."""

    def begin(self, cluster: ClusterParts) -> Undo:
        """Let it fall silent."""
        server = cluster.nodes[self.node].server
        server.is_mute = True
        cluster.network.set_serving(self.node, is_serving=False)
        cluster.peering.suspect(self.node)

        def speak() -> None:
            server.is_mute = False
            cluster.network.set_serving(self.node, is_serving=True)

        return speak


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Fault):
    """What the node sends to another one does not get there; the other way it does."""

    to: NodeId

    def begin(self, cluster: ClusterParts) -> Undo:
        """Cut the way."""
        cluster.network.cut(self.node, self.to)
        cluster.peering.suspect(self.node, self.to)
        return lambda: cluster.network.mend(self.node, self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Fault):
    """The node's lanes break, all or those to one source, in the middle of whatever they do."""

    source: NodeId | None = None

    def begin(self, cluster: ClusterParts) -> None:
        """Break them."""
        for lane in cluster.nodes[self.node].lanes:
            if self.source in {None, lane.source}:
                lane.fail(RangeOutcome.DISCONNECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Fault):
    """A node can send, receive, or send to one receiver only so much."""

    egress_bytes_per_s: float | None = None
    ingress_bytes_per_s: float | None = None
    serving_bytes_per_s: float | None = None

    def begin(self, cluster: ClusterParts) -> Undo:
        """Lower the rates; when it is over they are what they were planned to be."""
        network = cluster.network
        network.set_rates(
            self.node,
            egress_bytes_per_s=self.egress_bytes_per_s,
            ingress_bytes_per_s=self.ingress_bytes_per_s,
            serving_bytes_per_s=self.serving_bytes_per_s,
        )
        return lambda: network.set_rates(self.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss(Fault):
    """Packets to one receiver get lost: the path carries a share of what it could."""

    receiver: NodeId
    factor: float

    def begin(self, cluster: ClusterParts) -> Undo:
        """Lose them."""
        network = cluster.network
        network.set_factor(self.node, self.receiver, self.factor)
        return lambda: network.set_factor(self.node, self.receiver, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie(Fault):
    """A node sends wrong blocks and stands by them."""

    bad_share: float

    def begin(self, cluster: ClusterParts) -> None:
        """Let it lie from now on."""
        server = cluster.nodes[self.node].server
        server.bad_share = max(server.bad_share, self.bad_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadMemory(Fault):
    """A node sends wrong blocks unknowingly, until it is started anew."""

    bad_share: float

    def begin(self, cluster: ClusterParts) -> Undo:
        """Let its memory go bad."""
        node = cluster.nodes[self.node]
        node.server.memory_bad_share = self.bad_share

        def start_anew() -> None:
            node.server.memory_bad_share = 0.0
            if node.is_up:
                node.crash()
                cluster.peering.crashed(node)
                node.start()
                cluster.peering.started(node)

        return start_anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted(Fault):
    """A source takes no more connections; those it has live on."""

    def begin(self, cluster: ClusterParts) -> Undo:
        """Let it take no more."""
        server = cluster.nodes[self.node].server
        server.is_exhausted = True

        def recover() -> None:
            server.is_exhausted = False

        return recover


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(Fault):
    """A node loses a version; for a while it goes on saying that it has it."""

    digest: Digest

    def begin(self, cluster: ClusterParts) -> Undo:
        """Lose it."""
        server = cluster.nodes[self.node].server
        server.lose(self.digest)
        return lambda: server.disclaim(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite(Fault):
    """Somebody writes over the files of a version; its node notices when asked, or later."""

    digest: Digest

    def begin(self, cluster: ClusterParts) -> Undo:
        """Write over them."""
        server = cluster.nodes[self.node].server
        server.overwrite(self.digest)
        return lambda: server.disclaim(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Fault):
    """A source turns requests away and says when to ask again."""

    def begin(self, cluster: ClusterParts) -> Undo:
        """Let it be busy."""
        server = cluster.nodes[self.node].server
        server.is_busy = True

        def rest() -> None:
            server.is_busy = False

        return rest


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRefusal(Fault):
    """A disk is full or broken."""

    refusal: Refusal

    def begin(self, cluster: ClusterParts) -> Undo:
        """Let it refuse."""
        disk = cluster.nodes[self.node].disk
        disk.refusal = self.refusal

        def work() -> None:
            disk.refusal = None

        return work


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDisk(Fault):
    """A disk is slow."""

    rate_bytes_per_s: int

    def begin(self, cluster: ClusterParts) -> Undo:
        """Let it be slow."""
        disk = cluster.nodes[self.node].disk
        disk.set_rate(self.rate_bytes_per_s)
        return disk.set_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Fault):
    """An operator pauses a recovery, and lets it go on."""

    recovery: RecoveryId

    def begin(self, cluster: ClusterParts) -> Undo | None:
        """Pause it, if it is under way. A restart of the daemon forgets that."""
        node = cluster.nodes[self.node]
        if not node.is_up or self.recovery not in node.stagings:
            return None
        life = node.life
        node.report(RecoveryPaused(self.recovery))

        def resume() -> None:
            if node.life == life and self.recovery in node.stagings:
                node.report(RecoveryResumed(self.recovery))

        return resume


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise(Fault):
    """Somebody waits for a unit, which is no fault of anybody.

    Attributes:
        share: Which unit: the one in which this share of the version's blocks ends.
    """

    recovery: RecoveryId
    share: float

    def begin(self, cluster: ClusterParts) -> None:
        """Raise it, if the recovery is under way and knows its units."""
        node = cluster.nodes[self.node]
        if not node.is_up or self.recovery not in node.stagings:
            return
        known = node.scheduler.inspect().recoveries.get(self.recovery)
        if known is not None and known.described is not None and not node.is_frozen:
            space = known.described.space
            run = space.unit_run(space.unit_of(int(self.share * space.block_count)))
            node.report(UnitsPrioritized(self.recovery, BlockSet((run,))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Fault):
    """An operator gives a recovery up."""

    recovery: RecoveryId

    def begin(self, cluster: ClusterParts) -> None:
        """Cancel it, if it is under way."""
        node = cluster.nodes[self.node]
        if node.is_up and self.recovery in node.stagings:
            node.report(RecoveryCancelled(self.recovery))
