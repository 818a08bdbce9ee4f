"""Which version of a job is chosen, and how that is explained."""

from __future__ import annotations

from ckptd.core.jobs.choosing import announced
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName
from tests.support.jobs import JOB, JobScript, all_shards, recovering
from tests.support.scheduling import A, B, C

OLD, NEW = all_shards(2, version=100), all_shards(2, version=200)


def test_what_peers_recover_is_listed_by_version_of_those_that_are_trusted() -> None:
    script = JobScript()
    script.tell(
        recovering(script.have(A), 100), recovering(script.have(B), 100),
        recovering(script.have(C), 200),
    )  # fmt: skip
    state = script.scheduler.inspect()
    assert announced(state, JOB, now=script.now) == {100: [A, B], 200: [C]}
    assert not announced(state, CheckpointName("other"), now=script.now)
    state.peers[C].standing.quarantined_until_ns = SECOND
    assert announced(state, JOB, now=script.now) == {100: [A, B]}
    script.tell(script.have(A))
    assert announced(state, JOB, now=script.now) == {100: [B]}


def test_older_versions_are_explained_as_such_and_at_most_five_are() -> None:
    script = JobScript()
    versions = [all_shards(2, 1, version=version) for version in range(100, 110)]
    script.begin(script.have(A, *(shard for version in versions for shard in version)))
    assert script.chosen() == 109
    assert script.passed_over() == dict.fromkeys(range(104, 109), "older")


def test_two_layouts_of_one_version_are_shown_as_such() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, *all_shards(4)))
    assert script.chosen() == 100
    choice = script.recovery().story.choice
    assert choice is not None
    assert choice.why == "newest that is whole for all 2 shards"
    assert script.passed_over() == {100: "another layout of the same version"}


def test_a_version_below_what_this_node_had_is_not_taken_unless_it_is_named() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, NEW[0]), not_below=150, patience_ms=60_000)
    assert script.chosen() is None
    script.tell(script.have(B, NEW[1]))
    assert script.chosen() == 200
    script = JobScript()
    script.begin(script.have(A, *OLD), not_below=150, version=100)
    assert script.chosen() == 100
