"""What it costs to keep what is on offer true, and how soon a change is known.

    python -m tests.benchmarks.keeping --files 10000 --size 10GiB

A node has a version on offer and nothing changes: what its daemon uses is compared with one that
has nothing on offer. Then files are removed, one after another, and a peer is asked until it knows.
Last, hashing again is compared with publishing, in turns: what takes part is in memory.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.limits import KIB, MIB
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.quantities import format_rate, format_size, parse_size
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Reading, hash_again
from ckptd.store.published.publishing import scan_and_hash
from ckptd.store.published.scanning import PublishOrder
from tests.benchmarks.memory import available_bytes
from tests.benchmarks.places import choose_disk, choose_place
from tests.benchmarks.processes import cpu_s, peak_bytes, reset_peak
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint

CPU_SHARE_MAX = 0.002
MEMORY_BYTES_MAX = 40 * MIB
HASHING_RATIO_MIN = 0.9
IDLE_S = 125.0
"""Two looks at everything at the usual interval, a minute each, and a bit."""
REMOVALS = 5
TURNS = 5
WORKERS = 2
LAYOUTS = (
    ("2 files of 512 MiB", 2, 512 * MIB),
    ("1,000 files of 1 MiB", 1000, MIB),
    ("20,000 files of 16 KiB", 20_000, 16 * KIB),
)


def files_of(count: int, size_bytes: int) -> list[PlannedFile]:
    """Plan a version of so many files of one size, a hundred to a directory."""
    return [
        PlannedFile(f"{number // 100:04}/{number:06}.bin", size_bytes) for number in range(count)
    ]


def measure_idle(node: Node) -> tuple[float, int]:
    """Return the share of a core and the memory of a daemon that was started again."""
    node.restart()
    time.sleep(5.0)
    reset_peak(node.pid)
    began_s, used_s = time.monotonic(), cpu_s(node.pid)
    time.sleep(IDLE_S)
    share = (cpu_s(node.pid) - used_s) / (time.monotonic() - began_s)
    return share, peak_bytes(node.pid)


def measure_watching(source: Node, directory: Path) -> list[tuple[str, str, bool]]:
    """Compare a daemon with and without something on offer, nothing changing."""
    empty_share, empty_bytes = measure_idle(source)
    source.publish(directory, critical=(), deferred=())
    share, size_bytes = measure_idle(source)
    more, more_bytes = share - empty_share, size_bytes - empty_bytes
    detail = f"{share:.3%} with it, {empty_share:.3%} without"
    memory = f"{format_size(size_bytes)} with it, {format_size(empty_bytes)} without"
    return [
        ("watching: of a core", f"{more:.3%} ({detail})", more <= CPU_SHARE_MAX),
        (
            "watching: memory",
            f"{format_size(max(more_bytes, 0))} ({memory})",
            more_bytes <= MEMORY_BYTES_MAX,
        ),
    ]


def measure_noticing(peer: Node, directory: Path) -> list[tuple[str, str, bool]]:
    """Remove files until the peer knows of each."""

    def blocks_elsewhere() -> int:
        held = [row for row in peer.client.checkpoints() if row.checkpoint == NAME]
        return sum(row.is_complete for row in held)

    times_s = []
    paths = sorted(path for path in directory.rglob("*") if path.is_file())[:REMOVALS]
    for path in paths:
        saved = path.read_bytes()
        eventually(lambda: blocks_elsewhere() == 1, "the peer sees all of it")
        path.unlink()
        began_s = time.monotonic()
        eventually(lambda: blocks_elsewhere() == 0, "the peer knows")
        times_s.append(time.monotonic() - began_s)
        path.write_bytes(saved)
    worst_s = max(times_s)
    detail = ", ".join(f"{each:.2f}" for each in times_s)
    return [("a removed file is known to a peer", f"{worst_s:.2f} s ({detail})", worst_s <= 5.0)]


def measure_hashing(place: Path) -> list[tuple[str, str, bool]]:
    """Compare hashing again, while somebody waits, with publishing."""
    rows = []
    for name, count, size_bytes in LAYOUTS:
        if available_bytes() < 2 * count * size_bytes:
            continue
        directory = place / "again"
        make_checkpoint(directory, files=files_of(count, size_bytes))
        root = Root.open("data", str(place))
        order = PublishOrder(str(directory), CheckpointName(NAME), Version(1))

        def publish(root: Root = root, order: PublishOrder = order) -> object:
            return scan_and_hash(
                root,
                "again",
                order,
                workers=WORKERS,
                on_progress=lambda _: None,
                is_cancelled=lambda: False,
            )

        hashed = scan_and_hash(
            root,
            "again",
            order,
            workers=WORKERS,
            on_progress=lambda _: None,
            is_cancelled=lambda: False,
        )
        reading = Reading(workers=WORKERS)
        units = range(len(hashed.files))
        published_s = again_s = float("inf")
        for _ in range(TURNS):
            published_s = min(published_s, _timed(publish))
            again_s = min(again_s, _timed(lambda: hash_again(root, hashed, units, reading)))  # noqa: B023 (called at once)
        total = count * size_bytes
        ratio = published_s / again_s
        detail = f"{format_rate(total / again_s)}, publishing {format_rate(total / published_s)}"
        rows.append(
            (f"hashing again, {name}", f"{ratio:.2f} ({detail})", ratio >= HASHING_RATIO_MIN)
        )
        root.close()
        shutil.rmtree(directory)
    return rows


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def main() -> int:
    """Measure, print a table, and say whether everything is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", default="10GiB")
    told = parser.parse_args()
    size_bytes = parse_size(told.size)
    rows: list[tuple[str, str, bool]] = []
    disk = choose_disk(2 * size_bytes)
    with tempfile.TemporaryDirectory(dir=disk) as place, Cluster(Path(place)) as cluster:
        source = cluster.node("a", sections='[scrub]\nevery = ""\n')
        directory = make_checkpoint(
            source.path("100"), files=files_of(told.files, size_bytes // told.files)
        )
        rows += measure_watching(source, directory)
        peer = cluster.node("r", peers=[source.address])
        rows += measure_noticing(peer, directory)
    with tempfile.TemporaryDirectory(dir=choose_place(3 * 1024 * MIB)) as memory:
        rows += measure_hashing(Path(memory))
    for name, value, is_reached in rows:
        print(f"{'ok ' if is_reached else 'NOT'}  {name:40} {value}")
    return 0 if all(is_reached for _, _, is_reached in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
