"""What is said of a job of which no version is whole, and how long it is waited for."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.events import DiscoverySettled, JobRequest, PeerLost, RecoveryRequested
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.core.options import PatienceOptions
from ckptd.limits import MS
from ckptd.model.words import Bottleneck, FailureCause
from tests.support.jobs import JOB, JobScript, all_shards, ends, job_wanted, shard_of
from tests.support.scheduling import A, B, R

OLD, NEW = all_shards(2, version=100), all_shards(2, version=200)


def test_a_name_that_nobody_knows_is_waited_for_only_while_somebody_is_not_heard() -> None:
    script = JobScript()
    plain = shard_of(0, 1, job="other")
    script.tell(script.have(A, plain), DiscoverySettled(is_everybody_heard=False))
    assert not ends(script.tell(job_wanted()))
    unknown_ms = PatienceOptions().unknown_ns // MS
    assert not ends(script.wait(unknown_ms - 1))
    [end] = ends(script.wait(1_000))
    assert end.cause is FailureCause.UNKNOWN


def test_a_name_is_waited_for_if_that_was_asked_for_or_it_was_here_or_nobody_answers() -> None:
    for request in (
        replace(job_wanted(), is_name_awaited=True),
        job_wanted(not_below=50),
        job_wanted(),
    ):
        script = JobScript()
        script.tell(script.have(A), DiscoverySettled())
        if request == job_wanted():
            script.tell(PeerLost(A))
        assert not ends(script.tell(request))
        assert not ends(script.wait(60_000))


def test_only_older_versions_than_this_node_had_end_it_at_once_with_the_way_out() -> None:
    script = JobScript()
    [end] = ends(script.begin(script.have(A, *OLD), not_below=200))
    assert end.cause is FailureCause.VERIFICATION
    assert end.message == (
        "version 200 of gpt was on this node before, and the newest that can be had now is 100. "
        "To accept that: ckptctl recover gpt@100"
    )


def test_a_version_that_this_node_had_and_that_is_not_whole_is_waited_for() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD, NEW[0]), not_below=200, patience_ms=5_000)
    [end] = ends(script.wait(5_000))
    assert end.cause is FailureCause.VERIFICATION
    assert "200 in 2 shards lacks one: shard 1/2 is missing: nobody has it" in end.message


def test_a_version_that_nobody_has_any_shard_of_is_unknown_and_others_are_named() -> None:
    script = JobScript()
    script.begin(script.have(A, *OLD), version=300, patience_ms=1_000)
    [end] = ends(script.wait(1_000))
    assert end.cause is FailureCause.UNKNOWN
    assert end.message == "nobody has shards of gpt@300; known: 100 in 2 shards"


def test_what_is_waited_for_is_said_while_it_is() -> None:
    script = JobScript()
    script.begin(script.have(A, NEW[0]))
    assert script.view().waiting_for == (
        "all shards of a whole version of gpt: 200 in 2 shards lacks one: "
        "shard 1/2 is missing: nobody has it"
    )
    script.mute = {B}
    script.tell(script.have(B, NEW[1]))
    assert not script.view().waiting_for
    script.wait(1_500)
    assert script.view().waiting_for == ("b to send the manifest of a shard, asked for 1.5s ago")
    bound = script.scheduler.bottleneck(R, LocalLoad(), now=script.now)
    assert bound is Bottleneck.SOURCE


def test_names_that_are_spelled_alike_are_named() -> None:
    script = JobScript()
    script.tell(script.have(A, shard_of(0, 1, job="gpt2")), DiscoverySettled())
    [end] = ends(script.tell(RecoveryRequested(R, JOB, job=JobRequest())))
    assert end.message == "nobody has shards of gpt; known: gpt2"
    script = JobScript()
    script.tell(script.have(B), DiscoverySettled())
    [end] = ends(script.tell(RecoveryRequested(R, JOB, job=JobRequest())))
    assert end.message == "nobody has shards of gpt; nothing is known of any job"
