"""Scenarios in which nearly everything that can go wrong goes wrong, drawn from a seed.

A node recovers one or two small versions from a few sources, the first of which is honest and has
everything. For some seconds a share of all that is done fails: answers, connections, questions,
staging, commits, placing. Peers are lost and found, daemons start again, an operator pauses and
cancels. Then nothing fails any more, and what was asked for has to become complete: whenever a
recovery ends without it, it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.model.words import Criticality
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.faults import Crash, Reset, Trouble, Unheard
from ckptd.sim.script.phasing import draw_phases
from ckptd.sim.script.placing import draw_placing
from ckptd.sim.script.requests import Cancel, Pause, Promote
from ckptd.sim.script.rotting import draw_rot
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.script.shelving import draw_nearby
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

RECEIVER: Final = NodeId("r")

FAULTS_END_NS: Final = 6 * SECOND
"""From then on nothing goes wrong any more."""

SHARES: Final = (0.0, 0.05, 0.2, 0.5)
"""So much of what may go wrong does."""

OPTIONAL_SHARE: Final = 1 / 6
"""So many of the units are optional, unless they are critical."""

_UNIT_BLOCKS: Final = (0, 1, 2, 3, 5, 8, 13, 21)
_UNITS_MAX: Final = {Criticality.CRITICAL: 2, Criticality.NORMAL: 4, Criticality.DEFERRED: 2}
_BAD_SHARES: Final = (0.02, 0.1, 0.5)
_LATENCIES_NS: Final = (MS, 10 * MS, 150 * MS)
_RATES: Final = (2 * MIB, 4 * MIB, 20 * MIB)


def draw_chaos(seed: int) -> Scenario:
    """Draw a small cluster and a time in which nearly everything goes wrong.

    Args:
        seed: Equal seeds give equal scenarios.
    """
    rng = Random(f"chaos/{seed}")  # noqa: S311 (no secret)
    # Drawn apart from the rest, which so stays what it was before these were thought of.
    completeness = Random(f"completeness/chaos/{seed}")  # noqa: S311 (no secret)
    versions = [
        _draw_version(rng, completeness, f"llama/rank-{rank}")
        for rank in range(rng.choice((1, 1, 2)))
    ]
    versions = draw_phases(seed, versions)
    sources = [_draw_source(rng, index, versions) for index in range(rng.randint(2, 5))]
    wishes = tuple(
        Wish(
            RECEIVER,
            version,
            at_ns=rng.randrange(SECOND),
            is_named=rng.random() < 1 / 2,
            is_background=rng.random() < 1 / 8,
            patience_ns=completeness.choice((None, None, 100 * MS, SECOND)),
            allow_partial=completeness.random() < 1 / 2,
            is_name_awaited=completeness.random() < 3 / 4,
        )
        for version in versions
    )
    wishes = draw_placing(seed, wishes)
    share = rng.choice(SHARES)
    nodes = (*sources, NodePlan(RECEIVER))
    return Scenario(
        name="chaos",
        seed=seed,
        nodes=draw_nearby(seed, nodes, wishes),
        wishes=wishes,
        faults=(
            *(Trouble(node=n.name, at_ns=0, for_ns=FAULTS_END_NS, share=share) for n in nodes),
            *_draw_disturbances(rng, [plan.name for plan in sources], share),
            *_draw_promotions(seed, wishes),
            *draw_rot(seed, nodes),
        ),
        options=NodeOptions(progress_ns=100 * MS),
        jitter=rng.choice((0.0, 0.1)),
        asks_again=True,
        comes_to_rest=True,
    )


def _draw_version(rng: Random, completeness: Random, checkpoint: str) -> SavedVersion:
    block_size = rng.choice((MIB, 256 * KIB))
    units = [
        UnitPlan(
            criticality,
            rng.choice(_UNIT_BLOCKS) * block_size,
            is_optional=completeness.random() < OPTIONAL_SHARE,
        )
        for criticality, count_max in _UNITS_MAX.items()
        for _ in range(rng.randint(0, count_max))
    ]
    return SavedVersion(checkpoint, 100, units, block_size)


def _draw_source(rng: Random, index: int, versions: list[SavedVersion]) -> NodePlan:
    """Draw a source; the first one is honest and has everything."""
    rate = rng.choice(_RATES)
    lies = index > 0 and rng.random() < 1 / 2
    return NodePlan(
        NodeId(f"n{index}"),
        egress_bytes_per_s=rate,
        flow_bytes_per_s=rng.choice((None, max(rate // 4, 4 * MIB))),
        latency_ns=rng.choice(_LATENCIES_NS),
        holds=tuple(
            InitialHolding(version, _draw_blocks(rng, version) if index else None)
            for version in versions
        ),
        bad_share=rng.choice(_BAD_SHARES) if lies else 0.0,
    )


def _draw_blocks(rng: Random, version: SavedVersion) -> BlockSet | None:
    """Draw half of the blocks of a version, or all of them."""
    if rng.random() < 1 / 2:
        return None
    return BlockSet((block, block + 1) for block in version.blocks if rng.random() < 1 / 2)


def _draw_disturbances(rng: Random, sources: list[NodeId], share: float) -> list[Fault]:
    """Draw what happens to peers, recoveries and daemons, on top of what goes wrong by itself."""
    drawn: list[Fault] = []
    at_ns = 0
    while (at_ns := at_ns + rng.randrange(50, 1000) * MS) < FAULTS_END_NS:
        if rng.random() < share:
            drawn.append(_draw_disturbance(rng, rng.choice(sources), at_ns))
    return drawn


def _draw_disturbance(rng: Random, source: NodeId, at_ns: int) -> Fault:
    for_ns = min(rng.randrange(2000) * MS, FAULTS_END_NS - at_ns)
    kinds: list[Callable[[], Fault]] = [
        *[lambda: Unheard(node=source, at_ns=at_ns)] * 3,
        *[lambda: Crash(node=source, at_ns=at_ns, for_ns=for_ns // 4)] * 2,
        lambda: Crash(node=source, at_ns=at_ns, for_ns=for_ns, has_power=False),
        *[lambda: Pause(node=RECEIVER, at_ns=at_ns, for_ns=for_ns, recovery=None)] * 3,
        lambda: Reset(node=RECEIVER, at_ns=at_ns),
        lambda: Cancel(node=RECEIVER, at_ns=at_ns, recovery=None),
        lambda: Crash(node=RECEIVER, at_ns=at_ns, for_ns=for_ns // 20),
    ]
    return rng.choice(kinds)()


def _draw_promotions(seed: int, wishes: Sequence[Wish]) -> list[Fault]:
    """Draw who asks again for what is recovered in the background."""
    rng = Random(f"promotions/{seed}")  # noqa: S311 (no secret)
    return [
        Promote(
            node=wish.node,
            at_ns=rng.randrange(wish.at_ns, FAULTS_END_NS),
            recovery=RecoveryId(f"{wish.node}.{index}"),
        )
        for index, wish in enumerate(wishes)
        if wish.is_background
    ]
