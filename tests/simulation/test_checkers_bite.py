"""Do without a safeguard and a seed goes red: the checkers see what they are for.

``make ablations`` looks for such seeds; here are some that it found.
"""

from __future__ import annotations

import pytest

from ckptd.sim.cluster import Cluster
from ckptd.sim.script.drawing import draw_scenario
from tests.simulation.ablations import ABLATIONS, Ablation
from tests.simulation.breakages import BREAKAGES, Breakage


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.safeguard)
def test_without_a_safeguard_a_seed_goes_red(ablation: Ablation) -> None:
    assert ablation.seeds
    problems = [ablation.miss(seed) for seed in ablation.seeds]
    assert any(ablation.problem in problem for problem in problems), problems


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.rule)
def test_a_broken_rule_is_noticed_in_chaos(breakage: Breakage) -> None:
    assert breakage.problem in breakage.notice(breakage.seed)


def test_safeguards_are_back_after_they_were_missed() -> None:
    by_name = {ablation.safeguard: ablation for ablation in ABLATIONS}
    missed = by_name["waiting for what is more urgent"]
    assert missed.miss(missed.seeds[0])
    Cluster(draw_scenario(missed.seeds[0])).run()
