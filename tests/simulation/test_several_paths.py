"""Nodes that are reached at several addresses: each path is a source, and a node is one node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.limits import MIB, MS, SECOND
from ckptd.model.ids import Origin
from ckptd.model.words import Result
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Crash
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from tests.support.simulation import S0, S1, R, laid_out

RATE = 16 * MIB
VERSION = laid_out(critical=8, normal=56)


def scenario(*sources: NodePlan, seed: int = 1) -> Scenario:
    plans = [replace(plan, holds=(InitialHolding(VERSION),)) for plan in sources]
    return Scenario("paths", seed, (*plans, NodePlan(R)), (Wish(R, VERSION),), checks_every=1)


def test_a_node_whose_connections_are_slow_delivers_faster_on_more_paths() -> None:
    took_s = []
    for path_count in (1, 4):
        plan = NodePlan(S0, flow_bytes_per_s=RATE, path_count=path_count)
        (recovery,) = Cluster(scenario(plan)).run().recoveries
        assert (recovery.result, recovery.bytes.duplicate) == (Result.COMPLETE, 0)
        assert recovery.complete_ns is not None
        took_s.append(recovery.complete_ns / SECOND)
    assert took_s[1] < took_s[0] / 1.5


@pytest.mark.parametrize("seed", range(8))
def test_a_node_that_dies_and_comes_back_is_lost_and_found_on_all_its_paths(seed: int) -> None:
    plans = (NodePlan(S0, flow_bytes_per_s=RATE, path_count=3), NodePlan(S1, RATE, path_count=2))
    crash = Crash(node=S0, at_ns=(200 + 50 * seed) * MS, for_ns=(500 + 100 * seed) * MS)
    report = Cluster(replace(scenario(*plans, seed=seed), faults=(crash,))).run()
    assert [recovery.result for recovery in report.recoveries] == [Result.COMPLETE]
    assert not any(node.quarantined for node in report.nodes)


@pytest.mark.parametrize("seed", range(8))
def test_a_liar_is_one_liar_however_many_paths_lead_to_it(seed: int) -> None:
    liar = NodePlan(S0, bad_share=0.5, path_count=3)
    cluster = Cluster(scenario(liar, NodePlan(S1, RATE), seed=seed))
    report = cluster.run()
    assert [recovery.result for recovery in report.recoveries] == [Result.COMPLETE]
    standings = cluster.nodes[R].scheduler.inspect().standings
    assert {name for name, known in standings.items() if known.evidence.bad_block_count} == {
        Origin(S0)
    }
