"""Prologs that wait until a version, or what they need of it, is placed on this node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.control.messages.life_cycle import LetGoRequest
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.control.messages.recovery_results import RecoveryMilestone
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.messages.verifications import VerifyRequest
from ckptd.control.messages.waiting import (
    WaitEvent,
    WaitProgress,
    WaitRequest,
    WaitResult,
    exit_code_of_wait,
)
from ckptd.errors import ExitCode
from ckptd.limits import KIB, MIB
from ckptd.model.words import Result, Stage
from tests.support.cluster import NAME, WAIT_S, Cluster, Node, make_checkpoint
from tests.support.metrics_page import page_of

pytestmark = pytest.mark.integration


def until(
    stream: Iterator[WaitEvent], is_it: Callable[[WaitProgress], bool], what: str
) -> WaitProgress:
    """Read a stream until it says something; it must not have ended before."""
    for event in stream:
        assert isinstance(event, WaitProgress), f"{event} before {what}"
        if is_it(event):
            return event
    raise AssertionError(f"the stream ended before {what}")


def result_of(stream: Iterator[WaitEvent]) -> WaitResult:
    *_, last = stream
    assert isinstance(last, WaitResult)
    return last


def until_known(stream: Iterator[WaitEvent]) -> WaitEvent:
    """Read a stream until what stands here was looked at."""
    return next(
        event
        for event in stream
        if isinstance(event, WaitResult) or "not looked at yet" not in event.waiting_for
    )


class Prolog:
    """``ckptctl wait -o json``, as a job runs it before it begins."""

    def __init__(self, node: Node, *arguments: str) -> None:
        command = [sys.executable, "-m", "ckptd.cli.ctl.command", "wait", *arguments]
        options = ["--socket", node.client.socket_path, "-o", "json", "--timeout", f"{WAIT_S:.0f}s"]
        self.process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self, stream: str, *parts: str) -> str:
        """Read until a line has all of these parts."""
        file = getattr(self.process, stream)
        for line in file:
            if all(part in line for part in parts):
                return str(line)
        raise AssertionError(f"ended without {parts}")


def test_a_prolog_waits_for_the_daemon_for_the_recovery_and_over_a_restart(
    cluster: Cluster,
) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.prepare("r", peers=[source.address])
    with Prolog(receiver, NAME, "--for", "critical") as prolog:
        prolog.line("stderr", "waiting for the daemon: no daemon answers at")
        receiver.start()
        receiver.wait_ready()
        prolog.line("stdout", f"somebody to recover {NAME}, which is not here")
        recovery = receiver.begin()
        receiver.client.pause(recovery)
        prolog.line("stdout", f"recovery {recovery} of {NAME}@100, paused")
        receiver.restart()
        prolog.line("stdout", f"recovery {recovery} of {NAME}@100, paused")
        receiver.client.resume(recovery)
        result = json.loads(prolog.line("stdout", '"type":"result"'))
        assert result["is_reached"]
        assert Path(result["directory"]) == receiver.path(NAME, "100")
        assert Path(result["directory"], "config.json").exists()
        assert prolog.process.wait(WAIT_S) == ExitCode.DONE


def test_a_recovery_that_ends_without_it_ends_the_wait_and_another_may_bring_it(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    given_up = receiver.begin()
    receiver.client.pause(given_up)
    ending = receiver.client.wait(WaitRequest(checkpoint=NAME))
    lasting = receiver.client.wait(WaitRequest(checkpoint=NAME, through_failures=True))
    for stream in (ending, lasting):
        until(stream, lambda event: event.recovery == given_up, "it is seen")
    receiver.client.cancel(given_up)
    result = result_of(ending)
    assert (result.is_reached, exit_code_of_wait(result)) == (False, ExitCode.FAILED)
    assert result.ended is not None
    assert result.ended.result is Result.CANCELLED
    until(lasting, lambda event: "another recovery" in event.waiting_for, "it waits for another")

    part = receiver.recover(units=["*.json"])
    assert part.result is Result.CHOSEN
    whole = receiver.client.wait(WaitRequest(checkpoint=NAME, version=100))
    until(whole, lambda event: "of which required units are not here" in event.waiting_for, "part")
    arguments = ["--socket", receiver.client.socket_path, "wait", f"{NAME}@100", "--timeout"]
    assert ckptctl([*arguments, "60s", "--for", "critical"]) == ExitCode.DONE
    assert capsys.readouterr().out == f"{receiver.path(NAME, '100')}\n"
    assert ckptctl([*arguments, "60s", "--for", "phase=coer"]) == ExitCode.MISSING
    assert "has no phase 'coer'; it has all" in capsys.readouterr().err
    assert receiver.recover().result is Result.COMPLETE
    assert result_of(lasting).is_reached
    assert result_of(whole).is_reached


def test_what_is_withdrawn_or_changed_is_not_complete_until_it_is_right_again(
    cluster: Cluster,
) -> None:
    node = cluster.node("a")
    directory = make_checkpoint(node.path("100"))
    node.publish(directory)
    assert result_of(node.client.wait(WaitRequest(checkpoint=NAME))).is_reached
    node.client.withdraw(LetGoRequest(checkpoint=NAME, version=100))
    stream = node.client.wait(WaitRequest(checkpoint=NAME))
    until(stream, lambda event: event.waiting_for.endswith("it is withdrawn"), "withdrawn")
    before = (directory / "config.json").read_bytes()
    (directory / "config.json").write_bytes(b"another")
    node.client.forget(LetGoRequest(checkpoint=NAME, version=100))
    until(stream, lambda event: event.waiting_for.endswith("which is not here"), "forgotten")
    (directory / "config.json").write_bytes(before)
    node.publish(directory)
    result = result_of(stream)
    assert (result.version, result.directory) == (100, str(directory))
    (directory / "config.json").write_bytes(b"another")
    list(node.client.verify(VerifyRequest()))
    stale = node.client.wait(WaitRequest(checkpoint=NAME, goal="phase=all"))
    until(stale, lambda event: "it is stale: " in event.waiting_for, "stale")
    (directory / "config.json").write_bytes(before)
    list(node.client.verify(VerifyRequest()))
    assert result_of(stale).is_reached


def test_phases_are_announced_and_reached_when_they_are_placed(cluster: Cluster) -> None:
    source = cluster.node("a")
    directory = make_checkpoint(source.path("100"))
    phases = (("core", "*.safetensors"), ("core", "*.json"), ("rest", "*"))
    request = PublishRequest(
        directory=str(directory), checkpoint=NAME, version=100, phases=phases, critical=("*.json",)
    )
    *_, published = source.client.publish(request)
    assert isinstance(published, PublishResult)
    receiver = cluster.node("r", peers=[source.address])
    core = receiver.client.wait(WaitRequest(checkpoint=NAME, goal="phase=core"))
    until(core, lambda event: "somebody to recover" in event.waiting_for, "nobody recovers")
    recovery = receiver.begin()
    said = [each for each in receiver.client.watch(recovery) if isinstance(each, RecoveryMilestone)]
    events = {(each.event, each.phase) for each in said}
    assert events == {
        ("critical.complete", ""),
        *(
            (event, name)
            for event in ("phase.complete", "phase.placed")
            for name in ("core", "rest")
        ),
    }
    assert len(said) == len(events)
    for name in ("critical.complete", "phase.complete", "phase.placed"):
        logged = {event.facts.get("phase", "") for event in receiver.events(name)}
        assert logged == {phase for event, phase in events if event == name}
    result = result_of(core)
    assert (result.version, result.directory) == (100, str(receiver.path(NAME, "100")))
    lines = page_of(receiver)
    for milestone in ("first_unit", "first_phase", "critical", "usable", "complete"):
        sample = f'ckptd_recovery_milestone_seconds_count{{milestone="{milestone}"}} 1.0'
        assert sample in lines


def test_a_phase_that_is_placed_is_reached_while_nobody_has_the_rest(cluster: Cluster) -> None:
    source = cluster.node("a")
    directory = make_checkpoint(source.path("100"))
    phases = (("core", "*.json"), ("core", "model-1*"), ("rest", "*"))
    source.publish(directory, critical=("*.json", "optimizer/*"), deferred=(), phases=phases)
    rest = directory / "model-2.safetensors"
    content = rest.read_bytes()
    rest.write_bytes(b"changed")
    list(source.client.verify(VerifyRequest()))
    receiver = cluster.node("r", peers=[source.address])
    goals = ("phase=core", "critical", "phase=rest", "complete")
    core, critical, last, whole = (
        receiver.client.wait(WaitRequest(checkpoint=NAME, version=100, goal=goal)) for goal in goals
    )
    recovery = receiver.begin(place="progressive")
    result = result_of(core)
    assert result.directory == str(receiver.path(NAME, "100"))
    assert {path.name for path in Path(result.directory).glob("model-*")} == {"model-1.safetensors"}
    for stream in (critical, last, whole):
        until(stream, lambda event: event.recovery == recovery, "it is under way")
    # Who asks now, or after a restart, hears the same.
    receiver.restart()
    for goal, is_reached in zip(goals, (True, False, False, False), strict=True):
        stream = receiver.client.wait(WaitRequest(checkpoint=NAME, version=100, goal=goal))
        assert isinstance(until_known(stream), WaitResult) == is_reached
    rest.write_bytes(content)
    list(source.client.verify(VerifyRequest()))
    for goal in goals:
        stream = receiver.client.wait(WaitRequest(checkpoint=NAME, version=100, goal=goal))
        assert result_of(stream).is_reached
    assert receiver.result(recovery).result is Result.COMPLETE


def test_a_phase_of_a_job_is_reached_on_a_node_that_never_had_a_shard(cluster: Cluster) -> None:
    source = cluster.node("a")
    for shard in range(2):
        files = [PlannedFile(f"rank-{shard}.json", 300), PlannedFile(f"rank-{shard}", 8 * MIB)]
        directory = make_checkpoint(source.path(f"{shard}"), files=files)
        phases = (("core", "*.json"), ("rest", "*"))
        name = f"llama/shard-{shard}-of-2"
        source.publish(directory, name, critical=(), deferred=(), phases=phases)
    receiver = cluster.node("r", peers=[source.address])
    receiver.client.change_limits(ChangeLimits(set={"ingress.total": "128KiB/s"}))
    core = receiver.client.wait(WaitRequest(checkpoint="llama", goal="phase=core"))
    until(core, lambda event: "somebody to recover" in event.waiting_for, "nobody recovers")
    request = RecoverRequest(checkpoint="llama", version=100, shards="all", place="progressive")
    recovery = receiver.client.recover(request).recovery
    result = result_of(core)
    assert receiver.client.recovery(recovery).stage is Stage.TRANSFERRING
    assert {path.name for path in Path(result.directory).glob("rank-*")} == {
        "rank-0.json",
        "rank-1.json",
    }
    receiver.client.cancel(recovery)


def test_who_finds_no_place_among_those_who_wait_is_answered_once(cluster: Cluster) -> None:
    node = cluster.node("a")
    request = WaitRequest(checkpoint=NAME)
    streams = [node.client.wait(request) for _ in range(9)]
    first = [next(stream) for stream in streams]
    assert {event.waiting_for for event in first if isinstance(event, WaitProgress)} == {
        f"somebody to recover {NAME}, which is not here"
    }
    assert list(streams.pop()) == []
    for stream in streams:
        assert isinstance(next(stream), WaitProgress)
    make_checkpoint(node.path("100"))
    node.publish(node.path("100"))
    assert all(result_of(stream).is_reached for stream in streams)
    assert result_of(node.client.wait(request)).is_reached


def test_the_newest_is_what_peers_have_and_of_a_job_all_shards_that_are_wanted(
    cluster: Cluster,
) -> None:
    source = cluster.node("a")
    for shard in range(2):
        files = [PlannedFile(f"rank-{shard}", 300 * KIB)]
        name = f"llama/shard-{shard}-of-2"
        for version in (100, 200):
            directory = make_checkpoint(source.path(f"{version}-{shard}"), files=files)
            source.publish(directory, name, version, critical=(), deferred=())
    receiver = cluster.node("r", peers=[source.address])
    newest = receiver.client.wait(WaitRequest(checkpoint="llama", goal="newest", shards="0-1"))
    until(newest, lambda event: event.version == 200, "the newest is known")

    def recover(version: int, shards: str) -> Result:
        request = RecoverRequest(checkpoint="llama", version=version, shards=shards)
        return receiver.result(receiver.client.recover(request).recovery).result

    assert recover(200, "1") is Result.COMPLETE
    until(newest, lambda event: "of which shard 0/2 is not here" in event.waiting_for, "shard 0")
    assert result_of(receiver.client.wait(WaitRequest(checkpoint="llama"))).version == 200
    assert recover(200, "0-1") is Result.COMPLETE
    result = result_of(newest)
    assert (result.version, result.directory) == (200, str(receiver.path("llama", "200")))
    # Every peer was asked by now: who looks once learns it from the first answer.
    directory = make_checkpoint(receiver.path("5"), files=[PlannedFile("a", KIB)])
    receiver.publish(directory, "own", 5, critical=(), deferred=())
    once = receiver.client.wait(WaitRequest(checkpoint="own", goal="newest"))
    assert isinstance(next(once), WaitResult)
