"""Two contents go by one version, and some nodes invent more: seed by seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest import mock

import pytest

from ckptd.core.report.rivals import Rival
from ckptd.core.stages.rival_choice import Settled
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest, Version
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.rivaling import draw_rivals

SEEDS = 120


@cache
def story(seed: int) -> tuple[str, ...]:
    """Run a seed; whatever must hold is checked meanwhile."""
    cluster = Cluster(draw_rivals(seed), keeps_story=True)
    cluster.run()
    return tuple(cluster.chronicle.lines)


def test_what_is_raised_and_lost_goes_first_again() -> None:
    assert story(455)


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_of_several_contents_none_is_guessed_and_invented_ones_stop_nobody(first: int) -> None:
    for seed in range(first, first + 20):
        assert story(seed)


@pytest.mark.parametrize("seed", [1657, 2646])
def test_a_holder_whose_sample_is_wrong_is_questioned_and_completes_nothing(seed: int) -> None:
    assert any(" bad_block " in line for line in story(seed))


def test_the_same_seed_tells_the_same_story() -> None:
    assert story(0) == story.__wrapped__(0)


def test_all_that_may_happen_to_several_contents_happens() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        text = "\n".join(story(seed))
        seen.update(set(re.findall(r"RivalExamined \S+ \S+ (\w+)", text)))
        seen.update(set(re.findall(r"EndRecovery \S+ (\w+ \w+)", text)))
        chosen = Counter(re.findall(r"ChooseVersion (\S+)", text))
        seen["chosen again"] += any(count > 1 for count in chosen.values())
    expected = {"genuine", "false", "no_answer", "complete None", "failed conflict", "chosen again"}
    assert expected <= {name for name, count in seen.items() if count}


def _guess(step: Step, recovery: Recovery, version: Version, rivals: list[Rival]) -> Settled | None:
    return Settled(rivals[0].digest, "a guess")


def _unseen(
    step: Step,
    recovery: Recovery,
    version: Version,
    contents: list[Digest],
    claims: object,
    *,
    count: int,
) -> Settled | None:
    return Settled(contents[0], "nobody looked")


@pytest.mark.parametrize(
    ("name", "function", "problem"),
    [
        ("rival_choice._settle", _guess, "is a guess"),
        ("seeking.settle_rivals", _unseen, "nobody was seen to have it"),
    ],
)
def test_a_guess_is_noticed(name: str, function: Callable[..., Any], problem: str) -> None:
    noticed = set()
    with mock.patch(f"ckptd.core.stages.{name}", function):
        for seed in range(20):
            try:
                Cluster(draw_rivals(seed)).run()
            except AssertionError as failed:
                noticed.add(str(failed))
    assert any(problem in each for each in noticed), noticed
