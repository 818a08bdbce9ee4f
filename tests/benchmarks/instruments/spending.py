"""What a gigabyte costs either side of a recovery: processor time by kind, locks, takes.

Daemons as ``make bench`` has them recover again and again. Meanwhile a thread of this process looks
whether they hold their interpreter locks, and perf at what the processors do; in one more round
perf counts calls of ``take_gil``, which stops whoever takes it for a moment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile, write_checkpoint
from tests.benchmarks.competitors import Place, run
from tests.benchmarks.daemons import Ckptd
from tests.benchmarks.instruments.interpreter_lock import LockPlace, Looks, find_lock, looks_at
from tests.benchmarks.instruments.kinds import Kind, parse_samples, shares
from tests.benchmarks.instruments.scaling import Costs
from tests.benchmarks.memory import kept_warm, touch_memory
from tests.benchmarks.needs import missing

GB = 1e9
SAMPLES_PER_S = 499
PERF_STARTS_S = 0.5
_WARM_TIMES = 3
_MOVING = (Kind.RECEIVING, Kind.CRYPTO, Kind.HASHING, Kind.COPYING, Kind.WRITING, Kind.FAULTS)
"""What threads that move bodies do."""


class Load(NamedTuple):
    """What is recovered, and how.

    Attributes:
        name: In tables.
        files: That the version has.
        uses_tls: Between daemons.
    """

    name: str
    files: Sequence[PlannedFile]
    uses_tls: bool

    @property
    def size_gb(self) -> float:
        return sum(file.size_bytes for file in self.files) / GB


@dataclass(frozen=True)
class Spending:
    """What one side spent on each gigabyte that was moved; sources together.

    Attributes:
        cpu_s: Processor time, round by round.
        held_s: How long the interpreter lock was held, also while its holder waited for a
            processor, round by round; empty: this build has the lock somewhere else.
        switches: How often the lock went to another thread, round by round.
        takes: How often it was taken; ``None``: perf cannot count that here.
        kinds: Processor time by kind; empty: perf is not installed.
    """

    cpu_s: Sequence[float]
    held_s: Sequence[float]
    switches: Sequence[float]
    takes: float | None
    kinds: Mapping[Kind, float]

    def kind_s(self, *kinds: Kind) -> float:
        """Return the processor time of some kinds."""
        return sum(self.kinds.get(kind, 0.0) for kind in kinds)

    @property
    def interpreter_s(self) -> float:
        """Under the interpreter lock: processor time if it is known, else how long it was held."""
        if self.kinds:
            return self.kind_s(Kind.INTERPRETER)
        return statistics.median(self.held_s) if self.held_s else 0.0


class Spent(NamedTuple):
    """Both sides, and how fast it was.

    Attributes:
        seconds: For each gigabyte, round by round.
        receiver: The one that recovers.
        sources: Those that serve, together.
    """

    seconds: Sequence[float]
    receiver: Spending
    sources: Spending


def costs_of(spent: Spent) -> Costs:
    """Return what a model takes from the measured."""
    receiver, sources = spent.receiver, spent.sources
    uses_tls = receiver.kind_s(Kind.CRYPTO) > 0
    moving_s = receiver.kind_s(*_MOVING) or statistics.median(receiver.cpu_s)
    return Costs(
        receiver_cpu_s=statistics.median(receiver.cpu_s),
        sources_cpu_s=statistics.median(sources.cpu_s),
        lane_cpu_s=moving_s,
        interpreter_s=receiver.interpreter_s,
        # Together they sent each byte once, so this is for each gigabyte that one of them sends.
        source_interpreter_s=sources.interpreter_s,
        file_lock_s=receiver.kind_s(Kind.WRITING),
        # Whoever decrypts copies ciphertext and plaintext under the same lock.
        decrypting_s=receiver.kind_s(Kind.CRYPTO, Kind.COPYING) if uses_tls else 0.0,
    )


@contextlib.contextmanager
def cores_only(cores: Collection[int]) -> Iterator[None]:
    """Let this process, and what it starts meanwhile, run on some cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def spend(load: Load, place: str, rounds: int, *, with_instruments: bool = True) -> Spent:
    """Recover some times and return what that cost.

    Args:
        load: What is recovered.
        place: A directory in memory.
        rounds: How often.
        with_instruments: Locks and kinds are looked at, which costs a little.
    """
    ckptd = Ckptd(uses_tls=load.uses_tls)
    lock = find_lock() if with_instruments else None
    size_bytes = sum(file.size_bytes for file in load.files)
    with contextlib.ExitStack() as running:
        base = Path(running.enter_context(tempfile.TemporaryDirectory("-costs", dir=place)))
        here = Place(base / "source", base / "own", base / "received")
        write_checkpoint(str(here.source), load.files, seed=1)
        here.own.mkdir()
        here.received.mkdir()
        running.enter_context(ckptd.serve(here))
        running.enter_context(kept_warm(_WARM_TIMES * size_bytes))

        def recover() -> _Round:
            touch_memory(base, size_bytes)
            target = here.received / "target"
            looks = looks_at(lock, pids) if lock else contextlib.nullcontext({})
            with looks as seen:
                fetched = ckptd.fetch(target)
            shutil.rmtree(target)
            return _Round(fetched.seconds, fetched.facts, seen)

        pids = [each.pid for each in (ckptd.receiver, *ckptd.sources)]
        recover()
        recording = running.enter_context(tempfile.TemporaryDirectory("-perf"))
        looked_at = pids if with_instruments else []
        with _recorded(looked_at, Path(recording) / "perf.data") as kinds:
            done = [recover() for _ in range(rounds)]
        takes = _takes(lock, pids, recover)
    return _spent(load.size_gb, pids, done, kinds, takes)


