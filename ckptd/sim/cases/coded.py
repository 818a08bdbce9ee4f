"""Blocks come coded where that is faster, and as they are where it is not."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Final

from ckptd.limits import GIB, MIB, MS, RANGE_BYTES_MAX, SECOND
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.sim.cases.case import RECEIVER, Case, Measure, lay_out, took_s
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.processors import Body, Processors
from ckptd.traffic.coding_choice import AGAIN_MIN_NS, PROBE_BYTES_MAX

GBIT: Final = 10**9 // 8
SHARE: Final = 1 / 17
"""Of bf16 weights one step of fine-tuning apart."""
_APART_NS: Final = 600 * SECOND
"""When the next recovery begins: the one before is over."""
_PROBES: Final = 2
"""So often it is asked for: the first one is not counted, the second one is …"""
_AGAIN_S: Final = AGAIN_MIN_NS / SECOND
"""… and later the other way is measured again."""


def slow_link(seed: int) -> Case:
    """Over 1 Gbit/s weights one step apart take hardly longer than what is sent of them."""
    size_bytes = 16 * GIB
    processors = Processors(cores=4, coding_cores=4)
    scenario = neighbours("coded", seed, size_bytes, GBIT, processors)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        coding = cluster.nodes[RECEIVER].coding
        plain_bytes = size_bytes - coding.coded_bytes
        sent_bytes = cluster.network.sent_bytes(scenario.nodes[0].name)
        coded_s = size_bytes * SHARE / GBIT
        return [
            Measure("bytes that are as they are / all", plain_bytes / size_bytes, 0.05),
            Measure("bytes sent / counted", sent_bytes / (plain_bytes + coding.sent_bytes), 1),
            Measure("time / coded bytes at that rate", took_s(report) / coded_s, 1.3),
        ]

    return Case(scenario, measure)


def wide(seed: int) -> Case:
    """Over 10 Gbit/s, with four idle cores at both ends, coding still pays."""
    processors = Processors(cores=4, coding_cores=4)
    scenario = neighbours("coded, wide", seed, 16 * GIB, 10 * GBIT, processors)
    return _compared(scenario, 1 / 1.2)


def busy(seed: int) -> Case:
    """Where jobs have the processors of both ends little is lost by looking whether it pays."""
    processors = Processors(cores=0.25, coding_cores=4)
    scenario = neighbours("coded, busy", seed, 16 * GIB, 100 * GBIT, processors)
    return _compared(scenario, 1.02)


def foreseen(seed: int) -> Case:
    """Once blocks came coded it is predicted how soon the next version is here, and others are."""
    versions = [lay_out(4 * GIB).alike(f"~{number}", ahead=number) for number in range(4)]
    for before, version in pairwise(versions):
        version.shares[before.digest] = SHARE
    others = [lay_out(GIB, name=name) for name in ("llama/b", "llama/c")]
    scenario = neighbours("foreseen", seed, 4 * GIB, GBIT, Processors(cores=4, coding_cores=4))
    source, receiver = scenario.nodes
    holds = tuple(InitialHolding(version) for version in (*versions, *others))
    order = (versions[1], versions[2], others[0], versions[3], others[1])
    wishes = tuple(
        Wish(RECEIVER, version, at_ns=number * _APART_NS) for number, version in enumerate(order)
    )
    nodes = (replace(source, holds=holds), replace(receiver, holds=holds[:1]))
    scenario = replace(scenario, nodes=nodes, wishes=wishes)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del report
        ends = cluster.nodes[RECEIVER].ends

        def off_by(number: int) -> float:
            final = ends[RecoveryId(f"{RECEIVER}.{number}")][1].final
            return math.inf if final.predicted_ns is None else final.predicted_ns / final.elapsed_ns

        return [
            Measure("the next version: predicted / time", off_by(3), 1.5),
            Measure("… time / predicted", 1 / off_by(3), 1.5),
            Measure("what has no base: predicted / time", off_by(4), 1.3),
            Measure("… time / predicted", 1 / off_by(4), 1.3),
        ]

    return Case(scenario, measure)


def draw_neighbours(seed: int) -> Case:
    """Draw sources and a receiver, with what is between them and what their processors do.

    Blocks that differ much or little, links and processors that are fast or slow: looking whether
    coding pays must cost no more than what is asked for until that is known.
    """
    rng = Random(f"neighbours/{seed}")  # noqa: S311 (no secret)
    version = lay_out(rng.choice((64, 256, 1024)) * MIB)
    older = version.before(rng.choice((0.01, 1 / 17, 0.3, 0.7, 1.0)))
    sources = [
        NodePlan(
            NodeId(f"s{number}"),
            egress_bytes_per_s=rng.choice((GBIT // 8, GBIT, 3 * GBIT, 10 * GBIT)),
            latency_ns=rng.choice((MS // 20, MS // 4, MS)),
            holds=(InitialHolding(version), InitialHolding(older)),
            processors=_draw_processors(rng),
        )
        for number in range(rng.randint(1, 3))
    ]
    receiver = NodePlan(
        RECEIVER,
        ingress_bytes_per_s=rng.choice((GBIT, 10 * GBIT, 100 * GBIT)),
        disk_bytes_per_s=8 * GIB,
        holds=(InitialHolding(older),) if rng.choice((True, True, True, False)) else (),
        processors=_draw_processors(rng),
    )
    wishes = (Wish(RECEIVER, version),)
    scenario = Scenario("neighbours", seed, (*sources, receiver), wishes, checks_every=50)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        plain_s = took_s(Cluster(as_they_are(scenario)).run())
        probed_s = sum(_probe_s(plan, receiver) for plan in sources)
        probed_s *= _PROBES + plain_s // _AGAIN_S
        name = "time / time of blocks as they are and of probes"
        return [Measure(name, took_s(report) / (plain_s + probed_s), 1.05)]

    return Case(scenario, measure)


def _draw_processors(rng: Random) -> Processors:
    factor = rng.choice((0.3, 1, 2))
    return Processors(
        cores=rng.choice((0.5, 1, 4, 16)),
        coding_bytes_per_s=0.8e9 * factor,
        decoding_bytes_per_s=1e9 * factor,
        coding_cores=rng.choice((0.0, 0.5, 0.5, 4)),
    )


def _probe_s(source: NodePlan, receiver: NodePlan) -> float:
    """Return how long it takes at most to try coded blocks of a source once.

    That is what is asked for until it is known, which ends with a whole range.
    """
    size_bytes = PROBE_BYTES_MAX + RANGE_BYTES_MAX
    body = Body(size_bytes, size_bytes, (size_bytes,))
    sending, taking = source.processors, receiver.processors
    sent_s = size_bytes / (sending.sends(body) * sending.core_share(1))
    taken_s = size_bytes / (taking.takes(body) * taking.core_share(1))
    return max(sent_s, taken_s)


def neighbours(
    name: str, seed: int, size_bytes: int, rate_bytes_per_s: int, processors: Processors
) -> Scenario:
    """Let a node that has the version before recover one from a source that has both.

    Args:
        name: Of the scenario.
        seed: Of the scenario.
        size_bytes: How long the version is.
        rate_bytes_per_s: What is between them.
        processors: At both ends.
    """
    version = lay_out(size_bytes)
    older = version.before(SHARE)
    source = NodePlan(
        NodeId("s0"),
        egress_bytes_per_s=rate_bytes_per_s,
        holds=(InitialHolding(version), InitialHolding(older)),
        processors=processors,
    )
    receiver = NodePlan(
        RECEIVER,
        ingress_bytes_per_s=rate_bytes_per_s,
        disk_bytes_per_s=8 * GIB,
        holds=(InitialHolding(older),),
        processors=processors,
    )
    return Scenario(name, seed, (source, receiver), (Wish(RECEIVER, version),), checks_every=50)


def as_they_are(scenario: Scenario) -> Scenario:
    """Return the same where nobody codes."""
    nodes = tuple(
        replace(plan, processors=replace(plan.processors, coding_cores=0, asks=False))
        for plan in scenario.nodes
    )
    return replace(scenario, nodes=nodes)


def _compared(scenario: Scenario, to_reach: float) -> Case:
    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        plain_s = took_s(Cluster(as_they_are(scenario)).run())
        return [Measure("time / time of blocks as they are", took_s(report) / plain_s, to_reach)]

    return Case(scenario, measure)
