"""What a node has itself counts: nothing travels that is here."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.control.messages.plans import PlanRequest
from ckptd.errors import ExitCode
from ckptd.model.words import Result
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration


@pytest.fixture
def source(cluster: Cluster) -> Node:
    [source] = cluster.sources("a")
    return source


@pytest.fixture
def receiver(cluster: Cluster, source: Node) -> Node:
    return cluster.node("r", peers=[source.address])


def test_what_is_published_here_is_here_already(source: Node) -> None:
    for to in (None, source.path("100")):
        result = source.recover(to=to)
        assert (result.result, result.was_here, result.bytes_received) == (Result.COMPLETE, True, 0)
        assert result.bytes_local == result.bytes_total
        assert result.target == str(source.path("100"))
    newest = source.recover(version=None)
    assert (newest.version, newest.was_here) == (100, True)
    assert not source.path(NAME).exists()


def test_what_is_here_needs_no_network(source: Node, receiver: Node) -> None:
    first = receiver.recover()
    source.kill()
    for version in (100, None):
        again = receiver.recover(version=version)
        assert (again.result, again.was_here, again.target) == (
            Result.COMPLETE,
            True,
            first.target,
        )
    receiver.restart()
    assert receiver.recover().was_here


def test_what_was_only_touched_is_hashed_and_here(source: Node, receiver: Node) -> None:
    first = receiver.recover()
    source.kill()
    for path in (receiver.path(NAME, "100/config.json"), receiver.path(NAME, "100")):
        path.chmod(0o755)
    os.utime(receiver.path(NAME, "100/model-1.safetensors"))
    again = receiver.recover()
    assert (again.result, again.was_here, again.target) == (Result.COMPLETE, True, first.target)
    rows = [row for row in receiver.client.checkpoints() if row.checkpoint == NAME]
    assert [row.is_stale for row in rows] == [False]


def test_a_second_copy_is_made_of_the_first_and_each_stands_for_itself(
    source: Node, receiver: Node
) -> None:
    first = receiver.recover()
    source.kill()
    copy = receiver.path("copy")
    result = receiver.recover(to=copy)
    assert (result.result, result.bytes_received, result.was_here) == (Result.COMPLETE, 0, False)
    assert result.bytes_local == result.bytes_total
    assert tree_digest(copy) == tree_digest(first.target)
    shutil.rmtree(first.target)
    again = receiver.recover()
    assert (again.result, again.bytes_received) == (Result.COMPLETE, 0)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system in memory")
def test_of_a_copy_with_a_fault_only_that_travels(cluster: Cluster, source: Node) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ckptd-test-") as memory:
        receiver = cluster.add("r", peers=[source.address], root=Path(memory))
        receiver.wait_ready()
        receiver.recover(to=receiver.path("first"))
        # Through a mapping, which changes no times there: of a unit that is known to be changed
        # nothing is taken, and who looks at files may find it before the recovery begins.
        file = receiver.path("first/model-2.safetensors")
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            mapped[0] ^= 0x40
        # A source that is faster than a disk that is slow for a moment would bring more.
        source.client.change_limits(ChangeLimits(set={"egress.total": "128KiB/s"}))
        result = receiver.recover(to=receiver.path("second"))
        assert result.result is Result.COMPLETE
        assert 0 < result.bytes_received <= result.bytes_total // 20
        assert tree_digest(receiver.path("second")) == tree_digest(source.path("100"))
        receiver.stop()


def test_a_newer_version_of_a_peer_is_preferred(source: Node, receiver: Node) -> None:
    receiver.recover()
    make_checkpoint(source.path("200"), seed=2)
    source.publish(source.path("200"), version=200)
    eventually(
        lambda: any(row.version == 200 for row in receiver.client.checkpoints()), "the newer one"
    )
    result = receiver.recover(version=None)
    assert (result.version, result.was_here) == (200, False)


def test_a_published_directory_that_was_removed_is_no_place(cluster: Cluster) -> None:
    a, b = cluster.sources("a", "b")
    receiver = cluster.node("r", peers=[a.address, b.address])
    home = make_checkpoint(receiver.path("runs/100"))
    receiver.publish(home)
    assert receiver.recover().target == str(home)
    shutil.rmtree(home)
    result = receiver.recover()
    assert (result.result, result.target) == (Result.COMPLETE, str(receiver.path(NAME, "100")))
    assert not home.exists()


def test_a_copy_that_somebody_named_is_no_home(source: Node, receiver: Node) -> None:
    named = receiver.recover(to=receiver.path("current"))
    source.kill()  # else it may bring what the disk is slow to give
    usual = receiver.recover()
    assert (usual.target, usual.bytes_received) == (str(receiver.path(NAME, "100")), 0)
    assert usual.bytes_local == named.bytes_total


def test_a_plan_needs_nobody_for_what_is_here(
    source: Node, receiver: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.recover(to=receiver.path("copy"))
    source.kill()
    copied = receiver.client.plan(PlanRequest(checkpoint=NAME, version=100))
    assert (copied.is_here, copied.needed_bytes) == (False, 0)
    assert copied.bytes_local == copied.room_bytes == copied.bytes_total
    receiver.recover()
    here = receiver.client.plan(PlanRequest(checkpoint=NAME, version=100))
    assert (here.is_here, here.needed_bytes, here.room_bytes) == (True, 0, 0)
    assert here.missing_blocks == 0
    command = ["--socket", receiver.client.socket_path]
    assert ckptctl([*command, "plan", f"{NAME}@100"]) == ExitCode.DONE
    assert "already here, nothing to do" in capsys.readouterr().out
