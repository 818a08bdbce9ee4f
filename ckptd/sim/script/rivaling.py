"""Drawn scenarios in which several contents go by one version, and some nodes invent more.

Nodes that hold something hold one content or the other. Nobody sends bad blocks here: that a
holder of a rival rots is a matter of :mod:`ckptd.sim.script.rotting`. No disk is slow: with fewer
holders of each content a commit that began while it was may take longer than all the rest.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from ckptd.core.options import RivalOptions
from ckptd.limits import SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import OnConflict
from ckptd.sim.script import faults
from ckptd.sim.script.drawing import draw_scenario
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion

_INVENTORS: Final = (0, 0, 1, 3)
_NEWER: Final = (0, 2, 30)
"""So many newer versions each of them invents as well."""
_LEFT_OUT: Final = (faults.Lie, faults.BadMemory, faults.Overwrite, faults.SlowDisk)


def draw_rivals(seed: int) -> Scenario:
    """Draw a cluster in which two contents go by the first version that is wanted.

    Args:
        seed: Equal seeds give equal scenarios.
    """
    drawn = draw_scenario(seed)
    rng = Random(f"rivals/{seed}")  # noqa: S311 (no secret)
    version = drawn.wishes[0].version
    rival = version.alike("~other")
    nodes = [_with_rival(rng, plan, version, rival) for plan in drawn.nodes[1:]]
    first = drawn.nodes[0]
    holds_rival = replace(first, name=NodeId("rival"), holds=(InitialHolding(rival),))
    nodes = [first, *nodes, holds_rival]
    for index in range(rng.choice(_INVENTORS)):
        name = f"~invented{index}"
        invented = [version.alike(name, ahead=ahead) for ahead in range(1 + rng.choice(_NEWER))]
        nodes.append(NodePlan(NodeId(f"inventor{index}"), invents=tuple(invented)))
    on_conflict = rng.choice((OnConflict.WAIT, OnConflict.MOST_HOLDERS))
    scheduler = replace(drawn.options.scheduler, rivals=RivalOptions(on_conflict=on_conflict))
    return replace(
        drawn,
        name="rivals",
        nodes=tuple(replace(plan, bad_share=0.0) for plan in nodes),
        wishes=tuple(
            _draw_wish(rng, wish, rival, on_conflict) if wish.version is version else wish
            for wish in drawn.wishes
        ),
        faults=tuple(fault for fault in drawn.faults if not isinstance(fault, _LEFT_OUT)),
        options=replace(drawn.options, scheduler=scheduler),
    )


def _with_rival(
    rng: Random, plan: NodePlan, version: SavedVersion, rival: SavedVersion
) -> NodePlan:
    """Let a node hold the other content instead, or both, for one node in two."""
    if not any(held.version is version for held in plan.holds) or rng.random() < 1 / 2:
        return plan
    others = tuple(held for held in plan.holds if held.version is not version)
    kept = plan.holds if rng.random() < 1 / 4 else others
    return replace(plan, holds=(*kept, InitialHolding(rival)))


def _draw_wish(rng: Random, wish: Wish, rival: SavedVersion, on_conflict: OnConflict) -> Wish:
    """Let somebody say which content is meant, or nobody; who waits, waits not for ever."""
    is_background = rng.random() < 1 / 4
    if is_background and on_conflict is OnConflict.WAIT:
        return replace(wish, is_background=True, patience_ns=5 * SECOND)
    wish = replace(wish, is_background=is_background)
    match rng.choice(("ask", "ask", "digest", "node")):
        case "digest":
            return replace(wish, version=rng.choice((wish.version, rival)), is_chosen=True)
        case "node":
            return replace(wish, version=rival, from_node=NodeId("rival"))
        case _:
            return wish
