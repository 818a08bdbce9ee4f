"""The ceiling as a competitor: what this machine can do, by a program in C without a daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.pki.authority import Authority
from ckptd.model.ids import parse_node_id
from tests.benchmarks.competitors import SOURCES, Fetched, Place, run
from tests.benchmarks.conversing import SINGLE_FILE, Conversation, conversation
from tests.benchmarks.daemons import Ckptd
from tests.benchmarks.instruments.compiling import COMPILER, ceiling_program
from tests.benchmarks.processes import cpu_s

GB = 1e9
SYSTEM = "system"
"""The congestion control that the kernel chooses."""


class Spent(NamedTuple):
    """What the ceiling prints of one turn: its time, and processor time of its lanes by kind."""

    seconds: float
    receiving_s: float
    hashing_s: float
    writing_s: float


def parse_spent(line: str) -> Spent:
    """Read what the ceiling prints of one turn."""
    return Spent(*map(float, line.split()))


class Ceiling:
    """As many sources and lanes as ckptd has, that receive, hash and write, in C.

    Args:
        name: In tables and rows.
        beside: Had a turn before: this uses the congestion control that was seen there, or the
            system's.
        uses_tls: What is sent is encrypted.
        lanes: How many connections; spread over the sources.
        files: To how many files the lanes write.
    """

    makes_files = False  # with several files each has a part
    verifies = True

    def __init__(
        self,
        name: str = "C ceiling",
        *,
        beside: Ckptd | None = None,
        uses_tls: bool = False,
        lanes: int = SOURCES,
        files: int = 1,
    ) -> None:
        self.name = name
        self.programs: Sequence[str] = (COMPILER, "openssl") if uses_tls else (COMPILER,)
        self._uses_tls = uses_tls
        self._beside = beside
        self.congestion = SYSTEM
        self._lanes = lanes
        self._files = files
        self._hashes = ""

    @property
    def what(self) -> str:
        """What it does, and plainly what it does not."""
        tls = "TLS 1.3, " if self._uses_tls else ""
        hashed = f"BLAKE3 of {self._hashes}" if self._hashes else "without hashing"
        sent = f"{SOURCES} senders ({self.congestion}), {self._lanes} lanes in C"
        return f"{sent}, {tls}{hashed}, written"

    def version(self) -> str:
        return self._encrypts if self._uses_tls else self._hashes

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        self._program = ceiling_program()
        self._hashes, self._encrypts = run(self._program, "can").split("\n")[:2]
        self._place = place
        self._size_bytes = (place.source / SINGLE_FILE).stat().st_size
        with contextlib.ExitStack() as self._running:
            self._receiver: Conversation | None = None
            yield

    def _start(self) -> Conversation:
        """Start both sides, as late as the first turn: what it is compared with has begun."""
        if self._beside is not None:
            self.congestion = self._beside.congestion or SYSTEM
        congestion = self.congestion
        keys: tuple[str, ...] = ()
        if self._uses_tls:
            authority = Authority(str(self._place.own / "ca"))
            authority.create()
            keys = authority.issue(parse_node_id("ceiling"))
        start = self._running.enter_context
        shared = self._place.source / SINGLE_FILE
        self._sources = [
            start(conversation(self._program, "serve", shared, congestion, *keys))
            for _ in range(SOURCES)
        ]
        ports = [source.listen() for source in self._sources]
        sizes = (self._size_bytes, self._lanes, self._files)
        tls = "tls" if self._uses_tls else "plain"
        return start(conversation(self._program, "fetch", *sizes, congestion, tls, *ports))

    def fetch(self, target: Path) -> Fetched:
        target.mkdir(parents=True)
        if self._receiver is None:
            self._receiver = self._start()
        processes = [self._receiver, *self._sources]
        before = [cpu_s(each.pid) for each in processes]
        spent = parse_spent(self._receiver.ask(str(target)))
        receiver, *sources = (
            cpu_s(each.pid) - early for each, early in zip(processes, before, strict=True)
        )
        size_gb = self._size_bytes / GB
        return Fetched(
            spent.seconds,
            {
                "receiver_cpu_s_per_gb": receiver / size_gb,
                "source_cpu_s_per_gb": sum(sources) / size_gb,
                "receiving_cpu_s_per_gb": spent.receiving_s / size_gb,
                "hashing_cpu_s_per_gb": spent.hashing_s / size_gb,
                "writing_cpu_s_per_gb": spent.writing_s / size_gb,
            },
        )
