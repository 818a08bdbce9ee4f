"""Descriptors over the control socket: units that a job opens, and files that a job passes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import uvloop

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.prioritized import NeedProgress, NeedRequest
from ckptd.errors import CkptdError, ContentChanged, ExitCode, NotFound, NotPermitted
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import NEED_PROGRESS, NEED_RESULT
from tests.support.stores import open_descriptors
from tests.support.time_limits import ON_UVLOOP
from tests.support.two_users import DAEMON, TRAINER, as_daemon, as_trainer, can_be_two_users

pytestmark = pytest.mark.integration

NewLoop = Callable[[], asyncio.AbstractEventLoop]
only_two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture(
    params=[
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop", marks=ON_UVLOOP),
    ]
)
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    made: NewLoop = request.param
    return made


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ckptd.sock")


def unit_file(tmp_path: Path) -> Path:
    file = tmp_path / "unit"
    file.write_bytes(b"weights" * 1000)
    return file


@pytest.mark.parametrize("needing", ["at once", "later"])
def test_a_descriptor_comes_with_the_result(
    new_loop: NewLoop, path: str, tmp_path: Path, needing: str
) -> None:
    file = unit_file(tmp_path)
    result = msgspec.structs.replace(NEED_RESULT, path=str(file))
    steps = (result,) if needing == "at once" else (NEED_PROGRESS, NEED_PROGRESS, result)
    with serving(StandInDaemon(needing=steps), path, new_loop):
        client = ControlClient(path)
        client.version()
        before = open_descriptors()
        progress: list[NeedProgress] = []
        unit = client.open_unit("model/a", progress.append)
        assert os.pread(unit.fd, 100_000, 0) == file.read_bytes()
        assert fcntl.fcntl(unit.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        assert not os.get_inheritable(unit.fd)
        assert unit.result == msgspec.structs.replace(result, has_descriptor=True)
        assert progress == [NEED_PROGRESS] * (len(steps) - 1)
        os.close(unit.fd)
        # The daemon is in this process, too: nothing is left of either end.
        eventually(lambda: open_descriptors() <= before, "everything is closed")


def test_who_does_not_ask_for_one_gets_none(new_loop: NewLoop, path: str, tmp_path: Path) -> None:
    result = msgspec.structs.replace(NEED_RESULT, path=str(unit_file(tmp_path)))
    with serving(StandInDaemon(needing=(result,)), path, new_loop):
        assert list(ControlClient(path).need(NeedRequest(path="model/a"))) == [result]


@pytest.mark.parametrize("count", [0, 2])
def test_a_daemon_that_gives_none_or_several_is_not_believed(
    new_loop: NewLoop, path: str, tmp_path: Path, count: int
) -> None:
    result = msgspec.structs.replace(NEED_RESULT, path=str(unit_file(tmp_path)))
    daemon = StandInDaemon(needing=(result,))
    daemon.handed_descriptors = count
    with serving(daemon, path, new_loop):
        client = ControlClient(path)
        client.version()
        before = open_descriptors()
        with pytest.raises(CkptdError, match=f"gave {count} descriptors"):
            client.open_unit("model/a")
        eventually(lambda: open_descriptors() <= before, "everything is closed")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster where other users reach its files."""
    if not can_be_two_users():
        pytest.skip("another user cannot use this Python, or there is no setpriv")
    directory = Path(tempfile.mkdtemp(prefix="ckptd-handing-"))
    try:
        directory.chmod(0o755)
        with Cluster(directory) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def start_as_daemon(node: Node) -> None:
    """Start a node as the shipped unit does: as a user of its own, who is nobody."""
    directory = Path(node.config_path).parent
    for each in (directory, *directory.rglob("*")):
        shutil.chown(each, DAEMON, DAEMON)
    directory.chmod(0o755)
    node.prefix = as_daemon("")
    node.sections += f"\n[control]\noperator_users = ['{TRAINER}']\n"
    node.start()
    node.wait_ready()


@only_two_users
def test_a_job_opens_a_unit_that_its_path_would_not_let_it_open(cluster: Cluster) -> None:
    node = cluster.prepare("n")
    made = make_checkpoint(node.path("100"))
    start_as_daemon(node)
    node.publish(made)
    weights = made / "model-1.safetensors"
    expected = weights.read_bytes()
    weights.chmod(0o600)
    client = ControlClient(node.client.socket_path)

    def open_it() -> None:
        with pytest.raises(PermissionError):
            weights.open("rb")
        unit = client.open_unit(str(weights))
        assert os.pread(unit.fd, len(expected) + 1, 0) == expected
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(unit.fd, b"!", 0)
        with pytest.raises(PermissionError):
            os.fchmod(unit.fd, 0o666)
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{unit.fd}", os.O_RDWR)

    as_trainer(open_it, groups=[DAEMON])
    # Somebody who may look, and no more, gets none.
    node.sections = node.sections.replace(str(TRAINER), "root")
    node.restart()

    def be_refused() -> None:
        with pytest.raises(NotPermitted, match="'need' needs 'operator'"):
            client.open_unit(str(weights))

    as_trainer(be_refused, groups=[DAEMON])


def test_what_is_not_what_was_published_is_not_handed_over(tmp_path: Path) -> None:
    with Cluster(tmp_path) as made:
        node = made.node("n")
        directory = make_checkpoint(node.path("100"))
        node.publish(directory)
        whole = node.client.open_unit(str(directory / "optimizer/shard.pt"))
        assert os.fstat(whole.fd).st_ino == (directory / "optimizer/shard.pt").stat().st_ino
        os.close(whole.fd)
        empty = node.client.open_unit(str(directory / "empty"))
        assert os.read(empty.fd, 1) == b""
        os.close(empty.fd)
        weights = directory / "model-1.safetensors"
        # Rot, as far as anybody can see: nothing shows it but the bytes.
        facts = weights.stat()
        with weights.open("r+b") as file:
            file.write(b"!")
        os.utime(weights, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        with pytest.raises((ContentChanged, NotFound)):
            node.client.open_unit(str(weights))


def test_a_shell_gets_the_bytes(
    path: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = unit_file(tmp_path)
    result = msgspec.structs.replace(NEED_RESULT, path=str(file))
    with serving(StandInDaemon(needing=(NEED_PROGRESS, result)), path):
        assert ckptctl(["--socket", path, "need", "model/a", "--cat"]) is ExitCode.DONE
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == file.read_bytes()
