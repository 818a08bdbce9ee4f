"""Whom the manifests of shards are asked of, and what becomes of those who do not deliver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import DropManifest
from ckptd.core.events import (
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PeerLost,
)
from ckptd.core.jobs.collecting import AT_ONCE_MAX
from ckptd.core.options import ManifestOptions, SilenceOptions
from ckptd.limits import MS
from ckptd.model.ids import NodeId
from ckptd.model.words import FailureCause, Stage
from tests.support.jobs import JobScript, all_shards, ends, job_wanted, shard_of
from tests.support.scheduling import HARMFUL, A, B, C, R, holding

TWO = all_shards(2)
OLD = all_shards(2, version=50)


def test_each_source_is_asked_for_one_manifest_at_a_time_and_many_side_by_side() -> None:
    script = JobScript()
    nodes = [NodeId(f"n{index:02}") for index in range(AT_ONCE_MAX + 4)]
    shards = all_shards(2 * len(nodes), 1)
    script.mute = set(nodes)
    said = [script.have(node, *shards[2 * at : 2 * at + 2]) for at, node in enumerate(nodes)]
    script.begin(*said)
    assert len(script.asked) == AT_ONCE_MAX
    assert len({order.source for order in script.asked}) == AT_ONCE_MAX
    script.mute.clear()
    for order in list(script.asked):
        space = script.shards[order.digest].space
        script.tell(ManifestArrived(R, order.source, space))
    assert script.view().stage is Stage.PREPARING
    assert len(script.asked) == len(shards)


@pytest.mark.parametrize("how", ["liars", "denying"])
def test_who_claims_a_shard_and_has_it_not_changes_nothing(how: str) -> None:
    script = JobScript()
    getattr(script, how).add(C)
    script.begin(script.have(C, *TWO), script.have(A, TWO[0]), script.have(B, TWO[1]))
    assert script.chosen() == 100
    assert script.joint is not None
    assert [order.source for order in script.asked].count(C) <= 2


@pytest.mark.parametrize("how", ["liars", "denying"])
def test_shards_that_do_not_exist_make_no_version_whole(how: str) -> None:
    script = JobScript()
    getattr(script, how).add(C)
    invented = all_shards(2, version=900)
    script.begin(script.have(A, *TWO, invented[0]), script.have(C, invented[1]))
    assert script.chosen() == 100
    assert script.passed_over()[900].startswith("shard 1/2 is missing: its manifest "), (
        script.passed_over()
    )


def test_ten_thousand_invented_shards_cost_no_more_than_a_few_questions() -> None:
    script = JobScript()
    script.liars = {C}
    invented = [shard_of(at % 2, 2, 1, version=1_000 + at // 2) for at in range(10_000)]
    script.begin(script.have(A, *TWO), script.have(C, *invented))
    assert script.chosen() == 100
    assert len([order for order in script.asked if order.source == C]) <= 4


def test_a_manifest_of_another_shard_or_version_is_a_lie() -> None:
    script = JobScript()
    script.mute = {C}
    fake = replace(holding(OLD[1]), checkpoint=TWO[1].checkpoint, version=TWO[1].version)
    script.tell(script.have(A, TWO[0], *OLD), replace(script.have(C), holdings=(fake,)))
    script.tell(DiscoverySettled(), job_wanted())
    script.tell(ManifestArrived(R, C, OLD[1].space))
    assert script.chosen() == 50
    assert script.recovery().search.claimants["c"].failed == {OLD[1].digest}  # type: ignore[index]


def test_a_content_that_cannot_be_used_counts_nowhere() -> None:
    script = JobScript()
    script.mute = {B}
    script.begin(script.have(A, TWO[0], *OLD), script.have(B, TWO[1]))
    script.tell(ManifestRefused(R, B, HARMFUL))
    assert script.chosen() == 50
    assert TWO[1].digest in script.scheduler.inspect().refused_contents


def test_signatures_that_do_not_suffice_are_what_a_failure_names() -> None:
    script = JobScript()
    script.mute = {B}
    script.begin(script.have(A, TWO[0]), script.have(B, TWO[1]), patience_ms=1_000)
    refusal = "no key that is trusted signed it"
    effects = script.tell(ManifestMissed(R, B, is_lie=False, refusal=refusal))
    effects += script.wait(20_000)
    [end] = ends(effects)
    assert end.cause is FailureCause.VERIFICATION
    assert end.message.startswith("no key that is trusted signed it; 100 in 2 shards lacks one")


def test_while_one_is_late_another_one_is_asked_and_the_late_answer_is_dropped() -> None:
    script = JobScript()
    script.mute = {A}
    script.begin(script.have(A, *TWO), script.have(B, TWO[1]))
    assert script.recovery().stage is Stage.DESCRIBING
    script.tell(script.have(C, TWO[0]))
    assert len(script.asked) == 2  # A for one, B for the other
    effects = script.wait(SilenceOptions().floor_ns // MS)
    assert [order.source for order in script.asked][2:] == [C]
    [drop] = [each for each in effects if isinstance(each, DropManifest)]
    assert (drop.source, drop.digest) == (A, TWO[0].digest)
    assert script.view().stage is Stage.PREPARING
    script.tell(ManifestMissed(R, A, is_lie=False))
    assert script.scheduler.inspect().peers[A].link.failures == 0


def test_a_source_that_fails_once_is_asked_again_and_no_older_version_taken_meanwhile() -> None:
    script = JobScript()
    script.mute = {B}
    script.begin(script.have(A, TWO[0], *OLD), script.have(B, TWO[1]))
    script.mute.clear()
    script.tell(ManifestMissed(R, B, is_lie=False))
    assert script.view().stage is Stage.DESCRIBING
    script.wait(5_000)
    assert script.chosen() == 100
    assert script.view().stage is Stage.PREPARING


def test_a_version_whose_manifests_do_not_come_gives_way_to_another_one() -> None:
    script = JobScript()
    script.mute = {B}
    script.begin(script.have(A, TWO[0], *OLD), script.have(B, TWO[1]))
    patience_ms = ManifestOptions().patience_ns // MS
    script.wait(patience_ms - 1)
    assert script.chosen() == 100
    script.wait(1)
    assert script.chosen() == 50
    assert script.passed_over() == {
        100: "shard 1/2 is missing: its manifest was wrong or did not come"
    }


def test_a_holder_that_is_lost_meanwhile_takes_its_shard_along() -> None:
    script = JobScript()
    script.mute = {B}
    script.begin(script.have(A, TWO[0], *OLD), script.have(B, TWO[1]))
    script.tell(PeerLost(B))
    assert script.chosen() == 50
    assert script.passed_over() == {
        100: "shard 1/2 is missing: it was last at b, which does not answer"
    }


def test_blocks_that_a_peer_calls_optional_are_not_left_out_of_what_has_to_be_whole() -> None:
    script = JobScript()
    part = holding(TWO[1], TWO[1].blocks.without_run((0, 1)))
    lax = replace(part, optional=TWO[1].blocks - part.blocks)
    script.begin(script.have(A, TWO[0], *OLD), replace(script.have(B), holdings=(lax,)))
    script.shards[TWO[1].digest] = TWO[1]
    assert script.chosen() in {50, None}


def test_optional_units_may_be_missing_everywhere() -> None:
    script = JobScript()
    shard = shard_of(1, 2, optional=(2,))
    required = shard.blocks - shard.space.optional_blocks()
    script.tell(script.have(A, TWO[0]), script.have(B, shard))
    script.tell(replace(script.have(B), holdings=(holding(shard, required),)))
    script.tell(DiscoverySettled(), job_wanted())
    assert script.chosen() == 100
    assert script.view().stage is Stage.PREPARING


def test_what_is_known_already_is_not_asked_for_again() -> None:
    script = JobScript()
    script.mute = {B}
    script.begin(script.have(A, TWO[0]), script.have(B, TWO[1]))
    script.tell(PeerLost(B))
    script.mute.clear()
    script.tell(script.have(C, TWO[1]))
    assert script.view().stage is Stage.PREPARING
    asked = [order.digest for order in script.asked]
    assert asked.count(TWO[0].digest) == 1
