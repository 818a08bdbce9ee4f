"""Descriptors over the control socket: units that a job opens, and files that a job passes."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.checkpoints import (
    PublishEvent,
    PublishRequest,
    PublishResult,
    PublishWanted,
)
from ckptd.control.messages.prioritized import NeedProgress, NeedRequest
from ckptd.control.passing import FilePasser
from ckptd.control.server.handing import Handing
from ckptd.errors import (
    CkptdError,
    ContentChanged,
    ExitCode,
    NotFound,
    NotPermitted,
    StorageError,
    UsageError,
)
from ckptd.model.words import PlaceState
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import NEED_PROGRESS, NEED_RESULT, PUBLISH_RESULT
from tests.support.loops import NewLoop
from tests.support.stores import open_descriptors
from tests.support.two_users import (
    DAEMON,
    TRAINER,
    as_daemon,
    as_trainer,
    can_be_two_users,
    cluster_of_two_users,
)

pytestmark = pytest.mark.integration

only_two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


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
    with cluster_of_two_users() as made:
        yield made


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
    weights = made / "model-1.safetensors"
    expected = weights.read_bytes()
    weights.chmod(0o600)
    start_as_daemon(node)
    node.publish(made)
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


def save_as_safetensors_does(directory: Path) -> Path:
    """Save weights through a temporary file, which is its owner's alone, and what is beside them.

    So do safetensors since 0.8.1 (its issue 782) and Ignite where it saves atomically (1876).
    """
    directory.mkdir()
    (directory / "config.json").write_bytes(b"{}")
    for name in ("model-1.safetensors", "model-2.safetensors"):
        fd, temporary = tempfile.mkstemp(dir=directory)
        os.write(fd, name.encode() * 50_000)
        os.close(fd)
        os.rename(temporary, directory / name)
    return directory


@pytest.fixture
def jobs(cluster: Cluster) -> tuple[Node, Path]:
    """A node of which one directory is a job's."""
    node = cluster.prepare("n")
    start_as_daemon(node)
    jobs = node.path("jobs")
    jobs.mkdir()
    shutil.chown(jobs, TRAINER, TRAINER)
    return node, jobs


def publish_request(directory: Path, version: int = 1200) -> PublishRequest:
    return PublishRequest(directory=str(directory), checkpoint="job", version=version)


def publish_as_trainer(node: Node, directory: Path, passed_files: int) -> None:
    client = ControlClient(node.client.socket_path)

    def publish() -> None:
        *_, result = client.publish_passing(publish_request(directory))
        assert isinstance(result, PublishResult)
        assert result.passed_files == passed_files, result
        assert ("setfacl" in result.passed_note) is bool(passed_files)

    as_trainer(publish, groups=[DAEMON])


@only_two_users
def test_what_only_its_job_may_read_is_published_and_off_offer_after_a_restart(
    cluster: Cluster, jobs: tuple[Node, Path]
) -> None:
    node, directory = jobs
    version = directory / "1200"
    as_trainer(lambda: save_as_safetensors_does(version))
    with pytest.raises(StorageError, match="may not read it"):
        list(node.client.publish(publish_request(version)))
    publish_as_trainer(node, version, passed_files=2)
    receiver = cluster.node("r", peers=[node.address])
    target = receiver.recover("job", 1200).target
    assert {path.name: path.read_bytes() for path in Path(target).iterdir()} == {
        path.name: path.read_bytes() for path in version.iterdir()
    }
    # The same bytes are no secret from who may publish, and no other file is to be had by that.
    node.restart()
    (row,) = node.client.checkpoints()
    assert [place.state for place in row.places] == [PlaceState.WITHDRAWN]
    assert "publish it again" in row.places[0].reason
    publish_as_trainer(node, version, passed_files=2)
    (row,) = node.client.checkpoints()
    assert [place.state for place in row.places] == [PlaceState.HERE]
    # What the daemon may read by then needs nobody to pass it, and stays.
    for path in version.iterdir():
        path.chmod(0o644)
    publish_as_trainer(node, version, passed_files=0)
    node.restart()
    (row,) = node.client.checkpoints()
    assert [place.state for place in row.places] == [PlaceState.HERE]


