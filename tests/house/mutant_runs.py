"""Runs of the tests of one module in a copy of the project, with a mutation or without.

This process has imported what tests need from elsewhere, but nothing of ``ckptd``; for each run it
forks, and the child imports the copy. So a run costs what its tests take.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.house.mirror import mirror_of
from tests.house.mutations import Mutation
from tests.house.source_tree import Module

PROJECT: Final = Path(__file__).parents[2]
PACKAGE: Final = "ckptd"
COPIED: Final = (PACKAGE, "tests", "configs", "deploy", "pyproject.toml", "Makefile")

MEMORY_BYTES_MAX: Final = 8 << 30
"""A mutant that never ends may make lists that never end."""

WRONG_COPY: Final = 99
"""The child found another source than that of its copy."""

PRELOADED: Final = (
    "aiofiles", "aiohttp.web", "asyncio", "blake3", "cryptography.x509", "hashlib", "http.client",
    "httptools", "msgspec", "prometheus_client", "pyroaring", "sqlite3", "ssl", "structlog",
    "tomllib", "unittest.mock", "uvloop", "zstandard",
)  # fmt: skip
"""What the tests of most modules import. No plugin of pytest: it rewrites those while it loads."""


def preload() -> None:
    """Import what all children would import."""
    for name in PRELOADED:
        importlib.import_module(name)


@contextlib.contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """Make copies of the project that nothing else uses; they are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        made = [Path(place).resolve() / str(number) for number in range(count)]
        for copy in made:
            copy.mkdir()
            for name in COPIED:
                source = PROJECT / name
                if source.is_dir():
                    shutil.copytree(source, copy / name)
                else:
                    shutil.copy2(source, copy / name)
        yield made


def forget_compiled(source: Path) -> None:
    """Remove what Python compiled of a source: it compares seconds and sizes only."""
    for compiled in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"):
        compiled.unlink()


@dataclass(frozen=True)
class Job:
    """One run of the tests of a module.

    Attributes:
        path: The module.
        mutation: What is wrong with it; ``None``: nothing.
        limit_s: After so long it counts as caught.
    """

    path: str
    mutation: Mutation | None
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        job: What was run.
        status: What pytest exited with; negative: a signal.
        seconds: How long it took.
        output: What pytest printed.
    """

    job: Job
    status: int
    seconds: float
    output: str

    @property
    def is_red(self) -> bool:
        """Return whether a test failed, could not be imported or did not end."""
        return self.status != 0


class Bench:
    """Runs jobs, one on each core, each core with a copy of the project.

    Args:
        copies: As many runs go on at the same time.
        seed: Of the examples that hypothesis draws.
    """

    def __init__(self, copies: Sequence[Path], seed: int) -> None:
        self._free = list(copies)
        self._seed = seed

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Run jobs in their order; yield how each ended, the first to end first.

        Raises:
            RuntimeError: A child imported something else than its copy.
        """
        waiting = list(reversed(jobs))
        running: dict[int, _Run] = {}
        with selectors.DefaultSelector() as ends:
            while waiting or running:
                while waiting and self._free:
                    run = _Run(waiting.pop(), self._free.pop(), self._seed)
                    running[run.pidfd] = run
                    ends.register(run.pidfd, selectors.EVENT_READ)
                next_limit = min(run.deadline for run in running.values())
                ended = ends.select(max(next_limit - time.monotonic(), 0))
                now = time.monotonic()
                over = [running[key.fd] for key, _ in ended]
                late = [run for run in running.values() if run.deadline <= now]
                for run in over or late:
                    ends.unregister(run.pidfd)
                    del running[run.pidfd]
                    outcome = run.end()
                    self._free.append(run.copy)
                    if outcome.status == WRONG_COPY:
                        raise RuntimeError(outcome.output)
                    yield outcome


class _Run:
    """A child that runs the tests of one job in a copy."""

    def __init__(self, job: Job, copy: Path, seed: int) -> None:
        self.job, self.copy = job, copy
        self._source = copy / PACKAGE / job.path
        self._original = self._source.read_text()
        if job.mutation is not None:
            forget_compiled(self._source)
            self._source.write_text(job.mutation.of(self._original))
        self._printed = copy / "printed.txt"
        self._began = time.monotonic()
        self.deadline = self._began + job.limit_s
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            status = WRONG_COPY
            try:
                status = run_tests(copy, job.path, self._printed, seed)
            finally:
                os._exit(status)
        self.pidfd = os.pidfd_open(self._pid)

    def end(self) -> Outcome:
        """Kill what is left of it, and make the copy what it was."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self.pidfd)
        seconds = time.monotonic() - self._began
        if self.job.mutation is not None:
            forget_compiled(self._source)
            self._source.write_text(self._original)
        output = self._printed.read_text(errors="replace") if self._printed.exists() else ""
        return Outcome(self.job, os.waitstatus_to_exitcode(status), seconds, output)


def run_tests(copy: Path, path: str, printed: Path, seed: int) -> int:
    """Run the tests of a module in a copy; the child's whole life.

    Args:
        copy: The root of the copy.
        path: The module, below the package.
        printed: Takes what pytest prints.
        seed: Of the examples that hypothesis draws.

    Returns:
        What pytest exits with; ``WRONG_COPY`` if the copy would not be what is imported.
    """
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(copy), *(each for each in sys.path if Path(each) not in {PROJECT, Path()})]
    for name in [name for name in sys.modules if name.partition(".")[0] in {PACKAGE, "tests"}]:
        del sys.modules[name]
    module = f"{PACKAGE}.{Module(path, '').dotted}"
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin != str(copy / PACKAGE / "__init__.py"):
        sys.stderr.write(f"{module} would come from {spec and spec.origin}, not from {copy}\n")
        return WRONG_COPY
    tests = [str(test) for test in mirror_of(path, copy / "tests" / "unit")]
    status = pytest.main([
        "-x", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}",
        f"--basetemp={copy / 'tmp'}", *tests,
    ])  # fmt: skip
    tested = sys.modules.get(module)
    if tested is not None and tested.__file__ != str(copy / PACKAGE / path):
        sys.stderr.write(f"{module} came from {tested.__file__}, not from {copy}\n")
        return WRONG_COPY
    sys.stdout.flush()
    return int(status)
