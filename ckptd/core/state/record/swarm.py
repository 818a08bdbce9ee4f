"""Who else has or recovers the version of a recovery."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.state.record.spread import Spread
from ckptd.model.blocks import BlockRun


@dataclass(slots=True)
class Swarm:
    """The holders of a version, and those who recover it at the same time.

    Attributes:
        own_place: Where in what is left of a class this node begins while others recover the same
            version, from 0 to 1; drawn again each time, or nodes that met once would ask for the
            same blocks to the end.
        own_run: What it has asked complete sources for since it took its place: it continues behind
            that; ``None`` before it began, and after it met another receiver.
        source_count: How many sources hold any of the version, each path to a node counted.
        total_rate: What all of them together deliver, in bytes a second, as far as it is known.
        total_rate_ns: When that was added up.
        is_swarming: Others recover the same version at the same time.
        spread: Which blocks such others have already.
        spread_grew_ns: When one of them had more than before; ``None``: not yet.
        disks_judged_ns: When it was last judged whether peers are faster than this node's disks.
        swarm_rate: What those others deliver together, added up with ``total_rate``.
    """

    own_place: float = 0.0
    own_run: BlockRun | None = None
    source_count: int = 0
    total_rate: float = 0.0
    total_rate_ns: int = 0
    is_swarming: bool = False
    spread: Spread = field(default_factory=Spread)
    spread_grew_ns: int | None = None
    swarm_rate: float = 0.0
    disks_judged_ns: int = 0
