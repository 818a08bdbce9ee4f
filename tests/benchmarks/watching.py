"""What it costs to publish what jobs save with no command, and how soon it is on offer.

    python -m tests.benchmarks.watching offer beside pace rest --daemons 64 --size 2GiB

``rest``: daemons that watch and know each other while nobody saves. ``offer``: from the last change
of a save until it is on offer. ``beside``: what a job's fsync takes (fio) while a save is read from
the disk, in turns with a machine on which no daemon runs. ``pace``: saves every ten seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import PlannedFile, write_checkpoint
from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.limits import MIB
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.quantities import format_rate, format_size, parse_size
from ckptd.store.files.kernel import drop_cached
from ckptd.store.files.roots import Root
from ckptd.store.published.publishing import scan_and_hash
from ckptd.store.published.scanning import PublishOrder
from tests.benchmarks.places import choose_disk
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.resting import REST_S, measure_rest, rows_of
from tests.support.cluster import STOP_S, eventually

Rows = list[tuple[str, str, bool]]

QUIET_S = 1.0
LATE_S_MAX = 1.0
FSYNC_RATIO_MAX = 1.1
CORES_MAX = 0.5
EVERY_S = 10.0
SAVES = 6
TURNS = 3
FIO_S = 15
SETTLE_S = 5.0
"""Until the disk is done with what was written before."""
ON_OFFER_S = 300.0
WATCH = """
[[watch]]
directory = "{directory}"
checkpoint = "llama"
pattern = "step_{{version}}"
quiet = "{quiet}s"
"""
FIO = (
    "fio --name=job --rw=randwrite --bs=16k --size=64M --fsync=1 --time_based --output-format=json"
)


class Job:
    """A directory into which something saves, and a daemon that watches it.

    Attributes:
        run: The directory.
        daemon: The daemon; it is started by whoever needs it.
    """

    def __init__(self, place: Path, size_bytes: int) -> None:
        self._files = [PlannedFile(f"model-{number}", size_bytes // 4) for number in range(4)]
        self._root = place / "root"
        self.run = self._root / "run"
        self.run.mkdir(parents=True)
        (place / "node").mkdir()
        self.daemon = LocalDaemon(str(place / "node"), node="node", root=str(self._root))
        self.daemon.sections = WATCH.format(directory=self.run, quiet=QUIET_S)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have the daemon run."""
        self.daemon.start()
        try:
            self.daemon.wait_ready()
            yield
        finally:
            self.daemon.terminate()
            self.daemon.wait_ended(STOP_S)

    def prepare(self, version: int) -> Path:
        """Write a save where nobody looks."""
        path = self._root / f"prepared-{version}"
        write_checkpoint(str(path), self._files, seed=version)
        return path

    def save(self, version: int) -> Path:
        """Write a save where it is watched."""
        path = self.run / f"step_{version}"
        write_checkpoint(str(path), self._files, seed=version)
        return path

    def wait_on_offer(self, version: int) -> None:
        """Wait until a version is on offer."""
        client = self.daemon.client
        eventually(
            lambda: any(row.version == version for row in client.checkpoints()),
            f"{version} is on offer",
            timeout_s=ON_OFFER_S,
        )


def measure_offer(place: Path, size_bytes: int) -> Rows:
    """Measure from the last change of a save until it is on offer, beyond what was expected."""
    job, late_s = Job(place, size_bytes), []
    with job.watched():
        for version in range(1, TURNS + 3):
            path = job.save(version)
            ended_s = time.monotonic()
            job.wait_on_offer(version)
            took_s = time.monotonic() - ended_s
            late_s.append(took_s - QUIET_S - size_bytes / _hashing_rate(path))
    detail = ", ".join(f"{each:.2f}" for each in late_s)
    worst_s = max(late_s)
    return [
        (
            f"on offer, {format_size(size_bytes)}: beyond quiet and reading",
            f"{worst_s:.2f} s ({detail})",
            worst_s <= LATE_S_MAX,
        )
    ]


def _hashing_rate(path: Path) -> float:
    """Return how fast one thread publishes a directory in memory, in bytes a second."""
    root = Root.open("data", str(path.parent))
    order = PublishOrder(str(path), CheckpointName("llama"), Version(1))
    began_s = time.perf_counter()
    hashed = scan_and_hash(
        root,
        path.name,
        order,
        workers=1,
        on_progress=lambda _: None,
        is_cancelled=lambda: False,
    )
    took_s = time.perf_counter() - began_s
    root.close()
    return min(sum(unit.size_bytes for unit in hashed.manifest.units) / took_s, 400.0 * MIB)


