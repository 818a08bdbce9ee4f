"""Whole recoveries in which nothing goes wrong take as long as they should."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.effects import EndRecovery
from ckptd.core.explain.prediction import needs_of, predict
from ckptd.limits import GIB, MIB, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion
from tests.support.simulation import R0, S0, S1, R, laid_out


def healthy(version: SavedVersion, rates: dict[NodeId, int]) -> tuple[Cluster, EndRecovery]:
    """Run a recovery from complete holders that never fail, at so many MiB/s each."""
    holds = (InitialHolding(version),)
    sources = [
        NodePlan(node, egress_bytes_per_s=rate * MIB, latency_ns=5 * MS, holds=holds)
        for node, rate in rates.items()
    ]
    receiver = NodePlan(R, ingress_bytes_per_s=GIB, disk_bytes_per_s=8 * GIB)
    scenario = Scenario("healthy", 1, (*sources, receiver), (Wish(R, version),))
    cluster = Cluster(replace(scenario, comes_to_rest=True))
    cluster.run()
    return cluster, cluster.nodes[R].ends[R0][1]


def test_each_source_brings_what_it_can_and_all_finish_together() -> None:
    _, end = healthy(laid_out(normal=600), {S0: 40, S1: 10})
    fast, slow = (source.verified_bytes for source in end.final.sources)
    assert 3.5 * slow < fast < 4.5 * slow
    # 600 MiB at 50 MiB/s are 12 s.
    assert 12 * SECOND < end.final.elapsed_ns < 13.5 * SECOND
    assert end.final.received_bytes == 600 * MIB


def test_critical_units_are_durable_long_before_the_rest_is_here() -> None:
    _, end = healthy(laid_out(critical=60, normal=540), {S0: 10, S1: 10})
    assert end.final.critical_ns is not None
    assert end.final.critical_ns < 5 * SECOND < 30 * SECOND < end.final.elapsed_ns


def test_a_healthy_run_takes_within_a_fifth_of_what_was_predicted() -> None:
    version = laid_out(normal=600)
    cluster, end = healthy(version, {S0: 40, S1: 10})
    supplies = cluster.nodes[R].scheduler.supplies(version.digest, now=cluster.world.now)
    needs = needs_of(version.space, version.space.class_ends(), version.blocks)
    predicted = predict(needs, supplies).complete_ns
    assert predicted is not None
    assert abs(predicted - end.final.elapsed_ns) <= 0.2 * end.final.elapsed_ns
