"""Clusters that recover a job: one version everywhere, whole, and the newest there was.

``make sim SEEDS=300 PROFILE=jobs`` runs many more; a seed that failed once stays here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final
from unittest import mock

import pytest

from ckptd.cli.sim import run_seed
from ckptd.core.effects import ChooseVersion, Effect
from ckptd.core.events import JobRequest
from ckptd.core.jobs import choosing
from ckptd.core.jobs.wholeness import Looked
from ckptd.core.state.job_claims import Layout
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MIB, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.shards import Shard, shard_name
from ckptd.model.words import Criticality
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Split
from ckptd.sim.script.job_drawing import JOB, draw_jobs
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion, UnitPlan
from tests.support.simulation import printed

_eligible: Final = choosing.eligible

ONCE_FAILED = (
    7,  # of versions whose holder was mute the older one was tried first when it answered again
    97,  # a holder that was mute twice was never asked again, though nobody else had the shard
)


@pytest.mark.parametrize("seed", [*range(16), *ONCE_FAILED])
def test_nodes_that_recover_at_once_end_with_one_version_that_is_whole(seed: int) -> None:
    problem = run_seed(seed, profile="jobs").problem
    assert not problem, f"replay with: make sim SEED={seed} PROFILE=jobs"


class _Changes(Check):
    """Counts how often a recovery went over to another version."""

    def __init__(self) -> None:
        self.versions: dict[str, list[int]] = {}

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        if isinstance(effect, ChooseVersion):
            self.versions.setdefault(effect.recovery, []).append(effect.version)


def _two_halves() -> Scenario:
    """Let one half see a newer version whole than the other; they meet again on the way."""
    old, new = ([_shard(index, version) for index in range(2)] for version in (100, 200))
    everything, slow = tuple(map(InitialHolding, (*old, *new))), 1 * MIB
    nodes = (
        NodePlan(NodeId("h0"), holds=everything),
        NodePlan(NodeId("h1"), holds=tuple(map(InitialHolding, old))),
        NodePlan(NodeId("r0"), ingress_bytes_per_s=slow),
        NodePlan(NodeId("r1"), ingress_bytes_per_s=slow),
    )
    half = frozenset({NodeId("h1"), NodeId("r1")})
    wishes = tuple(
        Wish(NodeId(name), JoinedVersion(JOB, new), SECOND, is_named=False, job=JobRequest())
        for name in ("r0", "r1")
    )
    split = Split(node=NodeId("r1"), at_ns=0, for_ns=15 * SECOND, half=half)
    return Scenario("two halves", 1, nodes, wishes, (split,))


def _shard(index: int, version: int) -> SavedVersion:
    plan = [UnitPlan(Criticality.NORMAL, 32 * MIB)]
    return SavedVersion(shard_name(JOB, Shard(index, 2)), version, plan, MIB, prefix=f"{index}/")


def test_halves_that_meet_again_on_the_way_end_with_the_newer_version() -> None:
    changes = _Changes()
    Cluster(_two_halves(), checks=[changes]).run()
    assert changes.versions == {"r0.0": [200], "r1.1": [100, 200]}


def test_without_going_over_to_what_others_recover_they_would_not() -> None:
    nothing = mock.patch("ckptd.core.jobs.seeking.find_agreement", return_value=None)
    with nothing, pytest.raises(CheckFailed, match="ended with"):
        Cluster(_two_halves()).run()


def _oldest_first(step: Step, recovery: Recovery) -> Iterator[Layout]:
    return reversed(list(_eligible(step, recovery)))


def _claimed_in_part(
    step: Step, recovery: Recovery, layout: Layout, *, is_reliable: bool = True
) -> Looked:
    del is_reliable
    shards = step.state.job_claims.shards(recovery.checkpoint, layout)
    contents = {index: [next(iter(claims))] for index, claims in shards.items()}
    return Looked(contents, "" if contents else "it has no shards")


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"choosing.eligible": _oldest_first}, "has been whole before"),
        (
            {f"{name}.look_at": _claimed_in_part for name in ("choosing", "collecting")},
            "is not whole",
        ),
    ],
    ids=["not the newest", "not whole"],
)
def test_a_choice_of_another_version_is_seen(rules: Mapping[str, object], problem: str) -> None:
    with ExitStack() as stack:
        for name, rule in rules.items():
            stack.enter_context(mock.patch(f"ckptd.core.jobs.{name}", rule))
        with pytest.raises(CheckFailed, match=problem):
            Cluster(draw_jobs(0)).run()


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    program = (
        "from ckptd.cli.sim import run_seed;"
        "print(*(run_seed(n, profile='jobs').digest for n in (2, 3, 6)))"
    )
    stories = {printed(program, hash_seed=hash_seed) for hash_seed in ("1", "2")}
    assert len(stories) == 1
    (story,) = stories
    assert len(story.split()) == 3
