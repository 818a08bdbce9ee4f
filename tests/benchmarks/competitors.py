"""What a way to fetch a directory is, and what the ways have in common."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.cluster import eventually

SOURCES = 4

PEERS_PYTHON = Path(".venv-peers/bin/python")
"""Has what is compared with and is no dependency: libtorrent, torchft, py-spy."""

BLAME_BYTES_MAX = 2000
"""Of what a program said before it failed."""


@dataclass(frozen=True)
class Place:
    """Where a competitor finds and leaves its files.

    Attributes:
        source: The directory to be fetched.
        own: The competitor's, in memory.
        received: Its, too: it fetches to directories in there; may be on a disk.
    """

    source: Path
    own: Path
    received: Path


@dataclass(frozen=True)
class Fetched:
    """One turn.

    Attributes:
        seconds: How long it took.
        facts: What else was measured; names end with their unit.
    """

    seconds: float
    facts: Mapping[str, float] = field(default_factory=dict)


class Competitor(Protocol):
    """One way."""

    @property
    def name(self) -> str:
        """In tables and rows."""

    @property
    def what(self) -> str:
        """What is compared, in a few words."""

    @property
    def verifies(self) -> bool:
        """Wrong bytes would be noticed."""

    @property
    def makes_files(self) -> bool:
        """The target is a copy of the source afterwards."""

    @property
    def programs(self) -> Sequence[str]:
        """What has to be installed; see :mod:`tests.benchmarks.needs`."""

    def version(self) -> str:
        """Return that of the program that fetches; empty if it is not known."""

    def serve(self, place: Place) -> contextlib.AbstractContextManager[None]:
        """Start what serves, and what can be up before a turn."""

    def fetch(self, target: Path) -> Fetched:
        """Fetch the source to a directory in ``received`` that does not exist."""


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert isinstance(port, int)
    return port


def wait_listening(address: str) -> None:
    """Wait until somebody listens at ``HOST:PORT``."""
    host, _, port = address.rpartition(":")

    def connects() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((host, int(port))).close()
            return True
        return False

    eventually(connects, f"somebody listens at {address}")


@contextlib.contextmanager
def process(*command: str | Path) -> Iterator[None]:
    """Run a program that is told to end when the context does."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as started:
        try:
            yield
        finally:
            started.terminate()


def run(*command: str | Path) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    said = (done.stderr or done.stdout)[-BLAME_BYTES_MAX:]
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {said}"
    return done.stdout


def version_of(*command: str | Path) -> str:
    """Return the first line a program prints; empty if it cannot be run."""
    with contextlib.suppress(OSError):
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        return shown.stdout.partition("\n")[0].strip()
    return ""
