"""Small clusters drawn from a seed in which one thing goes wrong, held to what they should reach.

The checkers allow a recovery half a minute more than it needs, for nearly anything may happen to
it. What the finer parts of the policy are worth, half a minute hides: so here little happens,
and little is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from ckptd.sim.cases.case import (
    RATE,
    RECEIVER,
    WIDE,
    Case,
    Measure,
    equal_sources,
    lay_out,
    one_recovery,
    took_s,
)
from ckptd.sim.cases.choosing import draw_choosing
from ckptd.sim.cases.reusing import with_nearby
from ckptd.sim.check.rerouting import Rerouting
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.script.faults import Mute, Slow
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish

_NEARBY_SHARE: Final = 0.1
"""In so many clusters the version lies on a slow disk of the node that wants it."""

_CHOOSING_SHARE: Final = 0.05
"""In so many clusters a part of a version is wanted."""

_DISTANT_MAX_NS: Final = 60 * SECOND
"""A recovery from distant sources may take this long."""


def draw_close_call(seed: int) -> Case:
    """Draw a cluster, and what it has to reach.

    Args:
        seed: Equal seeds give equal clusters.
    """
    rng = Random(f"close call/{seed}")  # noqa: S311 (no secret)
    case = rng.choice(_KINDS)(rng, seed)
    # Drawn apart from the rest, which so stays what it was before this was thought of.
    nearby = Random(f"nearby call/{seed}")  # noqa: S311 (no secret)
    if nearby.random() < _NEARBY_SHARE:
        case = _nearby(nearby, seed)
    choosing = Random(f"choosing call/{seed}")  # noqa: S311 (no secret)
    if choosing.random() < _CHOOSING_SHARE:
        case = draw_choosing(choosing, seed)
    return replace(case, scenario=replace(case.scenario, checks_every=0))


def _nearby(rng: Random, seed: int) -> Case:
    """All of it lies here, on a disk that is much slower than the peers: they help."""
    version = lay_out(rng.randint(400, 800) * MIB)
    sources = equal_sources(rng.randint(2, 4), version)
    rate = rng.choice((16, 24, 32)) * MIB
    scenario = one_recovery("nearby", seed, version, sources)
    *others, receiver = scenario.nodes
    receiver = with_nearby(receiver, version, version.blocks, rate)
    ideal_s = version.size_bytes / (len(sources) * RATE + rate)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        return [Measure("nearby: seconds", took_s(report), 1.1 * ideal_s + 0.5)]

    return Case(replace(scenario, nodes=(*others, receiver)), measure)


def _slowed(rng: Random, seed: int) -> Case:
    """One source becomes slow in the middle of its work: others take it over."""
    count, at_ns = rng.randint(2, 5), rng.randrange(300 * MS, 900 * MS)
    version = lay_out(count * rng.randint(80, 160) * MIB)
    sources = equal_sources(count, version)
    rate = rng.choice((256 * KIB, MIB, 2 * MIB))
    fault = Slow(node=sources[0].name, at_ns=at_ns, egress_bytes_per_s=rate)
    return _timed(one_recovery("slowed", seed, version, sources, fault), at_ns, count - 1)


def _muted(rng: Random, seed: int) -> Case:
    """One source sends nothing any more: nothing waits for it, and trials of it delay nothing."""
    count, at_ns = rng.randint(3, 5), rng.randrange(300 * MS, 900 * MS)
    version = lay_out(count * rng.randint(160, 320) * MIB)
    sources = equal_sources(count, version)
    fault = Mute(node=sources[0].name, at_ns=at_ns)
    return _timed(one_recovery("muted", seed, version, sources, fault), at_ns, count - 1)


def _distant(rng: Random, seed: int) -> Case:
    """All sources are far away: patience grows until first bytes come."""
    version = lay_out(rng.randint(4, 12) * MIB)
    latency_ns = rng.randrange(300 * MS, 450 * MS)
    sources = [
        replace(plan, latency_ns=latency_ns) for plan in equal_sources(rng.randint(1, 3), version)
    ]
    scenario = replace(one_recovery("distant", seed, version, sources), limit_ns=_DISTANT_MAX_NS)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        took_ns = report.recoveries[0].complete_ns or math.inf
        return [Measure("distant: seconds", took_ns / SECOND, _DISTANT_MAX_NS / SECOND)]

    return Case(scenario, measure)


def _timed(scenario: Scenario, at_ns: int, left: int) -> Case:
    """Hold a recovery to what the other sources can do once one is of little use."""
    size_bytes = scenario.wishes[0].version.size_bytes
    at_s = at_ns / SECOND
    ideal_s = at_s + (size_bytes - (left + 1) * RATE * at_s) / (left * RATE)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        return [Measure(f"{scenario.name}: seconds", took_s(report), 1.1 * ideal_s + 0.8)]

    return Case(scenario, measure)


def _mixed(rng: Random, seed: int) -> Case:
    """Quick sources and slow ones: the slow ones do not hold up the end."""
    count = rng.randint(3, 6)
    version = lay_out(rng.randint(32, 256) * MIB)
    sources = [
        replace(plan, egress_bytes_per_s=RATE // rng.choice((1, 1, 4, 16, 64)))
        for plan in equal_sources(count, version)
    ]
    sources[0] = replace(sources[0], egress_bytes_per_s=RATE)
    scenario = one_recovery("mixed", seed, version, sources)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        ideal_s = version.size_bytes / sum(plan.egress_bytes_per_s for plan in sources)
        return [Measure("mixed: seconds", took_s(report), 1.1 * ideal_s + 0.8)]

    return Case(scenario, measure)


def _late(rng: Random, seed: int) -> Case:
    """A source falls silent with critical ranges: they are soon asked of another one."""
    version = lay_out(rng.randint(1000, 2000) * MIB, critical=0.9)
    sources = equal_sources(rng.randint(2, 4), version)
    at_ns = rng.randrange(900 * MS, 2 * SECOND)
    scenario = one_recovery("late", seed, version, sources, Mute(node=sources[0].name, at_ns=at_ns))
    rerouting = Rerouting(sources[0].name, at_ns)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster, report
        waited_s = math.inf if rerouting.first_ns is None else rerouting.first_ns / SECOND
        return [Measure("late: seconds until another one is asked", waited_s, 0.4)]

    return Case(scenario, measure, (rerouting,))


def _swarm(rng: Random, seed: int) -> Case:
    """Some nodes recover from one source: they serve each other."""
    version = lay_out(rng.randint(128, 256) * MIB)
    receivers = rng.randint(3, 6)
    nodes = tuple(
        NodePlan(
            NodeId(f"n{index}"),
            egress_bytes_per_s=RATE,
            ingress_bytes_per_s=RATE,
            holds=() if index else (InitialHolding(version),),
        )
        for index in range(receivers + 1)
    )
    wishes = tuple(Wish(plan.name, version) for plan in nodes[1:])
    scenario = Scenario("swarm", seed, nodes, wishes)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        times = [each.complete_ns or math.inf for each in report.recoveries]
        alone_s = version.size_bytes / RATE
        copies = report.nodes[0].sent_bytes / version.size_bytes
        return [
            Measure("swarm: seconds", max(times) / SECOND, 2.5 * alone_s + 0.75),
            Measure("swarm: copies that the source sends", copies, 3),
        ]

    return Case(scenario, measure)


def _interrupted(rng: Random, seed: int) -> Case:
    """Critical units are wanted while deferred ones take all there is.

    Some sources are web servers that know no classes: from them the receiver takes work back.
    """
    burden = lay_out(rng.randint(1500, 3000) * MIB, name="llama/b", rest=Criticality.DEFERRED)
    version = lay_out(rng.randint(200, 1000) * MIB, critical=0.2, rest=Criticality.DEFERRED)
    sources = equal_sources(rng.randint(2, 4), version, burden)
    receiver = NodePlan(RECEIVER, ingress_bytes_per_s=WIDE, disk_bytes_per_s=WIDE)
    at_ns = rng.randrange(SECOND, 3 * SECOND)
    sources = [replace(plan, serves_by_class=rng.random() < 1 / 2) for plan in sources]
    wishes = (Wish(RECEIVER, burden), Wish(RECEIVER, version, at_ns=at_ns))
    scenario = Scenario(
        "interrupted",
        seed,
        (*sources, receiver),
        wishes,
        options=NodeOptions(is_swarming=False),
        limit_ns=60 * SECOND,
    )

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        needed_bytes = version.set_bytes(version.classes[Criticality.CRITICAL])
        took_ns = report.recoveries[1].critical_ns or math.inf
        to_reach_s = 1.1 * needed_bytes / (len(sources) * RATE) + 0.2
        return [Measure("interrupted: seconds to critical", took_ns / SECOND, to_reach_s)]

    return Case(scenario, measure)


_KINDS: Final[tuple[Callable[[Random, int], Case], ...]] = (
    _slowed,
    _muted,
    _distant,
    _mixed,
    _late,
    _swarm,
    _interrupted,
)
