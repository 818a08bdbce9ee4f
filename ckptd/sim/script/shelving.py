"""Local blocks: what lies on nodes that want a version, in older versions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.sim.node.shelf import NearbyBlocks
from ckptd.sim.script.scenario import NodePlan, Wish
from ckptd.sim.world.layouts import SavedVersion

NEARBY_SHARE: Final = 0.3
"""In so many clusters blocks of what is wanted lie on some of the nodes that want it."""

_SHARES: Final = (0.0, 0.1, 0.5, 0.9, 1.0)
_WRONG_SHARES: Final = (0.0, 0.0, 0.0, 0.02, 0.3)
_RATES: Final = (16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB)


def draw_nearby(
    seed: int, nodes: tuple[NodePlan, ...], wishes: Sequence[Wish]
) -> tuple[NodePlan, ...]:
    """Draw which blocks lie on nodes, and which of those are wrong or gone.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        nodes: All of them.
        wishes: What they want.
    """
    rng = Random(f"nearby/{seed}")  # noqa: S311 (no secret)
    if rng.random() >= NEARBY_SHARE:
        return nodes
    wanted = {(wish.node, wish.version.digest): wish.version for wish in wishes}
    return tuple(
        replace(
            plan,
            nearby=tuple(
                _draw_blocks(rng, version)
                for (node, _), version in wanted.items()
                if node == plan.name
            ),
            nearby_bytes_per_s=rng.choice(_RATES),
        )
        for plan in nodes
    )


def _draw_blocks(rng: Random, version: SavedVersion) -> NearbyBlocks:
    share, wrong_share, gone_share = (
        rng.choice(shares) for shares in (_SHARES, _WRONG_SHARES, _WRONG_SHARES)
    )
    blocks = _drawn(rng, version.blocks, share)
    wrong = _drawn(rng, blocks, wrong_share)
    return NearbyBlocks(version, blocks, wrong, _drawn(rng, blocks - wrong, gone_share))


def _drawn(rng: Random, blocks: BlockSet, share: float) -> BlockSet:
    return BlockSet((block, block + 1) for block in blocks if rng.random() < share)