class _Round(NamedTuple):
    seconds: float
    facts: Mapping[str, float]
    looks: Mapping[int, Looks]


def _spent(
    size_gb: float,
    pids: Sequence[int],
    done: Sequence[_Round],
    kinds: Mapping[int, Mapping[Kind, float]],
    takes: Mapping[int, int],
) -> Spent:
    """Put together what was seen of both sides."""

    def side(fact: str, mine: Sequence[int]) -> Spending:
        cpu_s = [each.facts[fact] for each in done]
        looked = [[each.looks[pid] for pid in mine] for each in done if each.looks]
        samples = sum((kinds.get(pid, {}).get(kind, 0.0) for pid in mine for kind in Kind), 0.0)
        return Spending(
            cpu_s,
            [sum(looks.held_s for looks in each) / size_gb for each in looked],
            [sum(looks.switches for looks in each) / size_gb for each in looked],
            sum(takes[pid] for pid in mine) / size_gb if takes else None,
            {
                kind: part / samples * statistics.median(cpu_s)
                for kind in Kind
                if (part := sum(kinds.get(pid, {}).get(kind, 0.0) for pid in mine))
            },
        )

    return Spent(
        [each.seconds / size_gb for each in done],
        side("receiver_cpu_s_per_gb", pids[:1]),
        side("source_cpu_s_per_gb", pids[1:]),
    )


@contextlib.contextmanager
def _recorded(pids: Sequence[int], path: Path) -> Iterator[dict[int, Mapping[Kind, float]]]:
    """Record what some processes do; how often it was what kind is filled in at the end."""
    seen: dict[int, Mapping[Kind, float]] = {}
    if not pids or missing(["perf"]):
        yield seen
        return
    command = (
        *("perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-g"),
        *("-p", ",".join(map(str, pids)), "-o", str(path)),
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as perf:
        time.sleep(PERF_STARTS_S)
        try:
            yield seen
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
    samples = list(parse_samples(run("perf", "script", "-i", path, "-F", "pid,ip,sym,dso")))
    for pid in pids:
        mine = [sample for sample in samples if sample.pid == pid]
        seen[pid] = {kind: share * len(mine) for kind, share in shares(mine).items()}


_PROBE = re.compile(r"^\s*(\w+:take_gil\w*)", re.MULTILINE)


def _takes(
    lock: LockPlace | None, pids: Sequence[int], recover: Callable[[], object]
) -> Mapping[int, int]:
    """Count how often each process takes its interpreter lock in one recovery; empty: not here."""
    if lock is None or missing(["perf"]):
        return {}
    made = subprocess.run(
        ("perf", "probe", "-x", lock.file, "--add", "take_gil"),
        capture_output=True,
        text=True,
        check=False,
    )
    found = _PROBE.search(made.stdout + made.stderr)
    if found is None:
        return {}
    try:
        with contextlib.ExitStack() as counting:
            counters = [
                counting.enter_context(
                    subprocess.Popen(
                        ("perf", "stat", "-x", ",", "-e", found.group(1), "-p", str(pid)),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
                for pid in pids
            ]
            time.sleep(PERF_STARTS_S)
            recover()
            for counter in counters:
                counter.send_signal(signal.SIGINT)
            said = [counter.communicate()[1] for counter in counters]
    finally:
        subprocess.run(("perf", "probe", "-d", found.group(1)), capture_output=True, check=False)
    return {pid: parse_count(text) for pid, text in zip(pids, said, strict=True)}


def parse_count(text: str) -> int:
    """Read the one count that ``perf stat -x ,`` prints; 0 if it did not count."""
    for line in text.splitlines():
        count, comma, _ = line.partition(",")
        if comma and count.isdigit():
            return int(count)
    return 0
