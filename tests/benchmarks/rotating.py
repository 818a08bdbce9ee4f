"""Publish, recover, rotate with three kept: whether anything piles up on the nodes.

    python -m tests.benchmarks.rotating --rounds 1000

A job on one node saves and publishes, another node recovers, and both let go of what is older than
the last three: the first with ``remove``, the second as jobs do, with ``rm -rf``; its daemon has to
notice.
Each node is looked at after 10 rounds and in the end. What is kept by design of the last 100
recoveries is complete after 100 rounds; so it is looked at then, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.life_cycle import RemoveRequest
from ckptd.limits import KIB, MIB
from ckptd.model.quantities import format_size
from ckptd.model.words import Result
from ckptd.store.records.journal import ENDED_MAX
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint

KEPT = 3
SETTLED_ROUNDS = 10
FILES = [PlannedFile("config.json", 700), PlannedFile("weights.bin", 3 * MIB)]
_TABLES = ("versions", "places", "signatures", "newest", "recoveries", "verified", "ended")
_DATABASE_GROWTH_BYTES = 64 * KIB
_LOOKS, _LOOK_S = 10, 0.1
_THREADS_GROWTH = 6
"""Pools grow to their size, as it happens that all of their threads are busy."""
_DESCRIPTORS_GROWTH = 2
"""Connections between the two come and go."""
_MEMORY_GROWTH_BYTES = 32 * MIB
"""Threads that hash have buffers of 8 to 16 MiB, which the allocator keeps or gives back."""


class Look(NamedTuple):
    """What a node has.

    Attributes:
        rounds: After how many.
        rows: Rows of each table of its database.
        versions: Versions in its catalog.
        database_bytes: Length of the database, what is still in its log taken in.
        log_bytes: Length of its write-ahead log.
        memory_bytes: Memory that is its own: without pages of files.
        descriptors: How many are open.
        threads: How many there are.
        names: Names below its root, also of what is staged.
    """

    rounds: int
    rows: dict[str, int]
    versions: int
    database_bytes: int
    log_bytes: int
    memory_bytes: int
    descriptors: int
    threads: int
    names: int

    def line(self, node: str) -> str:
        """Return it as a line of a table."""
        rows = ", ".join(f"{table} {count}" for table, count in self.rows.items())
        return (
            f"{self.rounds:>5}  {node}  {self.versions} versions, {self.names} names,"
            f" database {format_size(self.database_bytes)} + {format_size(self.log_bytes)},"
            f" memory {format_size(self.memory_bytes)}, {self.descriptors} descriptors,"
            f" {self.threads} threads; {rows}"
        )


def look_at(node: Node, rounds: int) -> Look:
    """Look at a node that has nothing to do."""
    database = Path(node.state_dir, "ckptd.db")
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        (page_count,) = connection.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in _TABLES
            if table in known
        }
    return Look(
        rounds,
        rows,
        versions_of(node),
        page_count * page_bytes,
        Path(f"{database}-wal").stat().st_size,
        _status(node.pid, "RssAnon") * KIB,
        min(_descriptors(node.pid) for _ in range(_LOOKS)),
        _status(node.pid, "Threads"),
        sum(len(directories) + len(files) for _, directories, files in os.walk(node.root)),
    )


def versions_of(node: Node) -> int:
    """Count the versions in the catalog of a node."""
    return sum(bool(row.places) for row in node.client.checkpoints())


def has_rotated(node: Node) -> bool:
    """Return whether a node has noticed what is gone."""
    return versions_of(node) <= KEPT


def _descriptors(pid: int) -> int:
    """Count them, a moment after the last time: a question may be under way."""
    threading.Event().wait(_LOOK_S)
    return len(os.listdir(f"/proc/{pid}/fd"))


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(f"the kernel does not say {field}")


class Rotation:
    """A node on which a job saves, and one that recovers what it saves."""

    def __init__(self, source: Node, receiver: Node) -> None:
        self.nodes = (source, receiver)
        self._source = source
        self._receiver = receiver
        self.rounds = 0

    def play(self) -> None:
        """Publish a version, recover it, and let go of the oldest on both nodes."""
        self.rounds += 1
        step = self.rounds
        directory = self._source.path(f"step-{step}")
        make_checkpoint(directory, seed=step, files=FILES)
        self._source.publish(directory, version=step, deferred=())
        result = self._receiver.recover(version=step)
        assert result.result is Result.COMPLETE, result
        oldest = step - KEPT
        if oldest < 1:
            return
        *_, _ = self._source.client.remove(RemoveRequest(checkpoint=NAME, version=oldest))
        assert not self._source.path(f"step-{oldest}").exists()
        shutil.rmtree(self._receiver.path(NAME, str(oldest)))

    def look(self) -> list[Look]:
        """Look at both nodes, when they have noticed what is gone."""
        for node in self.nodes:
            eventually(partial(has_rotated, node), f"{node.node} has three versions")
        return [look_at(node, self.rounds) for node in self.nodes]


@contextlib.contextmanager
def rotation(directory: Path) -> Iterator[Rotation]:
    """Start the two nodes; stop them in the end."""
    with Cluster(directory) as cluster:
        source = cluster.node("a")
        yield Rotation(source, cluster.node("r", peers=[source.address]))


def grown(settled: Look, last: Look) -> list[str]:
    """Return what is more in the end than it was, beyond what is kept by design."""
    found = []
    for table, count in last.rows.items():
        allowed = ENDED_MAX if table == "ended" else settled.rows[table]
        if count > allowed:
            found.append(f"rows of {table}: {settled.rows[table]} → {count}")
    for what, allowance in (
        ("versions", 0),
        ("names", 0),
        ("descriptors", _DESCRIPTORS_GROWTH),
        ("threads", _THREADS_GROWTH),
    ):
        before, after = getattr(settled, what), getattr(last, what)
        if after > before + allowance:
            found.append(f"{what}: {before} → {after}")
    records_bytes = (last.rows["ended"] - settled.rows["ended"]) * 4 * KIB
    allowed_bytes = settled.database_bytes + records_bytes + _DATABASE_GROWTH_BYTES
    if last.database_bytes > allowed_bytes:
        found.append(f"database: {settled.database_bytes} → {last.database_bytes} bytes")
    if last.memory_bytes > settled.memory_bytes + _MEMORY_GROWTH_BYTES:
        found.append(f"memory: {settled.memory_bytes} → {last.memory_bytes} bytes")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="default: %(default)s")
    options = parser.parse_args()
    shown = {SETTLED_ROUNDS, ENDED_MAX, options.rounds, *range(0, options.rounds, 100)}
    settled: list[Look] = []
    looks: list[Look] = []
    with tempfile.TemporaryDirectory() as directory, rotation(Path(directory)) as played:
        begun_s = time.monotonic()
        while played.rounds < options.rounds:
            played.play()
            if played.rounds in shown:
                looks = played.look()
                for node, look in zip(played.nodes, looks, strict=True):
                    print(look.line(node.node), flush=True)
                if played.rounds == SETTLED_ROUNDS:
                    settled = looks
        took_s = time.monotonic() - begun_s
        print(f"{options.rounds} rounds in {took_s:.0f} s")
        problems = [
            f"{node.node}: {problem}"
            for node, before, after in zip(played.nodes, settled, looks, strict=True)
            for problem in grown(before, after)
        ]
    sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
