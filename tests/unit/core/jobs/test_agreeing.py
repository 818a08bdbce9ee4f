"""The same version on all nodes that recover a job at once."""

from __future__ import annotations

from ckptd.core.effects import ChooseVersion, CloseLane, PlaceVersion, PrepareStaging
from ckptd.core.events import BlocksCommitted, PeerLost, StagingPrepared
from ckptd.core.options import JobOptions
from ckptd.limits import MS
from ckptd.model.blocks import BlockSet
from ckptd.model.words import RangeOutcome, Stage
from tests.support.jobs import JobScript, all_shards, ends, recovering
from tests.support.scheduling import A, B, C, R, ranges

OLD = all_shards(2, version=100)
NEW = all_shards(2, version=200)


def transferring(script: JobScript) -> None:
    """Bring the recovery of the old version so far that blocks are on their way."""
    script.begin(script.have(A, *OLD))
    script.prepare()
    assert script.chosen() == 100
    assert script.in_flight


def test_what_others_recover_goes_before_a_newer_version_that_is_whole_as_well() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, *NEW), recovering(script.have(B), 100))
    assert script.chosen() == 100
    why = "whole for all 2 shards, and b recovers it"
    choice = script.recovery().story.choice
    assert choice is not None
    assert choice.why == why
    assert script.passed_over() == {200: f"chosen was the one that is {why}"}


def test_what_others_recover_is_taken_while_manifests_of_another_version_are_asked_for() -> None:
    script = JobScript()
    script.mute = {A}
    script.begin(script.have(A, *NEW), script.have(C, *OLD))
    assert script.chosen() == 200
    assert script.view().stage is Stage.DESCRIBING
    script.tell(recovering(script.have(B), 100))
    assert script.chosen() == 100
    assert script.view().stage is Stage.PREPARING


def test_of_several_versions_that_others_recover_the_newest_is_taken() -> None:
    script = JobScript()
    newest = all_shards(2, version=300)
    script.begin(
        script.have(A, *OLD, *NEW, *newest),
        recovering(script.have(B), 100),
        recovering(script.have(C), 200),
    )
    assert script.chosen() == 200


def test_what_others_recover_is_not_taken_if_it_is_not_whole_here() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, NEW[0]), recovering(script.have(B), 200))
    assert script.chosen() == 100


def test_only_who_answers_and_is_trusted_counts() -> None:
    script = JobScript()
    script.tell(recovering(script.have(B), 100), PeerLost(B))
    script.begin(script.have(A, *OLD, *NEW))
    assert script.chosen() == 200
    script = JobScript()
    script.tell(recovering(script.have(B), 100))
    script.scheduler.inspect().peers[B].standing.quarantined_until_ns = 60_000 * MS
    script.begin(script.have(A, *OLD, *NEW))
    assert script.chosen() == 200


def test_a_version_that_was_named_is_taken_whatever_others_recover() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, *NEW), recovering(script.have(B), 200), version=100)
    assert script.chosen() == 100
    script.prepare()
    script.tell(recovering(script.have(C), 200))
    assert script.chosen() == 100


def test_a_recovery_goes_over_to_a_newer_version_that_others_recover() -> None:
    script = JobScript()
    transferring(script)
    effects = script.tell(script.have(A, *OLD, *NEW), recovering(script.have(B), 200))
    assert [each for each in effects if isinstance(each, CloseLane)]
    assert script.chosen() == 100  # until nothing is in flight any more
    effects = script.end_all(RangeOutcome.CLOSED)
    [choice] = [each for each in effects if isinstance(each, ChooseVersion)]
    assert choice.version == 200
    [prepare] = [each for each in effects if isinstance(each, PrepareStaging)]
    assert prepare.space.manifest.version == 200
    assert {order.source for order in ranges(script.prepare())} == {A}
    assert script.scheduler.recovering() == (("gpt", 200),)


def test_nothing_is_given_up_for_a_version_that_is_whole_only_as_is_claimed() -> None:
    script = JobScript()
    transferring(script)
    script.liars = {C}
    script.tell(script.have(A, *OLD, NEW[0]), recovering(script.have(C, NEW[1]), 200))
    assert script.chosen() == 100
    assert script.in_flight
    assert script.recovery().joining.attempt is None


