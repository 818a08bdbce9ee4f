"""Scenarios drawn from a seed: small clusters in which nearly anything may happen.

Every cluster has a few nodes that hold something and a few that want it. Faults begin within
the first seconds and heal, or stay. Nothing promises that a recovery can complete: then it has
to say what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from ckptd.core.options import HedgingOptions, Options
from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.model.words import Criticality
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.script import faults, requests
from ckptd.sim.script.choosing import draw_choices
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.phasing import draw_phases
from ckptd.sim.script.placing import draw_placing
from ckptd.sim.script.reading import draw_on_demand, draw_reading
from ckptd.sim.script.rotting import draw_rot
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.script.shelving import draw_nearby
from ckptd.sim.world.disk import BROKEN, FULL
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

NODES_MAX: Final = 20
DRAWN_BLOCKS_MAX: Final = 160
"""Few blocks make many seeds."""

FAULTS_WITHIN_NS: Final = (SECOND, 4 * SECOND, 12 * SECOND)
"""Faults begin in one of these times, more of them early on."""

BACKGROUND_SHARE: Final = 0.1
"""So many of the recoveries are in the background."""

OPTIONAL_SHARE: Final = 0.15
"""So many of the units are optional, unless they are critical."""

PARTIAL_SHARE: Final = 0.5
"""So many of the recoveries may be placed without required units."""

ZEROS_SHARE: Final = 0.2
"""In so many clusters units of several blocks end with zeros."""

NOT_AWAITED_SHARE: Final = 0.1
"""So many of them do not wait for a name that nobody has."""

RACING_SHARE: Final = 0.1
"""In so many clusters critical ranges are raced for."""

_BLOCK_BYTES: Final = (256 * KIB, MIB, MIB, 4 * MIB)
_RATES: Final = (4 * MIB, 16 * MIB, 64 * MIB, 64 * MIB, 256 * MIB)
_DISK_RATES: Final = (4 * MIB, 32 * MIB, 256 * MIB, 1024 * MIB, 1024 * MIB)
_LATENCIES_NS: Final = (MS // 20, MS // 4, MS, 5 * MS, 25 * MS)
_LENGTHS_NS: Final = (20 * MS, 200 * MS, 700 * MS, 2 * SECOND, 5 * SECOND, 20 * SECOND, 60 * SECOND)
_BAD_SHARES: Final = (0.01, 0.1, 0.5, 1.0)


def draw_scenario(seed: int) -> Scenario:
    """Draw a cluster, what it wants, and what goes wrong.

    Args:
        seed: Equal seeds give equal scenarios.
    """
    rng = Random(f"scenario/{seed}")  # noqa: S311 (no secret)
    # Drawn apart from the rest, which so stays what it was before these were thought of.
    completeness = Random(f"completeness/{seed}")  # noqa: S311 (no secret)
    zeros = Random(f"zero blocks/{seed}")  # noqa: S311 (no secret)
    versions = _draw_versions(rng, completeness, zeros if _likely(zeros, ZEROS_SHARE) else None)
    versions = draw_phases(seed, versions)
    nodes = _draw_nodes(rng, versions)
    wishes = _draw_wishes(rng, nodes, versions)
    drawn = _draw_faults(rng, nodes, wishes, versions)
    jitter = rng.choice((0.0, 0.1, 1.0))
    urgency = Random(f"urgency/{seed}")  # noqa: S311 (no secret)
    races = Random(f"redundancy/{seed}")  # noqa: S311 (no secret)
    redundancy = 2 if _likely(races, RACING_SHARE) else 1
    wishes = tuple(
        replace(
            wish,
            is_background=_likely(urgency, BACKGROUND_SHARE),
            allow_partial=_likely(completeness, PARTIAL_SHARE),
            is_name_awaited=not _likely(completeness, NOT_AWAITED_SHARE),
        )
        for wish in wishes
    )
    wishes, drawn = draw_choices(
        seed, wishes, (*drawn, *_draw_priorities(urgency, wishes), *draw_rot(seed, nodes))
    )
    wishes, wanting = draw_on_demand(seed, draw_placing(seed, wishes))
    return Scenario(
        name="drawn",
        seed=seed,
        nodes=draw_nearby(seed, nodes, wishes),
        wishes=wishes,
        faults=(*drawn, *draw_reading(seed, wishes), *wanting),
        options=NodeOptions(Options(hedging=HedgingOptions(redundancy=redundancy))),
        jitter=jitter,
    )


def _likely(rng: Random, share: float) -> bool:
    return rng.random() < share


def _draw_versions(rng: Random, completeness: Random, zeros: Random | None) -> list[SavedVersion]:
    """Draw one version, or two of one checkpoint, or one each of two."""
    names = rng.choice(
        [[("llama/a", 100)]] * 4
        + [[("llama/a", 100), ("llama/a", 200)], [("llama/a", 100), ("llama/b", 7)]]
    )
    drawn = [_draw_version(rng, completeness, *name) for name in names]
    if zeros is None:
        return drawn
    return [draw_zeros(zeros, version) for version in drawn]


def draw_zeros(rng: Random, version: SavedVersion) -> SavedVersion:
    """Return a version in which some units of several blocks end with zeros."""
    counts = [
        rng.randint(2, unit.block_count) if unit.block_count > 1 and _likely(rng, 0.5) else 0
        for unit in version.space.manifest.units
    ]
    return version.with_zeros(counts)


def _draw_version(rng: Random, completeness: Random, checkpoint: str, version: int) -> SavedVersion:
    block_size = rng.choice(_BLOCK_BYTES)
    left = max(1, int(DRAWN_BLOCKS_MAX * rng.random() ** 2))
    units: list[UnitPlan] = []
    while left > 0:
        blocks = min(rng.choice((0, 1, 1, 2, 5, 20, DRAWN_BLOCKS_MAX)), left)
        short = rng.randrange(block_size) if blocks and _likely(rng, 0.5) else 0
        size_bytes = blocks * block_size - short
        units.append(UnitPlan(rng.choice(tuple(Criticality)), size_bytes))
        left -= max(blocks, 1)
    if not any(unit.size_bytes for unit in units):
        units.append(UnitPlan(Criticality.NORMAL, block_size))
    units = [unit._replace(is_optional=_likely(completeness, OPTIONAL_SHARE)) for unit in units]
    return SavedVersion(checkpoint, version, units, block_size)


def _draw_nodes(rng: Random, versions: list[SavedVersion]) -> tuple[NodePlan, ...]:
    """Draw nodes; the first one is honest and has everything, but for one seed in ten."""
    count = min(2 + int(rng.expovariate(1 / 3)), NODES_MAX)
    holder_count = rng.randint(1, count - 1)
    are_alike = _likely(rng, 0.5)
    usual = (rng.choice(_RATES), rng.choice(_RATES), rng.choice(_LATENCIES_NS))
    lying_share = rng.choice((0.0, 0.0, 0.0, 0.3, 0.8))
    has_everything = _likely(rng, 0.9)
    nodes: list[NodePlan] = []
    for index in range(count):
        drawn = (rng.choice(_RATES), rng.choice(_RATES), rng.choice(_LATENCIES_NS))
        egress, ingress, latency_ns = usual if are_alike else drawn
        is_sure = index == 0 and has_everything
        lies = index > 0 and _likely(rng, lying_share)
        nodes.append(
            NodePlan(
                NodeId(f"n{index:02}"),
                egress_bytes_per_s=egress,
                ingress_bytes_per_s=ingress,
                serving_bytes_per_s=rng.choice((None, None, None, egress // 4)),
                disk_bytes_per_s=rng.choice(_DISK_RATES),
                latency_ns=latency_ns,
                holds=_draw_held(rng, versions, is_sure=is_sure) if index < holder_count else (),
                bad_share=rng.choice(_BAD_SHARES) if lies else 0.0,
            )
        )
    return tuple(nodes)


def _draw_held(
    rng: Random, versions: list[SavedVersion], *, is_sure: bool
) -> tuple[InitialHolding, ...]:
    held: list[InitialHolding] = []
    for version in versions:
        share = 1.0 if is_sure else rng.choice((0.0, 0.3, 0.7, 1.0, 1.0))
        if share == 1.0:
            held.append(InitialHolding(version))
        elif share:
            blocks = BlockSet((block, block + 1) for block in version.blocks if _likely(rng, share))
            held.append(InitialHolding(version, blocks))
    return tuple(held)


def _draw_wishes(
    rng: Random, nodes: tuple[NodePlan, ...], versions: list[SavedVersion]
) -> tuple[Wish, ...]:
    """Draw what is wanted: something by each of some nodes that hold nothing."""
    empty = [plan.name for plan in nodes if not plan.holds]
    wanting = rng.sample(empty, rng.randint(1, len(empty)))
    wishes: list[Wish] = []
    for node in sorted(wanting):
        wanted = versions if _likely(rng, 0.3) else [rng.choice(versions)]
        wishes += [
            Wish(
                node,
                version,
                at_ns=rng.choice((0, 0, rng.randrange(5 * SECOND))),
                is_named=len(versions) > 1 or _likely(rng, 0.7),
                patience_ns=rng.choice((None, None, None, 5 * SECOND)),
            )
            for version in wanted
        ]
    return tuple(wishes)


@dataclass(frozen=True, slots=True)
class _Draw:
    """What a fault is drawn from: chance, to whom, when, and how long."""

    rng: Random
    plans: tuple[NodePlan, ...]
    recoveries: tuple[tuple[NodeId, RecoveryId], ...]
    versions: list[SavedVersion]
    at_ns: int
    for_ns: int

    def node(self) -> NodeId:
        """Draw any node."""
        return self.rng.choice(self.plans).name

    def two_nodes(self) -> tuple[NodeId, NodeId]:
        """Draw a node and another one."""
        one, other = self.rng.sample(self.plans, 2)
        return one.name, other.name

    def harmed(self) -> NodeId:
        """Draw a node that may be harmed for good: not the first one, nor one that recovers."""
        wanting = {node for node, _ in self.recoveries}
        return self.rng.choice(
            [plan.name for plan in self.plans[1:] if plan.name not in wanting] or [NodeId("")]
        )


def _draw_priorities(rng: Random, wishes: tuple[Wish, ...]) -> tuple[Fault, ...]:
    """Draw, for one seed in four, some units that somebody waits for."""
    if not _likely(rng, 0.25):
        return ()
    return tuple(
        requests.Prioritize(
            node=wishes[index].node,
            at_ns=int(4 * SECOND * rng.random() ** 2),
            recovery=RecoveryId(f"{wishes[index].node}.{index}"),
            share=rng.random(),
        )
        for index in (rng.randrange(len(wishes)) for _ in range(rng.randint(1, 5)))
    )


def _draw_faults(
    rng: Random,
    nodes: tuple[NodePlan, ...],
    wishes: tuple[Wish, ...],
    versions: list[SavedVersion],
) -> tuple[Fault, ...]:
    """Draw faults of a few kinds, which differ from seed to seed.

    Source: A. Groce et al., *Swarm Testing* (2012): omitting kinds finds more than mixing all.
    """
    kinds = rng.sample(_KINDS, rng.randint(1, 5))
    recoveries = tuple(
        (wish.node, RecoveryId(f"{wish.node}.{index}")) for index, wish in enumerate(wishes)
    )
    drawn: list[Fault] = []
    within_ns = rng.choice(FAULTS_WITHIN_NS)
    for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 16))):
        at_ns, for_ns = int(within_ns * rng.random() ** 2), rng.choice(_LENGTHS_NS)
        draw = _Draw(rng, nodes, recoveries, versions, at_ns, for_ns)
        fault = rng.choice(kinds)(draw)
        if fault is not None:
            drawn.append(fault)
    return tuple(drawn)


def _crash(draw: _Draw) -> Fault:
    return faults.Crash(
        node=draw.node(),
        at_ns=draw.at_ns,
        for_ns=draw.for_ns,
        has_power=_likely(draw.rng, 0.5),
    )


def _death(draw: _Draw) -> Fault | None:
    node = draw.harmed()
    has_power = _likely(draw.rng, 0.5)
    return faults.Crash(node=node, at_ns=draw.at_ns, has_power=has_power) if node else None


def _freeze(draw: _Draw) -> Fault:
    return faults.Freeze(node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns)


def _mute(draw: _Draw) -> Fault:
    return faults.Mute(node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns)


def _cut(draw: _Draw) -> Fault:
    node, to = draw.two_nodes()
    return faults.Cut(node=node, to=to, at_ns=draw.at_ns, for_ns=draw.for_ns)


def _reset(draw: _Draw) -> Fault:
    node, source = draw.two_nodes()
    return faults.Reset(node=node, source=draw.rng.choice((source, None)), at_ns=draw.at_ns)


def _slow(draw: _Draw) -> Fault:
    rates = [draw.rng.choice((None, 256 * KIB, MIB, 8 * MIB)) for _ in range(3)]
    return faults.Slow(
        node=draw.node(),
        at_ns=draw.at_ns,
        for_ns=draw.for_ns,
        egress_bytes_per_s=rates[0],
        ingress_bytes_per_s=rates[1],
        serving_bytes_per_s=rates[2],
    )


def _loss(draw: _Draw) -> Fault:
    node, receiver = draw.two_nodes()
    factor = draw.rng.choice((0.02, 0.2, 0.7))
    return faults.Loss(
        node=node, receiver=receiver, factor=factor, at_ns=draw.at_ns, for_ns=draw.for_ns
    )


def _lie(draw: _Draw) -> Fault | None:
    node = draw.harmed()
    share = draw.rng.choice(_BAD_SHARES)
    return faults.Lie(node=node, at_ns=draw.at_ns, bad_share=share) if node else None


def _bad_memory(draw: _Draw) -> Fault:
    share = draw.rng.choice(_BAD_SHARES)
    return faults.BadMemory(node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns, bad_share=share)


def _exhausted(draw: _Draw) -> Fault:
    return faults.Exhausted(node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns)


def _forget(draw: _Draw) -> Fault | None:
    node, digest = draw.harmed(), draw.rng.choice(draw.versions).digest
    at_ns, for_ns = draw.at_ns, draw.for_ns
    return faults.Forget(node=node, at_ns=at_ns, for_ns=for_ns, digest=digest) if node else None


def _overwrite(draw: _Draw) -> Fault | None:
    node, digest = draw.harmed(), draw.rng.choice(draw.versions).digest
    at_ns, for_ns = draw.at_ns, draw.for_ns
    return faults.Overwrite(node=node, at_ns=at_ns, for_ns=for_ns, digest=digest) if node else None


def _busy(draw: _Draw) -> Fault:
    return faults.Busy(node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns)


def _disk(draw: _Draw) -> Fault:
    refusal = draw.rng.choice((FULL, FULL, BROKEN))
    return faults.DiskRefusal(
        node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns, refusal=refusal
    )


def _slow_disk(draw: _Draw) -> Fault:
    rate = draw.rng.choice((MIB, 8 * MIB))
    return faults.SlowDisk(
        node=draw.node(), at_ns=draw.at_ns, for_ns=draw.for_ns, rate_bytes_per_s=rate
    )


def _pause(draw: _Draw) -> Fault:
    node, recovery = draw.rng.choice(draw.recoveries)
    return requests.Pause(node=node, at_ns=draw.at_ns, for_ns=draw.for_ns, recovery=recovery)


def _cancel(draw: _Draw) -> Fault:
    node, recovery = draw.rng.choice(draw.recoveries)
    return requests.Cancel(node=node, at_ns=draw.at_ns, recovery=recovery)


_KINDS: Final[tuple[Callable[[_Draw], Fault | None], ...]] = (
    _crash, _death, _freeze, _mute, _cut, _reset, _slow, _loss, _lie, _forget, _overwrite,
    _bad_memory, _exhausted,     _busy, _disk, _slow_disk, _pause, _cancel,
)  # fmt: skip
