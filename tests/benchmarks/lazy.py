"""``make bench ROWS=lazy``: ranges of a unit that is away are read as they come.

    python -m tests.benchmarks.lazy --size 1GiB --rounds 3 random

One source on a host of its own at 1 Gbit/s, one unit, a recovery on demand on another host. What is
read is compared with what was published. Rounds of one case are turns of its rows. It needs root,
for network namespaces.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.control.range_reader import RangeReader
from ckptd.errors import NotFound
from ckptd.limits import KIB, MIB
from ckptd.model.manifest import block_size_for
from ckptd.model.quantities import format_size
from tests.benchmarks.__main__ import Line, Told
from tests.benchmarks.groups import finish, left_out, line_of, measure_on_hosts
from tests.benchmarks.shaping import INSECURE, knows
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint
from tests.support.namespaces import Host, Switch

NAME, VERSION, UNIT = "bench/lazy", 1, "shard"
LINK_MBIT = 1000
LINK_BYTES_PER_S = LINK_MBIT * 125_000
DELAY_MS = 10
"""Of a round trip to a source that is not near."""
READS, READ_BYTES = 40, 4 * KIB
PIECE_BYTES = 1 * MIB
LAYER_SHARE = 0.1
COPIES = 3


class Ground(NamedTuple):
    """Where a case happens.

    Attributes:
        memory: A directory in memory.
        size_bytes: Of the unit.
        rounds: How many turns.
    """

    memory: Path
    size_bytes: int
    rounds: int


class Stage:
    """A source that has one unit, and nodes that do not.

    Args:
        ground: Where.
        cluster: What they belong to.
        switch: Connects them.
    """

    def __init__(self, ground: Ground, cluster: Cluster, switch: Switch) -> None:
        self.ground = ground
        self._cluster = cluster
        self._switch = switch
        published = ground.memory / "published"
        published.mkdir()
        self.content = (
            make_checkpoint(published / "v", files=[PlannedFile(UNIT, ground.size_bytes)]) / UNIT
        )
        self.source = self._start("s", published, rate_mbit=LINK_MBIT)
        self.source.publish(published / "v", NAME, VERSION, critical=(), deferred=())

    def receiver(self, name: str) -> Node:
        """Start a node that knows the source."""
        root = self.ground.memory / f"{name}-root"
        root.mkdir()
        node = self._start(name, root, peers=[self.source.address])
        knows(node, NAME)
        return node

    def _start(
        self, name: str, root: Path, *, peers: Sequence[str] = (), rate_mbit: int | None = None
    ) -> Node:
        node = self._cluster.prepare(name, peers=peers, root=root, metrics="", sections=INSECURE)
        host: Host = self._switch.add(name, rate_mbit=rate_mbit)
        node.host, node.prefix = host.address, host.enter
        node.start()
        node.wait_ready()
        return node

    @contextlib.contextmanager
    def on_demand(self, node: Node) -> Iterator[RangeReader]:
        """Begin a recovery on demand; yield a reader of its unit, and give it up at the end."""
        request = RecoverRequest(checkpoint=NAME, version=VERSION, is_on_demand=True)
        recovery = node.client.recover(request).recovery
        reader = node.client.open_range(f"{NAME}:{UNIT}")
        assert reader.size_bytes == self.ground.size_bytes
        yield reader
        _give_up(node, recovery)

    def compare(self, offset: int, data: bytes) -> None:
        """Check that bytes are those that were published."""
        with self.content.open("rb") as file:
            file.seek(offset)
            assert file.read(len(data)) == data, f"wrong bytes at {offset}"


def put_away(node: Node, delay_ms: int) -> bool:
    """Let what a node says take a whole round trip; return whether this kernel can do that."""
    command = ("tc", "-n", node.prefix[-1], "qdisc", "add", "dev", "eth0", "root", "netem")
    done = subprocess.run((*command, "delay", f"{delay_ms}ms", "limit", "20000"), check=False)
    return done.returncode == 0


_CONNECT = """
import socket, sys, time
best = 9.0
for _ in range(20):
    begun = time.perf_counter()
    socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    best = min(best, time.perf_counter() - begun)