@only_two_users
def test_a_job_that_passes_something_else_gets_nothing_by_it(jobs: tuple[Node, Path]) -> None:
    node, directory = jobs
    version = directory / "1200"
    as_trainer(lambda: save_as_safetensors_does(version))
    client = ControlClient(node.client.socket_path)
    before = eventually(lambda: descriptor_count(node.pid), "it can be seen")

    def lie() -> None:
        for make in (
            lambda path: os.memfd_create("fake"),
            lambda path: os.open("/etc/passwd", os.O_RDONLY),
            lambda path: os.open(path, os.O_RDWR),
            lambda path: os.open(path, os.O_PATH),
            lambda path: os.open(version / "config.json", os.O_RDONLY),
            lambda path: os.pipe()[0],
        ):
            passing = PassesOthers(str(version), make)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("ckptd.control.client.FilePasser", lambda _, it=passing: it)
                with pytest.raises(StorageError, match="the descriptor that was passed for it"):
                    list(client.publish_passing(publish_request(version)))

    as_trainer(lie, groups=[DAEMON])
    assert not node.client.checkpoints()
    eventually(lambda: descriptor_count(node.pid) <= before + 2, "nothing of it stays open")


class PassesOthers(FilePasser):
    """Passes something else than the daemon asked for."""

    def __init__(self, directory: str, make: Callable[[str], int]) -> None:
        super().__init__(directory)
        self._make = make
        self._place = directory

    def _open(self, path: str) -> int | None:
        return self._make(f"{self._place}/{path}")


def descriptor_count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Asking(StandInDaemon):
    """Asks whoever publishes for descriptors."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.paths = tuple(f"{number}" for number in range(count))
        self.contents: list[bytes | None] = []

    async def publish(  # type: ignore[override]
        self, request: PublishRequest, handing: Handing
    ) -> AsyncGenerator[PublishEvent, None]:
        with handing.asking():
            yield PublishWanted(paths=self.paths)
            for fd in await handing.receive(len(self.paths)):
                self.contents.append(None if fd is None else os.pread(fd, 10, 0))
                if fd is not None:
                    handing.refuse([fd])
        yield PUBLISH_RESULT


@pytest.mark.parametrize("count", [1, 64])
def test_what_a_client_is_asked_for_comes_in_one_message(
    new_loop: NewLoop, path: str, tmp_path: Path, count: int
) -> None:
    for number in range(count):
        if number % 3 != 1:
            (tmp_path / f"{number}").write_bytes(b"%d" % number)
    daemon = Asking(count)
    with serving(daemon, path, new_loop):
        client = ControlClient(path)
        client.version()
        before = open_descriptors()
        *_, result = client.publish_passing(publish_request(tmp_path))
        assert result == PUBLISH_RESULT
        eventually(lambda: open_descriptors() <= before, "everything is closed")
    expected = [None if number % 3 == 1 else b"%d" % number for number in range(count)]
    assert daemon.contents == expected


@pytest.mark.parametrize(
    ("said", "count"), [(b"1", 0), (b"1", 2), (b"0", 1), (b"11", 2), (b"x", 1), (b"1", 253)]
)
def test_a_message_of_another_form_is_refused_and_closed(
    new_loop: NewLoop, path: str, tmp_path: Path, said: bytes, count: int
) -> None:
    class Wrong(FilePasser):
        def answer(self, connected: socket.socket, paths: Iterable[str]) -> None:
            with Path("/dev/null").open("rb") as null:
                socket.send_fds(connected, [said], [null.fileno()] * count)

    with serving(Asking(1), path, new_loop), pytest.MonkeyPatch.context() as patch:
        patch.setattr("ckptd.control.client.FilePasser", Wrong)
        client = ControlClient(path)
        client.version()
        before = open_descriptors()
        with pytest.raises(UsageError, match="were not passed as they have to be"):
            list(client.publish_passing(publish_request(tmp_path)))
        eventually(lambda: open_descriptors() <= before, "everything is closed")


def test_who_goes_away_instead_leaves_nothing_behind(
    new_loop: NewLoop, path: str, tmp_path: Path
) -> None:
    with serving(Asking(1), path, new_loop):
        client = ControlClient(path)
        client.version()
        before = open_descriptors()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FilePasser, "answer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                list(client.publish_passing(publish_request(tmp_path)))
        eventually(lambda: open_descriptors() <= before, "everything is closed")
        client.version()  # others are served


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
