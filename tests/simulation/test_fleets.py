"""Fleets drawn from seeds, with books of their own and a planner that knows everything.

``make sim SEEDS=300 PROFILE=copies`` runs many more; a seed that failed once stays here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.cli.sim import run_seed
from ckptd.limits import GIB
from ckptd.model.ids import NodeId
from ckptd.sim.fleet.drawing import draw_fleet
from tests.simulation.fleet_ablations import FLEET_ABLATIONS, FleetAblation
from tests.support.simulation import printed
from tests.support.steady_fleets import COPIES, death_of, moved_after_change, steady_fleet

ONCE_FAILED: tuple[int, ...] = ()
QUICK: tuple[int, ...] = (4, 5, 12)
NODES, ZONES, NAMES = 6, 3, 18


@pytest.mark.parametrize("seed", [*QUICK, *ONCE_FAILED])
def test_a_drawn_fleet_keeps_every_promise(seed: int) -> None:
    problem = run_seed(seed, profile="copies").problem
    assert not problem, f"replay with: make sim SEED={seed} PROFILE=copies"


def test_a_fleet_tells_the_same_story_in_every_process() -> None:
    program = (
        "from ckptd.cli.sim import run_seed;"
        "print(*(run_seed(n, profile='copies').digest for n in (12,)))"
    )
    stories = {printed(program, hash_seed=hash_seed) for hash_seed in ("1", "2")}
    assert len(stories) == 1


def test_a_node_that_dies_costs_what_it_had() -> None:
    """Over all nodes that may die that is the n-th part of all copies, on the average."""
    plans = [
        steady_fleet(
            nodes=NODES, zones=ZONES, names=NAMES, mishaps=[death_of(NodeId(f"n{index:03d}"))]
        )
        for index in range(NODES)
    ]
    moved = sum(map(moved_after_change, plans)) / len(plans)
    assert moved <= 1.2 * NAMES * COPIES * GIB / NODES


def test_a_node_that_joins_moves_no_more_than_its_part() -> None:
    moved = moved_after_change(steady_fleet(nodes=NODES, zones=ZONES, names=NAMES, joins=True))
    assert moved <= 1.2 * NAMES * COPIES * GIB / (NODES + 1)


def test_news_that_are_late_alone_do_no_harm() -> None:
    """What the ablation of asking changes besides is not what goes red there."""
    [asking] = [each for each in FLEET_ABLATIONS if each.numbers.keys() == {"paces"}]
    problems = [replace(asking, rules={}).miss(seed) for seed in asking.seeds[:2]]
    assert not any(asking.problem in problem for problem in problems), problems


@pytest.mark.parametrize("ablation", FLEET_ABLATIONS, ids=lambda ablation: ablation.safeguard)
def test_without_a_safeguard_a_fleet_goes_red(ablation: FleetAblation) -> None:
    assert ablation.seeds
    problems = map(ablation.miss, ablation.seeds)  # one is enough
    assert any(ablation.problem in problem for problem in problems)


def test_a_drawn_fleet_has_much_that_goes_wrong() -> None:
    """Of every kind there is something in some of the first seeds."""
    plans = [draw_fleet(seed) for seed in range(60)]
    kinds = {mishap.kind for plan in plans for mishap in plan.mishaps}
    lies = {member.lie for plan in plans for member in plan.members}
    assert (len(kinds), len(lies)) == (6, 4)
    assert any(member.joins_at_ns for plan in plans for member in plan.members)