print(best)
"""


def round_trip_s(node: Node, other: Node) -> float:
    """Return how long a message to another host and back takes: the fastest of some handshakes."""
    command = (*node.prefix, sys.executable, "-c", _CONNECT, other.host, str(other.data_port))
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def random_reads(stage: Stage) -> list[Line]:
    """4 KiB anywhere in the unit: how long until it is read, to two round trips and a block."""
    size_bytes, lines = stage.ground.size_bytes, []
    block_bytes, rng = block_size_for(size_bytes), Random(7)
    for name, delay_ms in (("near", 0), (f"{DELAY_MS} ms away", DELAY_MS)):
        node = stage.receiver(f"r{delay_ms}")
        if delay_ms and not put_away(node, delay_ms):
            lines.append(left_out("random", "this kernel has no netem", name))
            continue
        bound_s = 2 * round_trip_s(node, stage.source) + block_bytes / LINK_BYTES_PER_S
        medians, slowest = [], []
        for _ in range(stage.ground.rounds):
            taken_s = []
            with stage.on_demand(node) as reader:
                for _ in range(READS):
                    offset = rng.randrange(size_bytes - READ_BYTES)
                    begun_s = time.perf_counter()
                    data = reader.read(offset, READ_BYTES)
                    taken_s.append(time.perf_counter() - begun_s)
                    stage.compare(offset, data)
            medians.append(statistics.median(taken_s) / bound_s)
            slowest.append(max(taken_s) / bound_s)
        detail = f"bound {1000 * bound_s:.1f} ms, a block of {format_size(block_bytes)}"
        lines += [
            line_of("random", f"{name}: median, to two round trips + a block", medians, 1, detail),
            line_of("random", f"{name}: slowest of {READS}", slowest, None),
        ]
        node.stop()
    return lines


def sequential(stage: Stage) -> list[Line]:
    """The unit from its beginning to its end: in one go, in reads of 1 MiB, as a recovery."""
    node, size_bytes = stage.receiver("r"), stage.ground.size_bytes
    rates: dict[str, list[float]] = {"in one go": [], "in reads of 1 MiB": [], "recover": []}
    for _ in range(stage.ground.rounds):
        with stage.on_demand(node) as reader:
            begun_s, offset = time.perf_counter(), 0
            for piece in reader.pieces(0):
                offset += len(piece)
            assert offset == size_bytes
            rates["in one go"].append(size_bytes / (time.perf_counter() - begun_s))
        _remove(node)
        with stage.on_demand(node) as reader:
            begun_s = time.perf_counter()
            for offset in range(0, size_bytes, PIECE_BYTES):
                stage.compare(offset, reader.read(offset, min(PIECE_BYTES, size_bytes - offset)))
            rates["in reads of 1 MiB"].append(size_bytes / (time.perf_counter() - begun_s))
        _remove(node)
        begun_s = time.perf_counter()
        finish(node, node.begin(NAME, VERSION))
        rates["recover"].append(size_bytes / (time.perf_counter() - begun_s))
        _remove(node)
    return [
        line_of(
            "sequential",
            f"rate, {name}, to 1 Gbit/s",
            [each / LINK_BYTES_PER_S for each in found],
            None if name == "recover" else 0.9,
            f"{statistics.median(found) / 1e6:.1f} MB/s",
            is_least=True,
        )
        for name, found in rates.items()
    ]


def layer(stage: Stage) -> list[Line]:
    """The first tenth of the unit, from the request on: how much longer than it must take."""
    node = stage.receiver("r")
    length = int(stage.ground.size_bytes * LAYER_SHARE)
    least_s = 1.1 * length / LINK_BYTES_PER_S
    over: dict[str, list[float]] = {"on demand": [], "of a recovery of all": []}
    for _ in range(stage.ground.rounds):
        for name, found in over.items():
            begun_s = time.perf_counter()
            request = RecoverRequest(
                checkpoint=NAME, version=VERSION, is_on_demand=name == "on demand"
            )
            recovery = node.client.recover(request).recovery
            data = node.client.open_range(f"{NAME}:{UNIT}").read(0, length)
            found.append(time.perf_counter() - begun_s - least_s)
            stage.compare(0, data)
            _give_up(node, recovery)
    return [
        line_of("layer", f"{name}: s beyond 1.1 times bytes / rate", found, 0.3, f"{least_s:.2f} s")
        for name, found in over.items()
    ]


def _give_up(node: Node, recovery: str) -> None:
    with contextlib.suppress(NotFound):  # all of it was read, so it has ended
        node.client.cancel(recovery)
    eventually(lambda: node.client.recovery(recovery).stage.is_ended, "it was given up")


def _remove(node: Node) -> None:
    """Remove what was recovered, and let the node forget it."""
    eventually(
        lambda: all(view.stage.is_ended for view in node.client.recoveries()), "all have ended"
    )
    shutil.rmtree(node.path(NAME), ignore_errors=True)


CASES: dict[str, Callable[[Stage], list[Line]]] = {
    "random": random_reads,
    "sequential": sequential,
    "layer": layer,
}


def main() -> int:
    """Measure, print one table, write one JSON file."""

    def stage(memory: Path, told: Told, cluster: Cluster, switch: Switch) -> Stage:
        return Stage(Ground(memory, told.size_bytes, told.rounds), cluster, switch)

    return measure_on_hosts("lazy", __doc__, CASES, COPIES, stage)


if __name__ == "__main__":
    sys.exit(main())
