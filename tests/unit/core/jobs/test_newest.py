"""Which version a recovery of a job would be for, without one."""

from __future__ import annotations

from collections.abc import Collection

from ckptd.core.jobs.newest import NewestOfJob
from ckptd.model.ids import Digest, PathId, RecoveryId
from tests.support.jobs import JobScript, all_shards, job_wanted, recovering, shard_of
from tests.support.scheduling import A, B, C

OLD, NEW = all_shards(2), all_shards(2, version=200)
ASKED = job_wanted(RecoveryId("asked"))


def newest(script: JobScript, refused: Collection[tuple[PathId, Digest]] = ()) -> NewestOfJob:
    return script.scheduler.newest_of_job(ASKED, refused=refused, now=script.now)


def test_it_is_the_newest_that_is_whole() -> None:
    script = JobScript()
    script.tell(script.have(A, *OLD, NEW[0]), script.have(B, OLD[0]))
    found = newest(script)
    assert (found.version, found.contents) == (100, tuple(each.digest for each in OLD))
    assert found.why == "newest that is whole for all 2 shards"
    assert script.scheduler.recoveries(now=script.now) == ()
    script.tell(script.have(C, NEW[1]))
    assert newest(script).version == 200


def test_claims_whose_manifest_did_not_come_count_for_nothing() -> None:
    script = JobScript()
    script.tell(script.have(A, *OLD), script.have(B, *NEW))
    assert newest(script).version == 200
    assert newest(script, {(B, NEW[1].digest)}).version == 100
    script.tell(script.have(C, NEW[1]))
    assert newest(script, {(B, NEW[1].digest)}).version == 200


def test_who_recovers_another_version_is_named() -> None:
    script = JobScript()
    script.tell(script.have(A, *OLD, *NEW), recovering(script.have(B), 200))
    assert newest(script).others == {}
    script.tell(recovering(script.have(C), 100))
    found = newest(script)
    assert (found.version, dict(found.others)) == (200, {C: 100})


def test_what_this_node_recovers_counts_as_well() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD))
    script.tell(script.have(B, *NEW))
    found = newest(script)
    assert (found.version, dict(found.others)) == (200, {"this node": 100})


def test_what_a_job_lacks_of_which_nothing_is_whole_is_said() -> None:
    script = JobScript()
    assert newest(script).why == ""
    script.tell(script.have(A, OLD[1]))
    found = newest(script)
    assert (found.version, found.contents) == (None, ())
    assert "shard 0/2 is missing" in found.why


def test_newer_ones_are_passed_over_with_the_shard_they_lack() -> None:
    script = JobScript()
    script.tell(script.have(A, *OLD, NEW[0]))
    (over,) = newest(script).passed_over
    assert (over.version, over.why) == (200, "shard 1/2 is missing: nobody has it")
    script.tell(script.have(A, OLD[0], NEW[0]))
    found = newest(script)
    assert found.version is None
    assert [(each.version, each.why[:20]) for each in found.passed_over] == [
        (200, "shard 1/2 is missing"),
        (100, "shard 1/2 is missing"),
    ]


def test_a_shard_of_several_contents_is_named_with_who_has_them() -> None:
    script = JobScript()
    other = shard_of(1, 2, content="other")
    script.tell(script.have(A, *OLD), script.have(B, other))
    disputed = newest(script).disputed
    assert disputed is not None
    assert str(disputed.shard) == "1/2"
    assert {each.digest: each.nodes for each in disputed.contents} == {
        OLD[1].digest: (A,),
        other.digest: (B,),
    }
    script.tell(script.have(B))
    assert newest(script).disputed is None
