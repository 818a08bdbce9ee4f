"""Drawn scenarios in which the version before is on many nodes, and blocks come coded.

What stands of it may be a part, may rot without anybody noticing, or be lost. Of processors there
may be much or little at either end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Final

from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.sim.script.drawing import draw_scenario
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.faults import Forget, Rot
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario
from ckptd.sim.world.layouts import SavedVersion
from ckptd.sim.world.processors import Processors

_SHARES: Final = (0.01, 0.06, 0.3, 0.9)
"""Of their length that blocks have as differences."""
_PARTS: Final = (0.0, 0.5, 1.0, 1.0, 1.0)
_ROTTEN: Final = (0.0, 0.0, 0.0, 0.0, 0.1, 1.0)
_LOST_SHARE: Final = 0.1
_ASKS_SHARE: Final = 0.9
"""So many nodes ask for coded blocks."""


def draw_coded(seed: int) -> Scenario:
    """Draw a cluster as any other, whose nodes code and have what blocks are coded against.

    Args:
        seed: Equal seeds give equal scenarios.
    """
    drawn = draw_scenario(seed)
    rng = Random(f"coded/{seed}")  # noqa: S311 (no secret)
    wanted = {wish.version.digest: wish.version for wish in drawn.wishes}
    older = {
        digest: version.before(rng.choice(_SHARES)) for digest, version in sorted(wanted.items())
    }
    nodes = tuple(_with_older(rng, plan, older) for plan in drawn.nodes)
    return replace(
        drawn,
        name="coded",
        nodes=nodes,
        wishes=tuple(replace(wish, is_named=True) for wish in drawn.wishes),
        faults=(*drawn.faults, *_draw_rot(rng, nodes, older)),
    )


def _with_older(rng: Random, plan: NodePlan, older: Mapping[Digest, SavedVersion]) -> NodePlan:
    drawn = [
        (version, _drawn(rng, version.blocks, rng.choice(_PARTS))) for version in older.values()
    ]
    held = [InitialHolding(version, blocks) for version, blocks in drawn if blocks]
    processors = Processors(
        cores=rng.choice((0.5, 1, 4, 16)),
        coding_cores=rng.choice((0.0, 0.5, 4, 4)),
        asks=rng.random() < _ASKS_SHARE,
    )
    return replace(plan, holds=(*plan.holds, *held), processors=processors)


def _draw_rot(
    rng: Random, nodes: tuple[NodePlan, ...], older: Mapping[Digest, SavedVersion]
) -> list[Fault]:
    """Draw what becomes wrong, or is lost, of the versions before."""
    drawn: list[Fault] = []
    for plan in nodes:
        for version in older.values():
            share, at_ns = rng.choice(_ROTTEN), int(4 * SECOND * rng.random() ** 2)
            if blocks := _drawn(rng, version.blocks, share):
                rot = Rot(node=plan.name, at_ns=at_ns, digest=version.digest, blocks=blocks)
                drawn.append(rot)
            elif rng.random() < _LOST_SHARE:
                gone = Forget(node=plan.name, at_ns=at_ns, for_ns=SECOND, digest=version.digest)
                drawn.append(gone)
    return drawn


def _drawn(rng: Random, blocks: BlockSet, share: float) -> BlockSet:
    if share == 1.0:
        return blocks
    return BlockSet((block, block + 1) for block in blocks if rng.random() < share)
