"""Compares what is predicted when a recovery begins with what it takes."""

from __future__ import annotations

from random import Random
from typing import Final

from ckptd.limits import GIB, MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.model.words import Criticality
from ckptd.sim.cases.case import RECEIVER, Case, Measure
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

CLUSTERS: Final = 8
"""So many are drawn."""

_PARTS_EVERY: Final = 4
"""In every fourth cluster some sources have only a part of the version."""

_SECOND_AT_NS: Final = 600 * SECOND
"""When the second recovery begins: the first is over, and what it learned is known."""


def predicted(seed: int) -> Case:
    """Healthy clusters: the first recovery is cold and says so, the second is predicted."""
    first = _draw(seed, 0)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del report
        clusters = [cluster, *(Cluster(_draw(seed, index)) for index in range(1, CLUSTERS))]
        for each in clusters[1:]:
            each.run()
        return _measure(clusters)

    return Case(first, measure)


def _measure(clusters: list[Cluster]) -> list[Measure]:
    cold, critical, complete, with_parts = 0, [0.0], [0.0], [0.0]
    for cluster in clusters:
        ends = cluster.nodes[RECEIVER].ends
        before, after = (ends[RecoveryId(f"{RECEIVER}.{index}")][1].final for index in range(2))
        cold += before.predicted_ns is not None or before.predicted_critical_ns is not None
        assert after.predicted_ns is not None, "the links are known"
        assert after.predicted_critical_ns is not None, "the links are known"
        assert after.critical_ns is not None, "it is complete"
        off_by = abs(after.predicted_ns / after.elapsed_ns - 1)
        if all(held.blocks is None for plan in cluster.scenario.nodes for held in plan.holds):
            complete.append(off_by)
            critical.append(abs(after.predicted_critical_ns / after.critical_ns - 1))
        else:
            with_parts.append(off_by)
    return [
        Measure("predictions without a known link", cold, 0),
        Measure("time to critical off by, at worst", max(critical), 0.2),
        Measure("time to complete off by, at worst", max(complete), 0.2),
        Measure("… where some sources have a part", max(with_parts), 0.2),
    ]


def _draw(seed: int, index: int) -> Scenario:
    rng = Random(f"predicted/{seed}/{index}")  # noqa: S311 (no secret)
    one, other = (_draw_version(rng, name) for name in ("llama/a", "llama/b"))
    rate = rng.choice((16, 32, 64, 128)) * MIB
    are_alike, has_parts = rng.choice((True, False)), index % _PARTS_EVERY == _PARTS_EVERY - 1
    sources = [
        NodePlan(
            NodeId(f"s{number}"),
            egress_bytes_per_s=rate if are_alike else rng.choice((8, 16, 32, 64, 128)) * MIB,
            latency_ns=rng.choice((MS // 4, MS, 10 * MS)),
            serving_bytes_per_s=rng.choice((None, None, 16 * MIB)),
            holds=(
                InitialHolding(one),
                InitialHolding(other, _draw_part(rng, other) if has_parts and number else None),
            ),
        )
        for number in range(rng.randint(1, 6))
    ]
    # Shown rates say nothing of another mix of sources if this node's ingress limited them.
    ingress = GIB if has_parts else rng.choice((64 * MIB, 256 * MIB, GIB))
    receiver = NodePlan(RECEIVER, ingress_bytes_per_s=ingress)
    wishes = (Wish(RECEIVER, one), Wish(RECEIVER, other, at_ns=_SECOND_AT_NS))
    return Scenario(
        "predicted",
        seed,
        (*sources, receiver),
        wishes,
        jitter=rng.choice((0.0, 0.1)),
        checks_every=0,
    )


def _draw_version(rng: Random, name: str) -> SavedVersion:
    sizes = {
        Criticality.CRITICAL: rng.randint(40, 200),
        Criticality.NORMAL: rng.randint(200, 800),
        Criticality.DEFERRED: rng.choice((0, rng.randint(50, 300))),
    }
    units = [UnitPlan(label, size * MIB) for label, size in sizes.items()]
    return SavedVersion(name, 100, units, MIB)


def _draw_part(rng: Random, version: SavedVersion) -> BlockSet:
    """Draw two thirds of a version that lie together."""
    third = len(version.blocks) // 3
    start = rng.randrange(third)
    return BlockSet(((start, start + 2 * third),))
