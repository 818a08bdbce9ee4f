"""A fault: a value that says when something goes wrong, for how long, and to whom.

A fault that has an end heals itself; one without (``for_ns`` is ``None``) stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ckptd.model.ids import NodeId
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
        """Begin it.

        Returns:
            What ends it; ``None`` if there is nothing to end.

        Raises:
            NotImplementedError: A kind of fault does not say how it begins.
        """
        raise NotImplementedError
