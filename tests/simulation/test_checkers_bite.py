"""Switch a safeguard off and a seed goes red: the checkers see what they are for."""

from dataclasses import replace

import pytest

from ckptd.core.options import Options
from ckptd.limits import SECOND
from ckptd.sim.cluster import Cluster
from ckptd.sim.drawing import draw_scenario
from ckptd.sim.node import NodeOptions

USUAL = Options()
NEVER_NS = 24 * 3600 * SECOND


@pytest.mark.parametrize(
    ("options", "seeds", "problem"),
    [
        pytest.param(
            replace(
                USUAL,
                silence_floor_ns=NEVER_NS,
                first_byte_floor_ns=NEVER_NS,
                first_byte_ceiling_ns=NEVER_NS,
            ),
            (101, 119),
            "has been silent",
            id="silence is never noticed",
        ),
        pytest.param(
            replace(USUAL, silence_floor_ns=1, silence_gaps=1, first_byte_floor_ns=1),
            (0, 1, 2),
            "has not ended",
            id="nobody is given time to answer",
        ),
        pytest.param(
            replace(USUAL, trust_per_bad_block=0),
            (287, 303, 319),
            "bad blocks",
            id="bad blocks cost no trust",
        ),
        pytest.param(
            replace(USUAL, back_off_first_ns=0),
            (112,),
            "failed in a minute",
            id="no pause after a failure",
        ),
        pytest.param(
            replace(USUAL, back_off_max_ns=60 * SECOND),
            (32,),
            "has stood still",
            id="pauses without an end",
        ),
        pytest.param(
            replace(USUAL, commit_age_ns=NEVER_NS, commit_bytes=2**60),
            (1, 2, 4),
            "this disk is slow",
            id="nothing is committed before the end",
        ),
        pytest.param(
            replace(USUAL, retry_ns=NEVER_NS),
            (12, 25, 33),
            "has not ended",
            id="what failed here is not tried again",
        ),
        pytest.param(
            replace(USUAL, lane_idle_ns=NEVER_NS),
            (3, 4, 47),
            "has been idle",
            id="lanes without work stay open",
        ),
    ],
)
def test_without_a_safeguard_a_seed_goes_red(
    options: Options, seeds: tuple[int, ...], problem: str
) -> None:
    found: list[str] = []
    for seed in seeds:
        scenario = draw_scenario(seed)
        try:
            Cluster(replace(scenario, options=NodeOptions(options))).run()
        except AssertionError as failed:
            found.append(str(failed))
    assert any(problem in what for what in found), found
