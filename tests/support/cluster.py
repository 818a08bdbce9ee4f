"""Real daemons for tests: started, watched, killed; whatever waits here has a deadline."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import msgspec
import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile, write_checkpoint
from ckptd.cli.demo.demo_daemon import LocalDaemon, Process, pause
from ckptd.cli.pki.authority import Authority
from ckptd.control.messages.checkpoints import CheckpointRow, PublishRequest, PublishResult
from ckptd.control.messages.observation import EventRecord, FollowQuery
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.limits import KIB, MIB
from ckptd.model.words import WasteReason
from tests.support.fork_server import fork_server
from tests.support.ports import free_ports

WAIT_S = 60.0
"""Nothing here takes so long unless it never comes, however busy the machine is."""

STOP_S = 60.0
"""A daemon ends within a second; its service manager waits for 90 before it kills it."""

PROGRAM = "ckptd.cli.daemon"
NAME = "llama/rank-3"
CRITICAL = ("*.json",)
DEFERRED = ("optimizer/*",)

with_and_without_tls = pytest.mark.parametrize("cluster", ["plain", "tls"], indirect=True)

_T = TypeVar("_T")


class FileFacts(NamedTuple):
    sha256: str
    size_bytes: int
    is_executable: bool


def checkpoint_files(size_bytes: int = 24 * MIB) -> list[PlannedFile]:
    """Everything a version may have: shards, small files, nothing, a program, deep paths."""
    large = size_bytes - 8 * MIB
    return [
        PlannedFile("config.json", 700),
        PlannedFile("empty", 0),
        PlannedFile("model-1.safetensors", large * 2 // 3 + 1),
        PlannedFile("model-2.safetensors", large // 3),
        PlannedFile("optimizer/shard.pt", 8 * MIB - 1),
        PlannedFile("run.sh", 90, is_executable=True),
        PlannedFile("a/b/c/block", 256 * KIB),
        *(PlannedFile(f"small/{number:02}", number * 331) for number in range(12)),
    ]


def make_checkpoint(
    directory: Path, *, seed: int = 1, files: Sequence[PlannedFile] | None = None
) -> Path:
    """Write a version; the same seed gives the same bytes."""
    write_checkpoint(str(directory), checkpoint_files() if files is None else files, seed=seed)
    return directory


def tree_digest(directory: Path | str) -> Mapping[str, FileFacts]:
    """Every file below a directory, read with nothing of ckptd."""
    found = {}
    for inner, _, names in os.walk(directory):
        for name in names:
            path = Path(inner, name)
            facts = path.lstat()
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            is_executable = bool(facts.st_mode & 0o100)
            found[str(path.relative_to(directory))] = FileFacts(
                digest, facts.st_size, is_executable
            )
    return found


def without_moments(rows: Iterable[CheckpointRow]) -> list[CheckpointRow]:
    """What is said of versions, but for when they came and were checked."""
    return [
        msgspec.structs.replace(
            row,
            places=tuple(
                msgspec.structs.replace(
                    place, added_at_s=0.0, checked_at_s=0.0, age_s=None, checked_age_s=None
                )
                for place in row.places
            ),
        )
        for row in rows
    ]


def needlessly_wasted_bytes(result: RecoveryResult) -> int:
    """Return what a recovery received and did not use though no source was late.

    On a machine that is busy for half a second any source is: what it had begun of a block comes
    again, from it or from another one.
    """
    of_lateness = (WasteReason.SILENT, WasteReason.HEDGE)
    return result.bytes_wasted - sum(result.wasted.get(reason, 0) for reason in of_lateness)


def eventually(look: Callable[[], _T | None], what: str, *, timeout_s: float = WAIT_S) -> _T:
    """Look again and again until something is seen, and return it."""
    deadline_s = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f}s: {what}"
        pause()
    return seen


class Node(LocalDaemon):
    """A daemon with the verbs of a test."""

    def _run(self, arguments: Sequence[str], log_fd: int) -> Process:
        is_plain = not self.prefix and self.environment is None and self.module == PROGRAM
        if is_plain and (server := fork_server()) is not None:
            return server.start(arguments, log_fd)
        return super()._run(arguments, log_fd)

    def restart(self, *options: str) -> None:
        """Start it again, as the same node at the same address."""
        self.kill()
        self.start(*options)
        self.wait_ready()

    def stop(self) -> None:
        """Tell it to stop, and expect it to do so in good order."""
        self.terminate()
        exit_code = self.wait_ended(STOP_S)
        assert exit_code == 0, f"{self.node} ended with {exit_code}\n{self.log_text()}"

    @property
    def pid(self) -> int:
        """Number of its process, which must run."""
        assert self._process is not None, f"{self.node} was not started"
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send a signal to it, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def log_text(self) -> str:
        return Path(self.log_path).read_text(errors="replace")

    def path(self, *parts: str) -> Path:
        """Return a path below the root."""
        return Path(self.root, *parts)

    def publish(
        self,
        directory: Path,
        checkpoint: str = NAME,
        version: int = 100,
        *,
        critical: tuple[str, ...] = CRITICAL,
        deferred: tuple[str, ...] = DEFERRED,
        replace: bool = False,
        phases: tuple[tuple[str, str], ...] = (),
    ) -> PublishResult:
        """Publish a directory and return the result."""
        request = PublishRequest(
            directory=str(directory),
            checkpoint=checkpoint,
            version=version,
            critical=critical,
            deferred=deferred,
            replace=replace,
            phases=phases,
        )
        *_, last = self.client.publish(request)
        assert isinstance(last, PublishResult)
        return last

    def begin(
        self,
        checkpoint: str = NAME,
        version: int | None = 100,
        *,
        to: Path | str | None = None,
        patience_s: float | None = None,
        is_background: bool = False,
        overwrite: bool = False,
        allow_partial: bool = False,
        is_name_awaited: bool = True,
        units: Sequence[str] = (),
        min_criticality: str | None = None,
        activate: bool = False,
        place: str = "",
    ) -> str:
        """Begin a recovery and return its id."""
        request = RecoverRequest(
            checkpoint=checkpoint,
            version=version,
            to=None if to is None else str(to),
            patience_s=patience_s,
            is_background=is_background,
            overwrite=overwrite,
            allow_partial=allow_partial,
            is_name_awaited=is_name_awaited,
            units=tuple(units),
            min_criticality=min_criticality,
            activate=activate,
            place=place,
        )
        return self.client.recover(request).recovery

    def result(self, recovery: str) -> RecoveryResult:
        """Wait for the end of a recovery."""
        for event in self.client.until(time.monotonic() + WAIT_S).watch(recovery):
            if isinstance(event, RecoveryResult):
                return event
        raise AssertionError("a watch ends with a result or raises")

    def recover(
        self,
        checkpoint: str = NAME,
        version: int | None = 100,
        *,
        to: Path | str | None = None,
        patience_s: float | None = None,
        overwrite: bool = False,
        units: Sequence[str] = (),
    ) -> RecoveryResult:
        """Recover and wait for the end."""
        return self.result(
            self.begin(
                checkpoint,
                version,
                to=to,
                patience_s=patience_s,
                overwrite=overwrite,
                units=units,
            )
        )

    def holders(self, version: int = 100) -> set[str]:
        """Return who holds all of a version, as this node sees it."""
        rows = self.client.checkpoints()
        return {name for row in rows if row.version == version for name in row.nodes}

    def events(self, name: str) -> list[EventRecord]:
        """Return the events of one name that the daemon remembers."""
        return [
            event
            for event in self.client.events(FollowQuery())
            if isinstance(event, EventRecord) and event.event == name
        ]

    def wait_view(
        self, recovery: str, condition: Callable[[RecoveryView], bool], what: str
    ) -> RecoveryView:
        """Wait until a recovery, which must not end before, is in some state."""

        def look() -> RecoveryView | None:
            view = self.client.recovery(recovery)
            if condition(view):
                return view
            assert not view.stage.is_ended, f"{view.stage} before {what}: {view}"
            return None

        return eventually(look, what)

    def wait_bytes(self, recovery: str, size_bytes: int) -> RecoveryView:
        """Wait until so much of a recovery is verified."""
        return self.wait_view(
            recovery, lambda view: view.bytes_verified >= size_bytes, f"{size_bytes} bytes verified"
        )


class Cluster:
    """Some nodes below one directory; at the end all of them are gone.

    A node that does not stop in good order fails the test. The ends of all logs are printed,
    which pytest shows if the test failed.

    With ``tls`` they know each other by certificates of an authority of their own.
    """

    def __init__(self, directory: Path, *, tls: bool = False) -> None:
        self.directory = directory
        self.authority = Authority(str(directory / "ca")) if tls else None
        if self.authority is not None:
            self.authority.create()
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        running = [node for node in self.nodes if node.is_running]
        try:
            for node in running:
                node.terminate()
            for node in running:
                if error is None:
                    assert node.wait_ended(STOP_S) == 0, f"{node.node} ended badly"
        finally:
            for node in self.nodes:
                node.kill()
                tail = "\n".join([f"--- log of {node.node}", *node.log_tail()])
                print(tail)  # noqa: T201  pytest shows it if the test failed
                # Pytest keeps the directories of the last runs; they need not hold gigabytes.
                shutil.rmtree(node.root, ignore_errors=True)

    def add(
        self, name: str, *, peers: Sequence[str] = (), root: Path | None = None, sections: str = ""
    ) -> Node:
        """Make a node and start it; wait for it with ``wait_ready``."""
        node = self.prepare(name, peers=peers, root=root, sections=sections)
        node.start()
        return node

    def prepare(
        self,
        name: str,
        *,
        peers: Sequence[str] = (),
        root: Path | None = None,
        metrics: str = "127.0.0.1:0",
        sections: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Node:
        """Make a node and do not start it.

        ``sections`` are more of its configuration; ``environment`` comes on top of the tests' own.
        """
        directory = self.directory / name
        directory.mkdir(parents=True)
        root = root or directory / "root"
        root.mkdir(exist_ok=True)
        node = Node(
            str(directory),
            node=name,
            root=str(root),
            peers=peers,
            metrics=metrics,
            authority=self.authority,
        )
        [node.data_port] = free_ports(1)
        node.sections = sections
        if environment is not None:
            node.environment = {**os.environ, **environment}
        self.nodes.append(node)
        return node

    def node(self, name: str, *, peers: Sequence[str] = (), sections: str = "") -> Node:
        """Make a node that is ready."""
        node = self.add(name, peers=peers, sections=sections)
        node.wait_ready()
        return node

    def sources(self, *names: str) -> list[Node]:
        """Make nodes side by side, each with the same version in its own root, published."""
        nodes = [self.add(name) for name in names]
        for node in nodes:
            make_checkpoint(node.path("100"))
        for node in nodes:
            node.wait_ready()
            node.publish(node.path("100"))
        return nodes