def test_nothing_is_given_up_for_an_older_version_while_this_one_is_whole() -> None:
    script = JobScript()
    script.begin(script.have(A, *NEW, *OLD))
    script.prepare()
    script.tell(recovering(script.have(B), 100))
    assert script.chosen() == 200
    assert script.in_flight


def test_a_version_that_is_whole_no_more_is_given_up_for_one_that_others_recover() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, NEW[0]), script.have(C, NEW[1]), patience_ms=3_600_000)
    script.prepare()
    assert script.chosen() == 200
    first = script.in_flight[0]
    script.deliver(first)
    script.tell(PeerLost(C))
    assert script.chosen() == 200  # who has the rest may come back
    script.tell(recovering(script.have(B), 100))
    script.end_all(RangeOutcome.CLOSED)
    assert script.chosen() == 100


def test_what_is_below_what_this_node_had_is_not_taken_because_others_do() -> None:
    script = JobScript()
    script.begin(
        script.have(A, *OLD, NEW[0]), script.have(C, NEW[1]), not_below=200, patience_ms=3_600_000
    )
    script.prepare()
    script.deliver(script.in_flight[0])
    script.tell(PeerLost(C), recovering(script.have(B), 100))
    script.end_all(RangeOutcome.CLOSED)
    assert script.chosen() == 200


def test_while_it_is_prepared_a_recovery_learns_of_another_version_and_goes_over_then() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD))
    assert script.view().stage is Stage.PREPARING
    script.tell(script.have(A, *OLD, *NEW), recovering(script.have(B), 200))
    assert script.chosen() == 100
    effects = script.prepare()
    assert script.chosen() == 200
    assert not ranges(effects)


def test_nothing_is_placed_before_others_can_be_heard_that_began_at_the_same_time() -> None:
    script = JobScript()
    settle_ms = JobOptions().settle_ns // MS
    script.begin(script.have(A, *OLD))
    assert script.joint is not None
    effects = script.prepare(script.joint.space.optional_blocks() | full(script))
    assert not [each for each in effects if isinstance(each, PlaceVersion)]
    assert not script.wait(settle_ms - 1)
    [place] = script.wait(1)
    assert isinstance(place, PlaceVersion)


def test_what_all_blocks_are_here_of_is_given_up_as_well_while_it_is_not_placed() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD))
    script.prepare(full(script))
    script.tell(script.have(A, *OLD, *NEW), recovering(script.have(B), 200))
    assert script.chosen() == 200


def test_what_is_being_placed_stays() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD))
    script.prepare(full(script))
    script.wait(JobOptions().settle_ns // MS)
    assert script.view().stage is Stage.PLACING
    script.tell(script.have(A, *OLD, *NEW), recovering(script.have(B), 200))
    assert script.chosen() == 100


def test_what_is_committed_at_the_moment_is_given_up_after_that() -> None:
    script = JobScript()
    script.is_committing = False
    transferring(script)
    for order in script.in_flight:
        script.deliver(order)
    script.tell(script.have(A, *OLD, *NEW), recovering(script.have(B), 200))
    script.end_all(RangeOutcome.CLOSED)
    assert script.chosen() == 100
    script.tell(BlocksCommitted(R))
    assert script.chosen() == 200


def test_what_nobody_can_complete_gives_way_to_what_is_whole_when_patience_ends() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, NEW[0]), script.have(C, NEW[1]), patience_ms=5_000)
    script.prepare()
    script.deliver(script.in_flight[0])
    script.tell(PeerLost(C))
    script.end_all(RangeOutcome.CLOSED)
    for _ in range(20):
        while script.in_flight:
            script.deliver(script.in_flight[0])
        assert not ends(script.wait(500))
    assert script.chosen() == 100


def test_what_nobody_has_at_all_any_more_gives_way_at_once() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, NEW[0]), script.have(C, NEW[1]))
    script.tell(script.have(C))
    script.tell(StagingPrepared(R, BlockSet()))
    script.end_all(RangeOutcome.CLOSED)
    assert script.chosen() == 100


def full(script: JobScript) -> BlockSet:
    assert script.joint is not None
    return BlockSet.full(script.joint.space.block_count)
