"""Ranges of a unit that is away come before everything else, and readers are fetched ahead of."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ckptd.limits import GIB, KIB, MIB, SECOND
from ckptd.model.ids import RecoveryId
from ckptd.sim.cases.case import RECEIVER, Case, Measure, equal_sources, lay_out, one_recovery
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.reading import Read
from ckptd.sim.script.requests import WantRest
from ckptd.sim.script.scenario import Scenario
from ckptd.sim.world.layouts import SavedVersion

LINK_BYTES_PER_S: Final = 125_000_000
ROUND_TRIP_S: Final = 0.001
"""A quarter of a millisecond for each node, there and back."""

READS: Final = 40
LAYER_BYTES: Final = 200 * MIB
_RECOVERY: Final = RecoveryId(f"{RECEIVER}.0")


def lazy(seed: int) -> Case:
    """Read at random, on demand and beside a recovery; then in order; then the first layer."""
    version = lay_out(GIB)
    rng = Random(f"lazy/{seed}")  # noqa: S311 (no secret)
    at_random = [rng.random() for _ in range(READS)]
    bound_s = 2 * ROUND_TRIP_S + MIB / LINK_BYTES_PER_S

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del report
        beside = _run(_reading(seed, version, at_random, 4 * KIB, on_demand=False))
        in_order = _run(_reading(seed, version, [0.0, *[None] * 1023], MIB))
        whole = _run(_reading(seed, version, [0.0], GIB))
        layer = _run(_reading(seed, version, [0.0], LAYER_BYTES))
        ideal_s = version.size_bytes / LINK_BYTES_PER_S
        return [
            Measure("random: to 2 round trips + a block", _median_s(cluster) / bound_s, 1),
            Measure("… beside a recovery of all", _median_s(beside) / bound_s, 2),
            Measure("1 MiB after another: time / ideal", sum(_taken_s(in_order)) / ideal_s, 1.11),
            Measure("in one go: time / ideal", sum(_taken_s(whole)) / ideal_s, 1.11),
            Measure(
                "first layer: s beyond 1.1 times bytes / rate",
                sum(_taken_s(layer)) - 1.1 * LAYER_BYTES / LINK_BYTES_PER_S,
                0.3,
            ),
        ]

    return Case(_reading(seed, version, at_random, 4 * KIB), measure)


def _run(scenario: Scenario) -> Cluster:
    cluster = Cluster(scenario)
    cluster.run()
    return cluster


def _reading(
    seed: int,
    version: SavedVersion,
    offsets: Sequence[float | None],
    size_bytes: int,
    *,
    on_demand: bool = True,
) -> Scenario:
    sources = [
        replace(plan, egress_bytes_per_s=LINK_BYTES_PER_S) for plan in equal_sources(1, version)
    ]
    read = Read(
        node=RECEIVER,
        at_ns=SECOND,
        recovery=_RECOVERY,
        reader="reader",
        share=0.5,
        offsets=tuple(offsets),
        size_bytes=size_bytes,
    )
    rest = WantRest(node=RECEIVER, at_ns=25 * SECOND, recovery=_RECOVERY)
    scenario = one_recovery("lazy", seed, version, sources, read, rest)
    [wish] = scenario.wishes
    return replace(scenario, wishes=(replace(wish, is_on_demand=on_demand),), checks_every=50)


def _taken_s(cluster: Cluster) -> list[float]:
    return [taken_ns / SECOND for taken_ns in cluster.nodes[RECEIVER].reads_ns]


def _median_s(cluster: Cluster) -> float:
    return statistics.median(_taken_s(cluster))
