"""Rot: blocks that are wrong on the disks of honest nodes, which stand by them until asked."""

from __future__ import annotations

from random import Random
from typing import Final

from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.faults import Rot
from ckptd.sim.script.scenario import NodePlan

ROT_SHARE: Final = 0.25
"""In so many clusters blocks rot on the disks of some holders."""

_WITHIN_NS: Final = 3 * SECOND
_BLOCK_SHARES: Final = (0.0, 0.01, 0.1, 0.5)


def draw_rot(seed: int, nodes: tuple[NodePlan, ...]) -> tuple[Fault, ...]:
    """Draw which blocks rot, if any. The first node, which has everything, stays whole.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        nodes: All of them.
    """
    rng = Random(f"rot/{seed}")  # noqa: S311 (no secret)
    if rng.random() >= ROT_SHARE:
        return ()
    rotten: list[Fault] = []
    for plan in nodes[1:]:
        for held in plan.holds:
            share = rng.choice(_BLOCK_SHARES)
            here = held.version.blocks if held.blocks is None else held.blocks
            blocks = BlockSet((block, block + 1) for block in here if rng.random() < share)
            at_ns = int(_WITHIN_NS * rng.random() ** 2)
            if blocks and not plan.bad_share:
                digest = held.version.digest
                rotten.append(Rot(node=plan.name, at_ns=at_ns, digest=digest, blocks=blocks))
    return tuple(rotten)
