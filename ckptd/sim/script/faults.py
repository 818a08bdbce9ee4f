"""What goes wrong with nodes, disks and the network between them."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.core.events import (
    Refusal,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import RangeOutcome
from ckptd.sim.script.fault import ClusterParts, Fault, Undo
from ckptd.sim.world.layouts import SavedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """A daemon is killed; its journal is left, and it starts again.

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
    """A daemon is stopped as by ``SIGSTOP`` and later continued."""

    def begin(self, cluster: ClusterParts) -> Undo | None:
        """Stop it, unless it is stopped already: the first end would continue it."""
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
        """Stop its answers and bodies."""
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
        """Cut the path in one direction."""
        cluster.network.cut(self.node, self.to)
        cluster.peering.suspect(self.node, self.to)
        return lambda: cluster.network.mend(self.node, self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Fault):
    """The node's lanes break, all or those to one source, in the middle of whatever they do."""

    source: NodeId | None = None

    def begin(self, cluster: ClusterParts) -> None:
        """Break the lanes."""
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
        """Lower the rates; afterwards they are as planned."""
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
        """Begin to lose them."""
        network = cluster.network
        network.set_factor(self.node, self.receiver, self.factor)
        return lambda: network.set_factor(self.node, self.receiver, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie(Fault):
    """A node sends wrong blocks and stands by them."""

    bad_share: float

    def begin(self, cluster: ClusterParts) -> None:
        """Make it send wrong blocks from now on."""
        server = cluster.nodes[self.node].server
        server.bad_share = max(server.bad_share, self.bad_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadMemory(Fault):
    """A node sends wrong blocks without knowing it, until it is restarted."""

    bad_share: float

    def begin(self, cluster: ClusterParts) -> Undo:
        """Make it send wrong blocks until it is restarted."""
        node = cluster.nodes[self.node]
        node.server.memory_bad_share = self.bad_share

        def restart() -> None:
            node.server.memory_bad_share = 0.0
            if node.is_up:
                node.crash()
                cluster.peering.crashed(node)
                node.start()
                cluster.peering.started(node)

        return restart


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted(Fault):
    """A source accepts no more connections; those that are open stay open."""

    def begin(self, cluster: ClusterParts) -> Undo:
        """Make it refuse new connections."""
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
        """Remove the version, not what the node says about it."""
        server = cluster.nodes[self.node].server
        server.lose(self.digest)
        return lambda: server.disclaim(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite(Fault):
    """Somebody writes over the files of a version; its node notices when asked, or later."""

    digest: Digest

    def begin(self, cluster: ClusterParts) -> Undo:
        """Change the files of the version."""
        server = cluster.nodes[self.node].server
        server.overwrite(self.digest)
        return lambda: server.disclaim(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rot(Fault):
    """Blocks of a version change on a disk while its node stands by them; asked, it looks."""

    digest: Digest
    blocks: BlockSet

    def begin(self, cluster: ClusterParts) -> None:
        """Change them."""
        cluster.nodes[self.node].server.rot(self.digest, self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Fault):
    """A source turns requests away and says when to ask again."""

    def begin(self, cluster: ClusterParts) -> Undo:
        """Make it turn requests away."""
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
        """Make it refuse all writes."""
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
        """Lower its rate."""
        disk = cluster.nodes[self.node].disk
        disk.set_rate(self.rate_bytes_per_s)
        return disk.set_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheard(Fault):
    """All followers of a node lose it for no reason, and soon find it again."""

    def begin(self, cluster: ClusterParts) -> None:
        """Make its followers lose it."""
        cluster.peering.lose(self.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Fault):
    """A share of all that a node does goes wrong: answers, questions, work on its disk.

    Attributes:
        share: Which share.
    """

    share: float

    def begin(self, cluster: ClusterParts) -> Undo:
        """Make a share of what the node does fail."""
        mishaps = cluster.nodes[self.node].server.mishaps
        mishaps.share = self.share

        def end() -> None:
            mishaps.share = 0.0

        return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish(Fault):
    """No fault: versions are saved on a node, or what was lost is there again."""

    versions: tuple[SavedVersion, ...]

    def begin(self, cluster: ClusterParts) -> None:
        """Have them at a place, and offer them; a daemon that is down does so when it starts."""
        node = cluster.nodes[self.node]
        for version in self.versions:
            node.stand(version, version.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Fault):
    """The nodes fall into two halves that do not reach each other; the first one is named."""

    half: frozenset[NodeId]

    def begin(self, cluster: ClusterParts) -> Undo:
        """Cut every path between the halves, both ways."""
        pairs = [
            (one, other)
            for one in cluster.nodes
            for other in cluster.nodes
            if (one in self.half) != (other in self.half)
        ]
        for one, other in pairs:
            cluster.network.cut(one, other)
        for name in cluster.nodes:
            for one, other in pairs:
                if one == name:
                    cluster.peering.suspect(one, other)

        def mend() -> None:
            for one, other in pairs:
                cluster.network.mend(one, other)

        return mend
