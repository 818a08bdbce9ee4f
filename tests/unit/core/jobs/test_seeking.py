"""Recoveries of jobs from the request to the joined version, as scripts of events."""

from __future__ import annotations

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    FetchManifest,
    FetchRange,
    JoinManifests,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    DiscoverySettled,
    JobRequest,
    JoinRefused,
    PeerLost,
    RecoveryPaused,
    RecoveryRequested,
    RecoveryResumed,
    Refusal,
    VersionPlaced,
)
from ckptd.core.options import Options, RivalOptions
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import FailureCause, OnConflict, Result, Stage
from tests.support.jobs import (
    JOB,
    JobScript,
    all_shards,
    ends,
    job_wanted,
    joint_digest,
    shard_of,
)
from tests.support.scheduling import A, B, C, R, holding, ranges

TWO = all_shards(2)
NEWER = all_shards(2, version=200)


def test_the_newest_version_that_is_whole_for_all_shards_is_taken_and_newer_ones_explained() -> (
    None
):
    script = JobScript()
    effects = script.begin(script.have(A, TWO[0], NEWER[0]), script.have(B, TWO[1]))
    assert script.chosen() == 100
    assert script.passed_over() == {200: "shard 1/2 is missing: nobody has it"}
    [join] = [each for each in effects if isinstance(each, JoinManifests)]
    members = tuple(each.digest for each in TWO)
    assert join == JoinManifests(R, JOB, Version(100), members)
    digest = joint_digest(members)
    [choice] = [each for each in effects if isinstance(each, ChooseVersion)]
    assert (choice.checkpoint, choice.version, choice.digest) == (JOB, 100, digest)
    assert choice.why == "newest that is whole for all 2 shards"
    [prepare] = [each for each in effects if isinstance(each, PrepareStaging)]
    assert prepare.digest == digest
    assert script.joint is not None
    assert prepare.space is script.joint.space
    assert script.scheduler.recovering() == ((JOB, 100),)


def test_a_joined_version_comes_from_all_who_have_its_shards_and_is_placed_as_one() -> None:
    script = JobScript()
    script.begin(script.have(A, TWO[0]), script.have(B, TWO[1]))
    effects = script.prepare()
    sources = {order.source for order in ranges(effects)}
    assert sources == {A, B}
    placed = script.complete()
    assert [each for each in placed if isinstance(each, PlaceVersion)] == [
        PlaceVersion(R, BlockSet())
    ]
    [end] = ends(script.tell(VersionPlaced(R)))
    assert end.result is Result.COMPLETE
    assert (end.final.checkpoint, end.final.version) == (JOB, 100)
    script.wake()
    assert not script.scheduler.inspect().joints
    assert script.scheduler.recovering() == ()
    assert all(not peer.joined for peer in script.scheduler.inspect().peers.values())


def test_no_range_leads_from_one_shard_into_another() -> None:
    script = JobScript()
    shards = [shard_of(at, 4, 3, 5, critical=(2,), config=None) for at in range(4)]
    script.begin(script.have(A, *shards))
    script.prepare()
    assert script.joint is not None
    seen = BlockSet()
    while script.in_flight:
        for order in script.in_flight:
            assert order.blocks.end <= script.joint.piece_end(order.blocks.start)
            seen |= BlockSet((order.blocks,))
            script.deliver(order)
    assert len(seen) == script.joint.space.block_count


def test_critical_units_of_all_shards_go_before_others_of_any() -> None:
    script = JobScript()
    shards = [shard_of(at, 2, 4, critical=(2,), config=None) for at in range(2)]
    script.begin(script.have(A, *shards))
    script.prepare()
    order = []
    while script.in_flight:
        first = script.in_flight[0]
        order += [first.criticality] * first.blocks.block_count
        script.deliver(first)
    assert order == sorted(order)


def test_only_the_shards_that_are_wanted_are_joined_but_all_have_to_be_whole() -> None:
    script = JobScript()
    script.begin(script.have(A, TWO[0], NEWER[0]), script.have(B, TWO[1]), shards=[0])
    assert script.chosen() == 100
    assert {order.digest for order in script.asked} == {each.digest for each in TWO}
    assert script.joint is not None
    assert list(script.joint.shards) == [TWO[0].digest]


def test_a_layout_without_a_shard_that_is_wanted_is_passed_over() -> None:
    script = JobScript()
    four = all_shards(4, version=100)
    script.begin(script.have(A, *four, *NEWER), shards=[3])
    assert script.chosen() == 100
    assert script.passed_over() == {200: "it has only 2 shards"}


