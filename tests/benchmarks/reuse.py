"""``make bench ROWS=reuse``: what lies on the node already is not fetched.

    python -m tests.benchmarks.reuse --size 1GiB --rounds 3 delta copy

A node has the old version on its disk, a peer has the new one, of which 0.4 % is other bytes.
Files of the node that recovers are on the disk for temporary files, those of peers in memory.
ckptd and ``cp`` with hashing take turns. Rows that need root, or a program that is not there, are
left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from ckptd.cli.demo.demo_checkpoint import PlannedFile, compare
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.limits import MIB
from tests.benchmarks.__main__ import Line, Told
from tests.benchmarks.disks import can_throttle, disk_of, drop_from_cache, on_loop, read_throttled
from tests.benchmarks.groups import finish, left_out, line_of, measure, parse
from tests.benchmarks.memory import kept_warm, touch_memory
from tests.benchmarks.places import choose_disk, choose_place
from tests.benchmarks.rows import GB
from tests.benchmarks.shaping import INSECURE, knows
from tests.support.cluster import Cluster, Node, make_checkpoint
from tests.support.namespaces import Switch

NAME = "bench/reuse"
OLD, NEW = 1, 2
SHARE_CHANGED = 0.004
STRETCHES = 8
"""Where something changed: each is so long that its blocks are hardly longer."""

LINK_MBIT = 1000
DISK_BYTES_PER_S, PEER_BYTES_PER_S = 50_000_000, 100_000_000
PEERS = 2
WARM_TIMES = 3
KEPT, DROPPED = "64GiB", "0B"
"""How much of a version stays in memory after its recovery: all of it, or nothing."""


class Ground(NamedTuple):
    """Where a case happens.

    Attributes:
        disk: A directory on the disk, of this case alone.
        memory: One in memory.
        size_bytes: Of a version.
        rounds: How many turns.
    """

    disk: Path
    memory: Path
    size_bytes: int
    rounds: int


class Turn(NamedTuple):
    """A recovery that was complete and right."""

    seconds: float
    result: RecoveryResult

    @property
    def travelled(self) -> float:
        """The share of bytes that came from peers."""
        return self.result.bytes_received / self.result.bytes_total

    @property
    def reused_bytes_per_s(self) -> float:
        return self.result.bytes_reused / self.seconds


def change(old: Path, new: Path) -> None:
    """Copy a version and change some stretches of it."""
    shutil.copytree(old, new)
    path = new / "shard"
    size_bytes = path.stat().st_size
    length = int(size_bytes * SHARE_CHANGED / STRETCHES)
    with path.open("r+b") as file:
        for number in range(STRETCHES):
            file.seek(size_bytes * (2 * number + 1) // (2 * STRETCHES))
            file.write(os.urandom(length))


class Stage:
    """Daemons of one case: those that have the new version, and one with the old one.

    Args:
        ground: Where.
        cluster: What they belong to.
    """

    def __init__(self, ground: Ground, cluster: Cluster) -> None:
        self.ground = ground
        self.cluster = cluster
        published = ground.memory / "published"
        published.mkdir()
        self.old = make_checkpoint(
            published / "old", files=[PlannedFile("shard", ground.size_bytes)]
        )
        self.new = published / "new"
        change(self.old, self.new)

    def start(self, node: Node, switch: Switch | None, rate_mbit: int | None = None) -> Node:
        """Start a node, on a host of its own where there is a switch."""
        if switch is not None:
            host = switch.add(node.node, rate_mbit=rate_mbit)
            node.host, node.prefix = host.address, host.enter
        node.start()
        node.wait_ready()
        return node

    def source(
        self,
        name: str,
        switch: Switch | None = None,
        *,
        rate_mbit: int | None = None,
        limit: str = "",
    ) -> Node:
        """Start one that has the new version."""
        sections = (INSECURE if switch else "") + limit
        node = self.cluster.prepare(name, root=self.new.parent, metrics="", sections=sections)
        self.start(node, switch, rate_mbit)
        node.publish(self.new, NAME, NEW, critical=(), deferred=())
        return node

    def receiver(
        self,
        name: str,
        sources: Sequence[Node],
        switch: Switch | None = None,
        *,
        has_old: bool = True,
        root: Path | None = None,
        keeps_warm: str = "auto",
    ) -> Node:
        """Start one that has the old version on its disk, or nothing."""
        root = root or self.ground.disk / f"{name}-root"
        root.mkdir(exist_ok=True)
        node = self.cluster.prepare(
            name,
            peers=[source.address for source in sources],
            root=root,
            metrics="",
            sections=INSECURE if switch else "",
            environment={"CKPTD_RECOVERY__KEEP_WARM": keeps_warm},
        )
        self.start(node, switch)
        if has_old:
            shutil.copytree(self.old, node.path("old"))
            os.sync()
            node.publish(node.path("old"), NAME, OLD, critical=(), deferred=())
        if sources:
            knows(node, NAME, len(sources))
        return node

    def turn(self, node: Node, version: int, number: int) -> Turn:
        """Recover, compare with what was published, and remove what was recovered."""
        target = node.path(f"turn-{number}")
        begun_s = time.perf_counter()
        result = finish(node, node.begin(NAME, version, to=target))
        seconds = time.perf_counter() - begun_s
        seen = compare(str(self.old if version == OLD else self.new), str(target))
        assert not seen.differences, seen.differences[:3]
        shutil.rmtree(target)
        return Turn(seconds, result)


def copy_and_hash(source: Path, target: Path, threads: int, *, is_synced: bool = False) -> float:
    """Copy a version without sharing extents and hash the copy; return how long it took."""
    begun_s = time.perf_counter()
    subprocess.run(("cp", "-r", "--reflink=never", source, target), check=True)
    if is_synced:
        subprocess.run(("sync", target / "shard"), check=True)
    hash_of(target / "shard", threads)
    seconds = time.perf_counter() - begun_s
    shutil.rmtree(target)
    return seconds


def hash_of(path: Path, threads: int) -> float:
    """Hash a file with BLAKE3; return how long it took."""
    begun_s = time.perf_counter()
    blake3(max_threads=threads).update_mmap(path).digest()
    return time.perf_counter() - begun_s


WAYS: dict[str, Callable[[Path, Path], float]] = {
    "hashed by one thread": lambda old, to: copy_and_hash(old, to, 1),
    "hashed by all cores": lambda old, to: copy_and_hash(old, to, blake3.AUTO),
    "synced, hashed by one thread": lambda old, to: copy_and_hash(old, to, 1, is_synced=True),
    "synced, hashed by all cores": lambda old, to: copy_and_hash(
        old, to, blake3.AUTO, is_synced=True
    ),
}
"""How else a version comes to be twice on a disk: with ``cp`` and ``b3sum --num-threads``."""


def in_turns(
    ground: Ground, recover: Callable[[int], Turn], old: Path
) -> tuple[list[Turn], dict[str, list[float]]]:
    """Let ckptd and every way take turns."""
    turns: list[Turn] = []
    others: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(ground.rounds):
        touch_memory(ground.memory, ground.size_bytes)
        turns.append(recover(number))
        for name, way in WAYS.items():
            os.sync()
            touch_memory(ground.memory, ground.size_bytes)
            others[name].append(way(old, old.with_name("copied")))
        os.sync()
    return turns, others


def delta(ground: Ground, cluster: Cluster) -> list[Line]:
    """0.4 % of a version changed, the old one here: what travels, how fast the rest comes."""
    stage = Stage(ground, cluster)
    receiver = stage.receiver("r", [stage.source("s")])
    turns, others = in_turns(
        ground, lambda number: stage.turn(receiver, NEW, number), receiver.path("old")
    )
    lines = [line_of("delta", "share of bytes that travel", [t.travelled for t in turns], 0.012)]
    for name, seconds in others.items():
        theirs = [ground.size_bytes / each for each in seconds]
        ratios = [
            mine.reused_bytes_per_s / other for mine, other in zip(turns, theirs, strict=True)
        ]
        mine = statistics.median(turn.reused_bytes_per_s for turn in turns)
        lines.append(
            line_of(
                "delta",
                f"rate of what is reused, times cp, {name}",
                ratios,
                0.9 if "synced" not in name else None,
                f"{mine / GB:.2f} against {statistics.median(theirs) / GB:.2f} GB/s",
                is_least=True,
            )
        )
    return lines


def copy(ground: Ground, cluster: Cluster) -> list[Line]:
    """A second copy on the same node."""
    stage = Stage(ground, cluster)
    receiver = stage.receiver("r", [])
    turns, others = in_turns(
        ground, lambda number: stage.turn(receiver, OLD, number), receiver.path("old")
    )
    lines = [line_of("copy", "share of bytes that travel", [t.travelled for t in turns], 0)]
    for name, seconds in others.items():
        ratios = [mine.seconds / other for mine, other in zip(turns, seconds, strict=True)]
        mine = statistics.median(turn.seconds for turn in turns)
        lines.append(
            line_of(
                "copy",
                f"time, times cp, {name}",
                ratios,
                1.2 if "synced" not in name else None,
                f"{mine:.2f} s against {statistics.median(seconds):.2f} s",
            )
        )
    return lines


def link(ground: Ground, cluster: Cluster) -> list[Line]:
    """The same from a source at 1 Gbit/s, and all of it by a node that has nothing."""
    if os.geteuid() != 0:
        return [left_out("link", "network namespaces need root")]
    stage = Stage(ground, cluster)
    with Switch() as switch:
        source = stage.source("s", switch, rate_mbit=LINK_MBIT)
        having = stage.receiver("r", [source], switch)
        fresh = stage.receiver("f", [source], switch, has_old=False)
        some, everything = [], []
        for number in range(ground.rounds):
            some.append(stage.turn(having, NEW, number))
            everything.append(stage.turn(fresh, NEW, number))
        for node in cluster.nodes:
            node.stop()
    return [
        line_of("link", "share of bytes that travel", [t.travelled for t in some], 0.012),
        line_of(
            "link",
            "times as fast as all of it at 1 Gbit/s",
            [full.seconds / part.seconds for part, full in zip(some, everything, strict=True)],
            5,
            f"{_median_s(some):.2f} s against {_median_s(everything):.2f} s",
            is_least=True,
        ),
    ]


def shared(ground: Ground, cluster: Cluster) -> list[Line]:
    """A second copy where the file system shares extents."""
    if os.geteuid() != 0:
        return [left_out("shared", "loop devices need root")]
    lines = []
    stage = Stage(ground, cluster)
    for kind in ("xfs", "btrfs"):
        if shutil.which(f"mkfs.{kind}") is None:
            lines.append(left_out("shared", f"mkfs.{kind} is not installed"))
            continue
        with on_loop(kind, ground.disk, 4 * ground.size_bytes + 512 * MIB) as mounted:
            receiver = stage.receiver(f"r-{kind}", [], root=mounted)
            turns, hashes = [], []
            for number in range(ground.rounds):
                turns.append(stage.turn(receiver, OLD, number))
                hashes.append(hash_of(receiver.path("old/shard"), 1))
            receiver.stop()
            lines.append(
                line_of(
                    "shared",
                    f"{kind}: s longer than one hash of the bytes by one thread",
                    [mine.seconds - one for mine, one in zip(turns, hashes, strict=True)],
                    0.3,
                    f"{_median_s(turns):.2f} s against {statistics.median(hashes):.2f} s",
                )
            )
    return lines


def slow_disk(ground: Ground, cluster: Cluster) -> list[Line]:
    """A disk that reads 50 MB/s beside two peers that send 100 MB/s each."""
    if not can_throttle():
        return [left_out("slow-disk", "limits on reading need root and control groups")]
    stage = Stage(ground, cluster)
    limit = f'[limits]\negress = "{PEER_BYTES_PER_S // 1_000_000}MB/s"\n'
    sources = [stage.source(f"s{number}", limit=limit) for number in range(PEERS)]
    receiver = stage.receiver("r", sources)
    turns = []
    ideal_s = ground.size_bytes / (DISK_BYTES_PER_S + PEERS * PEER_BYTES_PER_S)
    with read_throttled(receiver.pid, disk_of(ground.disk), DISK_BYTES_PER_S):
        for number in range(ground.rounds):
            drop_from_cache(receiver.path("old"))
            turns.append(stage.turn(receiver, NEW, number))
    reused = statistics.median(t.result.bytes_reused / t.result.bytes_total for t in turns)
    return [
        line_of(
            "slow-disk",
            "time, to the ideal of disk and peers together",
            [turn.seconds / ideal_s for turn in turns],
            1.1,
            f"{_median_s(turns):.2f} s against {ideal_s:.2f} s, {reused:.0%} reused",
        )
    ]


def warm(ground: Ground, cluster: Cluster) -> list[Line]:
    """A version is read again after its recovery: what was kept in memory against what was not."""
    stage = Stage(ground, cluster)
    sources = [stage.source("s")]
    seconds: dict[str, list[float]] = {KEPT: [], DROPPED: []}
    nodes = {
        name: stage.receiver(f"r{number}", sources, has_old=False, keeps_warm=name)
        for number, name in enumerate(seconds)
    }
    for number in range(ground.rounds):
        for name, node in nodes.items():
            target = node.path(f"turn-{number}")
            result = finish(node, node.begin(NAME, NEW, to=target))
            assert result.bytes_kept_warm == (result.bytes_total if name == KEPT else 0)
            seconds[name].append(read_through(target / "shard"))
            shutil.rmtree(target)
            os.sync()
    ratios = [cold / mine for mine, cold in zip(seconds[KEPT], seconds[DROPPED], strict=True)]
    medians = [statistics.median(each) for each in seconds.values()]
    detail = f"{medians[0]:.3f} s against {medians[1]:.3f} s"
    return [
        line_of(
            "warm", "reading again, times faster than dropped", ratios, None, detail, is_least=True
        )
    ]


def read_through(path: Path) -> float:
    """Read a file from its beginning to its end; return how long it took."""
    buffer, begun_s = bytearray(MIB), time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - begun_s


CASES: dict[str, Callable[[Ground, Cluster], list[Line]]] = {
    "delta": delta,
    "copy": copy,
    "link": link,
    "shared": shared,
    "slow-disk": slow_disk,
    "warm": warm,
}


def _median_s(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.seconds for turn in turns)


@contextlib.contextmanager
def prepared(told: Told) -> Iterator[Ground]:
    """Make the directories of a case, and remove them."""
    disk = choose_disk(4 * told.size_bytes)
    memory = choose_place(3 * told.size_bytes)
    with (
        tempfile.TemporaryDirectory("-reuse", dir=disk) as on_disk,
        tempfile.TemporaryDirectory("-reuse", dir=memory) as in_memory,
    ):
        yield Ground(Path(on_disk), Path(in_memory), told.size_bytes, told.rounds)


def _play(name: str, told: Told) -> list[Line]:
    with (
        prepared(told) as ground,
        contextlib.redirect_stdout(sys.stderr),
        Cluster(ground.disk) as cluster,
    ):
        return CASES[name](ground, cluster)


def main() -> int:
    """Measure, print one table, write one JSON file."""
    told, names = parse(__doc__, CASES)
    with kept_warm(WARM_TIMES * told.size_bytes):
        measure("reuse", told, names, CASES, lambda name: _play(name, told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