def measure_beside(place: Path, size_bytes: int) -> Rows:
    """Compare a job's fsync with a daemon that reads a save from the disk and without one."""
    if shutil.which("fio") is None:
        return [
            ("a job's fsync", "not measured: fio is not installed (apt-get install fio)", False)
        ]
    job = Job(place, size_bytes)
    with_s, without_s, taken = [], [], 0
    for turn in range(TURNS):
        path = job.prepare(turn)
        _drop(path)
        time.sleep(SETTLE_S)
        without_s.append(_fsync_p99_s(place, lambda: None))
        target = job.run / f"step_{turn}"
        with job.watched():
            with_s.append(_fsync_p99_s(place, lambda: path.rename(target)))  # noqa: B023 (called at once)
            (row,) = job.daemon.client.watches()
            taken += row.taken
    ratio = statistics.median(with_s) / statistics.median(without_s)
    detail = "; ".join(
        f"{name} " + ", ".join(f"{each * 1000:.1f}" for each in found) + " ms"
        for name, found in (("with", with_s), ("without", without_s))
    )
    return [
        (
            f"a job's fsync, p99, beside {format_size(size_bytes)}",
            f"{ratio:.2f} ({detail}; {taken} of {TURNS} on offer meanwhile)",
            ratio <= FSYNC_RATIO_MAX,
        )
    ]


def _fsync_p99_s(place: Path, begin: Callable[[], object]) -> float:
    """Run fio and begin something while it runs."""
    command = (*FIO.split(), f"--directory={place}", f"--runtime={FIO_S}")
    beginning = threading.Timer(2.0, begin)
    beginning.start()
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    beginning.join()
    (found,) = json.loads(ran.stdout)["jobs"]
    return float(found["sync"]["lat_ns"]["percentile"]["99.000000"]) / 1e9


def _drop(directory: Path) -> None:
    """Have files leave the page cache."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                drop_cached(file.fileno())


def measure_pace(place: Path, size_bytes: int) -> Rows:
    """Save every ten seconds, keep two, and see what the daemon needs."""
    job = Job(place, size_bytes)
    behind = 0
    with job.watched():
        began_s, used_s = time.monotonic(), cpu_s(job.daemon.pid)
        for version in range(1, SAVES + 1):
            prepared = job.prepare(version)
            due_s = began_s + version * EVERY_S
            time.sleep(max(due_s - time.monotonic(), 0.0))
            offered = {row.version for row in job.daemon.client.checkpoints()}
            behind += version > 2 and version - 2 not in offered
            prepared.rename(job.run / f"step_{version}")
            if version > 2:
                shutil.rmtree(job.run / f"step_{version - 2}")
        job.wait_on_offer(SAVES)
        wall_s = time.monotonic() - began_s
        cores = (cpu_s(job.daemon.pid) - used_s) / wall_s
        (row,) = job.daemon.client.watches()
    detail = f"{row.taken} of {SAVES} taken in {wall_s:.0f} s, {behind} behind"
    return [
        (
            f"{format_size(size_bytes)} every {EVERY_S:.0f} s: cores",
            f"{cores:.2f} ({detail}; {format_rate(size_bytes / EVERY_S)})",
            cores <= CORES_MAX and row.taken == SAVES and not behind,
        )
    ]


def main() -> int:
    """Measure, print a table, and say whether everything is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=["offer", "beside", "pace", "rest"])
    parser.add_argument("--daemons", type=int, default=8)
    parser.add_argument("--watches", type=int, default=10)
    parser.add_argument("--size", default="2GiB")
    parser.add_argument("--rest", type=float, default=REST_S)
    chosen = parser.parse_args()
    size_bytes = parse_size(chosen.size)
    measures: dict[str, Callable[[Path], Rows]] = {
        "offer": lambda place: measure_offer(place, size_bytes // 8),
        "beside": lambda place: measure_beside(place, size_bytes),
        "pace": lambda place: measure_pace(place, size_bytes),
        "rest": lambda place: rows_of(
            measure_rest(place, daemons=chosen.daemons, watches=chosen.watches, rest_s=chosen.rest)
        ),
    }
    is_reached = True
    for name in chosen.rows:
        with tempfile.TemporaryDirectory(dir=choose_disk(6 * size_bytes)) as place:
            for what, value, is_fine in measures[name](Path(place)):
                print(f"{'ok ' if is_fine else 'NOT'}  {what:48} {value}", flush=True)
                is_reached &= is_fine
    return 0 if is_reached else 1


if __name__ == "__main__":
    sys.exit(main())
