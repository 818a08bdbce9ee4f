"""What operators and those who wait do to a recovery that is under way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ckptd.core.events import (
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryPromoted,
    RecoveryResumed,
    RestWanted,
    UnitsPrioritized,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.sim.script.fault import ClusterParts, Fault, Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Fault):
    """An operator pauses a recovery, and lets it go on.

    Attributes:
        recovery: Which; ``None``: the one that the node began with last.
    """

    recovery: RecoveryId | None

    def begin(self, cluster: ClusterParts) -> Undo | None:
        """Pause it, if it is under way. A restart of the daemon forgets that."""
        node, recovery = cluster.nodes[self.node], _under_way(cluster, self.node, self.recovery)
        if recovery is None:
            return None
        life = node.life
        node.report(RecoveryPaused(recovery))

        def resume() -> None:
            if node.life == life and recovery in node.stagings:
                node.report(RecoveryResumed(recovery))

        return resume


@dataclass(frozen=True, slots=True, kw_only=True)
class Prioritize(Fault):
    """Somebody waits for a unit; not a fault, but scheduled like one.

    Attributes:
        share: Which unit: the one in which this share of the version's blocks ends.
    """

    recovery: RecoveryId
    share: float

    def begin(self, cluster: ClusterParts) -> None:
        """Prioritize it, if the recovery is under way and knows its units."""
        node = cluster.nodes[self.node]
        if not node.is_up or self.recovery not in node.stagings:
            return
        known = node.scheduler.inspect().recoveries.get(self.recovery)
        if known is not None and known.described is not None and not node.is_frozen:
            space = known.described.space
            run = space.unit_run(space.unit_of(int(self.share * space.block_count)))
            node.report(UnitsPrioritized(self.recovery, BlockSet((run,))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Fault):
    """Somebody waits for a recovery that was in the background."""

    recovery: RecoveryId

    def begin(self, cluster: ClusterParts) -> None:
        """Promote it, if it is under way. A restart of the daemon does not forget that."""
        node = cluster.nodes[self.node]
        if node.is_up and not node.is_frozen and self.recovery in node.stagings:
            staging = node.stagings[self.recovery]
            staging.request = replace(staging.request, is_background=False)
            node.report(RecoveryPromoted(self.recovery))


@dataclass(frozen=True, slots=True, kw_only=True)
class WantRest(Fault):
    """Somebody wants all of a recovery that is on demand."""

    recovery: RecoveryId

    def begin(self, cluster: ClusterParts) -> None:
        """Want it, if it is under way. A restart of the daemon does not forget that."""
        node = cluster.nodes[self.node]
        if self.recovery in node.stagings:
            staging = node.stagings[self.recovery]
            staging.request = replace(staging.request, is_on_demand=False)
            if node.is_up:
                node.report(RestWanted(self.recovery))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Fault):
    """An operator cancels a recovery.

    Attributes:
        recovery: Which; ``None``: the one that the node began with last.
    """

    recovery: RecoveryId | None

    def begin(self, cluster: ClusterParts) -> None:
        """Cancel it, if it is under way."""
        recovery = _under_way(cluster, self.node, self.recovery)
        if recovery is not None:
            cluster.nodes[self.node].report(RecoveryCancelled(recovery))


def _under_way(
    cluster: ClusterParts, name: NodeId, recovery: RecoveryId | None
) -> RecoveryId | None:
    """Return a recovery of a node, or the last one, if it is under way."""
    node = cluster.nodes[name]
    if recovery is None:
        recovery = next(reversed(node.stagings), None)
    return recovery if node.is_up and recovery in node.stagings else None
