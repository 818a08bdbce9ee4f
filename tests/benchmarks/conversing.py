"""Competitors whose receiver is a process that is told where to, and says how long it took.

What it costs to start it, with all that it imports, does not count: a daemon is up, too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.competitors import PEERS_PYTHON, SOURCES, Fetched, Place, run, version_of

_SCRIPTS = Path(__file__).parent / "peers"

_QUIET = ("-W", "ignore")
"""Its own deprecations are none of our business."""

SINGLE_FILE = "shard"
"""What the source consists of wherever one file is moved."""

END_S = 20.0


class _Conversing:
    """A process that answers each line of its input with a number of seconds."""

    programs: Sequence[str] = ()
    _script = ""

    def __init__(self) -> None:
        self._receiver: Conversation | None = None

    def _python(self) -> str:
        return str(PEERS_PYTHON)

    @contextlib.contextmanager
    def _conversation(self, *arguments: object) -> Iterator[Conversation]:
        with conversation(self._python(), *_QUIET, _SCRIPTS / self._script, *arguments) as begun:
            yield begun

    def fetch(self, target: Path) -> Fetched:
        target.mkdir(parents=True)
        assert self._receiver is not None
        return Fetched(float(self._receiver.ask(str(self._told(target)))))

    def _told(self, target: Path) -> Path:
        """Return what the receiver shall be told."""
        return target


class Libtorrent(_Conversing):
    """Four seeds, one leech, tuned for a fast network."""

    name = "libtorrent"
    what = "four seeds, pieces of 4 MiB, SHA-1"
    verifies = True
    makes_files = True
    programs: Sequence[str] = ("libtorrent",)
    _script = "libtorrent_peer.py"

    def version(self) -> str:
        return version_of(self._python(), "-c", "import libtorrent as l; print(l.__version__)")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        torrent = place.own / "torrent"
        run(self._python(), *_QUIET, _SCRIPTS / self._script, "make", place.source, torrent)
        with contextlib.ExitStack() as running:
            seeds = [
                running.enter_context(self._conversation("seed", place.source, torrent))
                for _ in range(SOURCES)
            ]
            ports = [seed.listen() for seed in seeds]
            self._receiver = running.enter_context(self._conversation("leech", torrent, *ports))
            yield

    def fetch(self, target: Path) -> Fetched:
        # A torrent of a directory brings the directory's name along.
        fetched = super().fetch(target)
        (brought,) = target.iterdir()
        for entry in brought.iterdir():
            entry.rename(target / entry.name)
        brought.rmdir()
        return fetched


class Torchft(_Conversing):
    """torchft's HTTP checkpoint transport: from one process's memory to another's."""

    name = "torchft"
    what = "HTTP transport, memory to memory"
    verifies = False
    makes_files = False
    programs: Sequence[str] = ("torchft",)
    _script = "torchft_peer.py"

    def version(self) -> str:
        shown = "from importlib.metadata import version as v; print(v('torchft'), v('torch'))"
        return version_of(self._python(), "-c", shown)

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        with self._conversation("serve", place.source / SINGLE_FILE) as source:
            address = source.listen()
            with self._conversation("fetch", address) as self._receiver:
                yield


class Prototype(_Conversing):
    """The byte path alone: a blocking thread for each lane, sources that only send."""

    name = "prototype"
    what = "a thread each receives, hashes, writes"
    verifies = True
    makes_files = True
    _script = "prototype.py"

    def _python(self) -> str:
        return sys.executable

    def version(self) -> str:
        return ""

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        file = place.source / SINGLE_FILE
        with contextlib.ExitStack() as running:
            sources = [
                running.enter_context(self._conversation("serve", file)) for _ in range(SOURCES)
            ]
            ports = [source.listen() for source in sources]
            size_bytes = file.stat().st_size
            self._receiver = running.enter_context(self._conversation("fetch", size_bytes, *ports))
            yield

    def _told(self, target: Path) -> Path:
        return target / SINGLE_FILE


class Conversation:
    """Lines to and from a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def listen(self) -> str:
        """Return the next line it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"a process ended with {self._process.wait()}"
        return line.strip()

    def ask(self, line: str) -> str:
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.listen()


@contextlib.contextmanager
def conversation(
    *command: object, environment: Mapping[str, str] | None = None
) -> Iterator[Conversation]:
    """Start a program to talk to; when the context ends its input does, and then it is killed."""
    with subprocess.Popen(
        [*map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield Conversation(process)
        finally:
            if environment is not None:  # it has processes of its own to end
                assert process.stdin is not None
                process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_S)
            process.kill()
