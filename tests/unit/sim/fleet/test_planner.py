"""The planner that knows everything: what it moves, and what it need not."""

from __future__ import annotations

from ckptd.limits import GIB
from ckptd.model.ids import NodeId
from ckptd.sim.fleet.fleet import Fleet
from ckptd.sim.fleet.plan import FleetPlan, Mishap, MishapKind
from ckptd.sim.fleet.planner import Planner
from tests.support.steady_fleets import CHANGE_NS, death_of, steady_fleet

NODES, ZONES, NAMES = 4, 2, 4


def planned(*mishaps: Mishap) -> int:
    """Return how many gigabytes it moves in a fleet of four versions, two copies of each."""
    plan: FleetPlan = steady_fleet(nodes=NODES, zones=ZONES, names=NAMES, mishaps=mishaps)
    planner = Planner()
    Fleet(plan, [planner]).run()
    return planner.moved_bytes // GIB


def test_each_version_that_a_job_saved_needs_one_more_copy() -> None:
    assert planned() == NAMES


def test_what_a_dead_node_had_is_copied_once_more() -> None:
    assert NAMES < planned(death_of(NodeId("n001"))) <= 2 * NAMES


def test_who_returns_in_time_costs_nothing() -> None:
    away = Mishap(MishapKind.LOSE, (NodeId("n001"),), CHANGE_NS, CHANGE_NS // 16)
    assert planned(away) == NAMES


def test_halves_that_meet_again_in_time_cost_nothing() -> None:
    apart = Mishap(MishapKind.SPLIT, (NodeId("n001"),), CHANGE_NS, CHANGE_NS // 16)
    assert planned(apart) == NAMES