def test_a_layout_of_another_number_of_shards_is_not_what_was_asked_for() -> None:
    script = JobScript()
    script.tell(script.have(A, *all_shards(4), *NEWER), DiscoverySettled())
    script.tell(RecoveryRequested(R, JOB, job=JobRequest(frozenset({1}), count=4)))
    assert script.chosen() == 100


def test_a_version_that_is_named_is_taken_though_a_newer_one_is_whole() -> None:
    script = JobScript()
    script.begin(script.have(A, *TWO, *NEWER), version=100)
    assert script.chosen() == 100
    assert script.passed_over() == {200: "not the one that was named"}


def test_nothing_is_chosen_before_all_were_asked() -> None:
    script = JobScript()
    script.tell(script.have(A, *TWO), job_wanted())
    assert script.view().stage is Stage.SEEKING
    assert script.view().waiting_for == "peers to say what they hold"
    script.tell(DiscoverySettled())
    assert script.chosen() == 100


def test_what_is_here_already_makes_a_version_whole() -> None:
    script = JobScript(*TWO)
    script.tell(script.have(A, TWO[1]), DiscoverySettled())
    script.tell(RecoveryRequested(R, JOB, own=(holding(TWO[0]),), job=JobRequest()))
    assert script.chosen() == 100
    assert (None, TWO[0].digest) in {(order.source, order.digest) for order in script.asked}


def test_what_this_node_turns_out_not_to_have_does_not_count() -> None:
    script = JobScript(TWO[1])
    script.tell(script.have(A, TWO[1]), DiscoverySettled())
    script.tell(RecoveryRequested(R, JOB, own=(holding(TWO[0]),), job=JobRequest()))
    assert script.chosen() is None
    script.tell(script.have(B, TWO[0]))
    assert script.chosen() == 100


def test_a_recovery_waits_for_a_shard_and_goes_on_by_itself_when_its_holder_returns() -> None:
    script = JobScript()
    script.begin(script.have(A, TWO[0]), patience_ms=60_000)
    assert script.view().stage is Stage.SEEKING
    script.wait(5_000)
    script.tell(script.have(B, TWO[1]))
    assert script.chosen() == 100


def test_when_patience_ends_it_says_which_shard_is_missing_and_where_it_was_last() -> None:
    script = JobScript()
    script.tell(script.have(A, TWO[0]), script.have(B, TWO[1]), PeerLost(B), DiscoverySettled())
    effects = script.tell(job_wanted(patience_ms=3_000))
    assert not ends(effects)
    [end] = ends(script.wait(3_000))
    assert end.cause is FailureCause.REQUIRED_MISSING
    assert end.message == (
        "no version of gpt is whole: 100 in 2 shards lacks one: shard 1/2 is missing: "
        "it was last at b, which does not answer"
    )


def test_a_job_of_which_nobody_has_a_shard_is_a_mistake() -> None:
    script = JobScript()
    script.tell(script.have(A, *TWO), DiscoverySettled())
    effects = script.tell(RecoveryRequested(R, CheckpointName("gtp"), job=JobRequest()))
    [end] = ends(effects)
    assert end.cause is FailureCause.UNKNOWN
    assert end.message == "nobody has shards of gtp; known: gpt"


def test_files_that_differ_between_shards_are_a_conflict_that_names_them() -> None:
    script = JobScript()
    shards = [shard_of(at, 2, config=f"of rank {at}") for at in range(2)]
    [end] = ends(script.begin(script.have(A, *shards)))
    assert end.cause is FailureCause.CONFLICT
    assert "'config.json' is other content in shard 0/2 than in shard 1/2" in end.message


def test_several_contents_of_one_shard_are_a_conflict_that_names_it() -> None:
    script = JobScript()
    other = shard_of(1, 2, content="other")
    [end] = ends(script.begin(script.have(A, *TWO), script.have(B, other)))
    assert end.cause is FailureCause.CONFLICT
    assert end.message.startswith("gpt/shard-1-of-2@100 has 2 contents: ")
    assert {rival.digest for rival in end.rivals} == {TWO[1].digest, other.digest}


def test_of_several_contents_of_a_shard_this_nodes_own_is_taken() -> None:
    script = JobScript()
    other = shard_of(1, 2, content="other")
    script.tell(script.have(A, *TWO), script.have(B, other), DiscoverySettled())
    script.tell(RecoveryRequested(R, JOB, had=frozenset({other.digest}), job=JobRequest()))
    assert script.joint is not None
    assert list(script.joint.shards) == [TWO[0].digest, other.digest]


@pytest.mark.parametrize("on_conflict", list(OnConflict))
def test_a_recovery_in_the_background_waits_where_several_contents_are_or_takes_the_usual_one(
    on_conflict: OnConflict,
) -> None:
    script = JobScript(options=Options(rivals=RivalOptions(on_conflict=on_conflict)))
    other = shard_of(1, 2, content="other")
    script.begin(
        script.have(A, *TWO), script.have(B, other), script.have(C, other),
        is_background=True, patience_ms=30_000,
    )  # fmt: skip
    if on_conflict is OnConflict.MOST_HOLDERS:
        assert script.joint is not None
        assert other.digest in script.joint.shards
        return
    assert script.view().stage is Stage.SEEKING
    assert "somebody to choose" in script.view().waiting_for
    script.wait(10_000)
    assert script.view().stage is Stage.SEEKING
    script.tell(script.have(A, TWO[0]))  # only the other one is left
    assert script.joint is not None
    assert other.digest in script.joint.shards


def test_a_conflict_that_nobody_settles_ends_with_patience() -> None:
    script = JobScript()
    other = shard_of(1, 2, content="other")
    script.begin(
        script.have(A, *TWO), script.have(B, other), is_background=True, patience_ms=30_000
    )
    [end] = ends(script.wait(31_000))
    assert end.cause is FailureCause.CONFLICT
    assert len(end.rivals) == 2


def test_a_recovery_that_was_interrupted_goes_on_with_what_it_had_joined() -> None:
    script = JobScript(*TWO, *NEWER)
    members = tuple(each.digest for each in TWO)
    job = JobRequest(members=members)
    digest = joint_digest(members)
    effects = script.tell(
        RecoveryRequested(R, JOB, version=TWO[0].version, digest=digest, is_named=False, job=job)
    )
    assert [each for each in effects if isinstance(each, JoinManifests)]
    assert not [each for each in effects if isinstance(each, ChooseVersion | FetchManifest)]
    assert script.view().stage is Stage.PREPARING
    assert script.view().digest == digest
    script.tell(script.have(A, *TWO, *NEWER), DiscoverySettled())
    assert [each for each in script.prepare() if isinstance(each, FetchRange)]
    assert script.chosen() == 100


def test_if_what_it_had_joined_is_gone_it_begins_again() -> None:
    script = JobScript()
    effects = super(JobScript, script).tell(
        RecoveryRequested(
            R, JOB, version=TWO[0].version, digest=joint_digest(()), is_named=False,
            job=JobRequest(members=(TWO[0].digest,)),
        )
    )  # fmt: skip
    assert isinstance(effects[0], JoinManifests)
    gone = Refusal("not_found", "gpt: not here", is_retryable=False)
    script.tell(JoinRefused(R, gone))
    assert script.view().stage is Stage.SEEKING
    script.tell(script.have(A, *NEWER), DiscoverySettled())
    assert script.chosen() == 200


def test_a_shortage_while_shards_are_joined_is_waited_for() -> None:
    script = JobScript()
    short = Refusal("shortage", "no thread is left", is_retryable=True, is_shortage=True)
    join, script.joining = script.joining, lambda _: JoinRefused(R, short)
    script.begin(script.have(A, *TWO))
    assert script.view().stage is Stage.DESCRIBING
    assert script.view().is_short
    script.joining = join
    script.wait(5_000)
    assert script.view().stage is Stage.PREPARING
    assert not script.view().is_short


def test_a_recovery_that_is_paused_asks_nobody() -> None:
    script = JobScript()
    script.mute = {A}
    script.begin(script.have(A, TWO[0]), patience_ms=1_000)
    script.tell(RecoveryPaused(R))
    script.tell(script.have(A, *TWO))
    script.wait(60_000)
    assert not script.asked
    script.mute.clear()
    script.tell(RecoveryResumed(R))
    assert script.chosen() == 100


def test_while_others_are_waited_for_it_says_so() -> None:
    script = JobScript()
    script.begin(script.have(A, *TWO))
    script.prepare()
    while not script.view().waiting_for:
        script.deliver(script.in_flight[0])
    assert script.view().waiting_for == "nodes that recover the job as well, for the same version"


def test_a_name_that_nobody_has_is_compared_with_those_of_jobs() -> None:
    script = JobScript()
    script.tell(script.have(A, *TWO))
    [end] = ends(script.tell(DiscoverySettled(), RecoveryRequested(R, CheckpointName("gpd"))))
    assert end.message == "nobody has gpd; known: gpt"
