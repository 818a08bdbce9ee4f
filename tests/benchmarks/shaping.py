"""``make bench-shaping``: what limits, classes and yielding do to real traffic. Needs root.

    python -m tests.benchmarks.shaping ROW …

Nodes are daemons in network namespaces of their own, joined by a switch; what they move is read
from the counters of its ports, without headers. Rates of links are kept by ``tbf``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.cli.render.text import table
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.limits import GIB, KIB, MIB
from ckptd.model.quantities import format_rate
from ckptd.model.words import Result
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.memory import kept_warm, touch_memory
from tests.benchmarks.places import RESULTS, choose_place
from tests.benchmarks.sway import verdict
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint
from tests.support.namespaces import PAYLOAD_SHARE, Counters, Host, Switch

MBIT = 125_000
NAME = "bench/whole"
PATIENCE_S = 120.0
MANIFEST_BYTES = 100 * KIB
"""That of a file of 4 GiB has 64 KiB; bodies come after it."""

INSECURE = "[transport]\ninsecure = true\n"


class Measure(NamedTuple):
    """One number and what it should be: at least or at most."""

    name: str
    value: float
    to_reach: float
    is_most: bool = False

    @property
    def is_reached(self) -> bool:
        return self.value <= self.to_reach if self.is_most else self.value >= self.to_reach


class Arena:
    """A switch and a cluster; both grow while a row is measured and are gone after it."""

    def __init__(self, switch: Switch, cluster: Cluster) -> None:
        self.switch = switch
        self.cluster = cluster

    def node(
        self,
        name: str,
        *,
        rate_mbit: int | None = None,
        sources: Sequence[Node] = (),
        root: Path | None = None,
        sections: str = "",
    ) -> Node:
        """Start a daemon on a host of its own and wait until it knows its sources."""
        host = self.switch.add(name, rate_mbit=rate_mbit)
        peers = [source.address for source in sources]
        node = self.cluster.prepare(
            name, peers=peers, root=root, metrics="", sections=INSECURE + sections
        )
        node.host, node.prefix = host.address, host.enter
        node.start()
        node.wait_ready()
        return node

    def sources(
        self, count: int, size_bytes: int, *, rate_mbit: int | None = None, sections: str = ""
    ) -> list[Node]:
        """Start nodes that have the same version."""
        root = self.cluster.directory / "published"
        make_checkpoint(root / "all", files=[PlannedFile("shard", size_bytes)])
        nodes = [
            self.node(f"s{number}", rate_mbit=rate_mbit, root=root, sections=sections)
            for number in range(count)
        ]
        for node in nodes:
            node.publish(root / "all", NAME, 1, critical=(), deferred=())
        return nodes

    @contextlib.contextmanager
    def watching(self) -> Iterator[Counters]:
        with self.switch.watching(self.cluster.directory) as counters:
            yield counters


def knows(node: Node, checkpoint: str, count: int = 1) -> None:
    """Wait until a node knows so many holders of a version."""
    eventually(
        lambda: any(
            row.checkpoint == checkpoint and len(row.nodes) >= count
            for row in node.client.checkpoints()
        ),
        "all sources are known",
    )


def knows_peers(node: Node, count: int) -> None:
    """Wait until a node knows so many others."""
    eventually(lambda: node.client.status().peers_reachable == count, "all peers are known")


def finish(node: Node, recovery: str) -> None:
    """Wait for the end of a recovery, which must succeed."""
    *_, last = node.client.until(time.monotonic() + PATIENCE_S).watch(recovery)
    assert isinstance(last, RecoveryResult)
    assert last.result is Result.COMPLETE, last


def shaped_link(arena: Arena) -> list[Measure]:
    """Four sources at 250 Mbit/s each: what comes, of what the links carry without headers."""
    size_bytes = 768 * MIB
    sources = arena.sources(4, size_bytes, rate_mbit=250)
    receiver = arena.node("r", sources=sources)
    knows(receiver, NAME, 4)
    with arena.watching() as counters:
        begun_s = time.monotonic()
        finish(receiver, receiver.begin(NAME, 1))
    first_s = counters.first_s("r", "received", after_s=begun_s, size_bytes=MIB)
    last_s = counters.last_s("r", "received")
    ideal = 4 * 250 * MBIT * PAYLOAD_SHARE
    middle = counters.rate("r", "received", first_s + 1, last_s - 0.5)
    return [
        Measure(
            "payload / sum, first byte to last",
            (size_bytes - MIB) / (last_s - first_s) / ideal,
            0.95,
        ),
        Measure("payload / sum, after the first second", middle / ideal, 0.95),
    ]


def worst_second(counters: Counters, host: str, way: str, rate: int) -> tuple[float, float]:
    """Return the least and the most of a limit that any second had after the first."""
    begun_s = counters.first_s(host, way, after_s=0, size_bytes=MANIFEST_BYTES)
    ended_s = counters.last_s(host, way)
    starts = [at for at in counters.moments if begun_s + 1 <= at <= ended_s - 1.02]
    shares = [counters.rate(host, way, at, at + 1) / rate for at in starts]
    return min(shares), max(shares)


def limit_measures(name: str, counters: Counters, host: str, way: str, rate: int) -> list[Measure]:
    least, most = worst_second(counters, host, way, rate)
    at = f"{name} {format_rate(rate)}"
    return [
        Measure(f"{at}: least in a second", least, 0.97),
        Measure(f"{at}: most in a second", most, 1.03, is_most=True),
    ]


RATES = (MIB, 32 * MIB, 256 * MIB, GIB)

_LARGE_BYTES = 4 * GIB
"""What comes in four seconds at the highest of them."""


def egress_limit(arena: Arena) -> list[Measure]:
    """A limit on what is sent, over four connections: any second after the first."""
    [source] = arena.sources(1, 256 * MIB)
    digest = source.client.checkpoints()[0].digest
    reader = arena.switch.add("r")
    measures = []
    for rate in RATES:
        source.client.change_limits(ChangeLimits(set={"egress.total": f"{rate // MIB}MiB/s"}))
        with arena.watching() as counters:
            read_for(reader, source, digest, 5.0)
        measures += limit_measures("egress", counters, "s0", "sent", rate)
    return measures


READER = """
import socket, sys, threading, time
host, port, digest, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
end = time.monotonic() + seconds
def read():
    with socket.create_connection((host, port)) as peer:
        request = f"GET /v1/checkpoints/{digest} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode()
        peer.sendall(request * 20)
        memory = bytearray(1 << 20)
        while time.monotonic() < end and peer.recv_into(memory):
            pass
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def read_for(host: Host, source: Node, digest: str, seconds: float) -> None:
    """Read a version over and over on four connections, and forget it."""
    arguments = (source.host, str(source.data_port), digest, str(seconds))
    subprocess.run([*host.enter, sys.executable, "-c", READER, *arguments], check=True)


def ingress_limit(arena: Arena) -> list[Measure]:
    """A limit on what is received, from two sources: any second after the first."""
    root = arena.cluster.directory / "published"
    sizes = {"bench/small": 512 * MIB, "bench/large": _LARGE_BYTES}
    for name, size_bytes in sizes.items():
        (root / name).mkdir(parents=True)
        with open(root / name / "shard", "wb") as file:
            os.truncate(file.fileno(), size_bytes)  # takes no memory
    sources = [arena.node(f"s{number}", root=root) for number in range(2)]
    receiver = arena.node("r", sources=sources)
    for name in sizes:
        for source in sources:
            source.publish(root / name, name, 1, critical=(), deferred=())
        knows(receiver, name, 2)
    measures = []
    for rate in RATES:
        receiver.client.change_limits(ChangeLimits(set={"ingress.total": f"{rate // MIB}MiB/s"}))
        seconds = 4.0 if rate == GIB else 5.0
        # Blocks of the large one have 2 MiB: at 1 MiB/s the second source would begin late, and a
        # connection that begins has up to 64 KiB sent ahead.
        name = "bench/small" if rate <= 64 * MIB else "bench/large"
        touch_memory(arena.cluster.directory, int(min(rate * seconds, sizes[name])))
        with arena.watching() as counters:
            recovery = receiver.begin(name, 1)
            time.sleep(seconds)
            receiver.client.cancel(recovery)
        measures += limit_measures("ingress", counters, "r", "received", rate)
    return measures


def urgency(arena: Arena) -> list[Measure]:
    """A critical and a deferred recovery at one source with 100 Mbit/s."""
    root = arena.cluster.directory / "published"
    for name, size_bytes in (("urgent", 32 * MIB), ("later", 96 * MIB)):
        make_checkpoint(root / name, files=[PlannedFile("shard", size_bytes)])
    source = arena.node("s0", rate_mbit=100, root=root)
    source.publish(root / "urgent", "bench/urgent", 1, critical=("*",), deferred=())
    source.publish(root / "later", "bench/later", 1, critical=(), deferred=("*",))
    patient, hasty = (arena.node(name, sources=[source]) for name in ("patient", "hasty"))
    knows(patient, "bench/later")
    knows(hasty, "bench/urgent")
    with arena.watching() as counters:
        later = patient.begin("bench/later", 1)
        time.sleep(2)
        asked_s = time.monotonic()
        finish(hasty, hasty.begin("bench/urgent", 1))
        finish(patient, later)
    rate = 100 * MBIT * PAYLOAD_SHARE
    first_s = counters.first_s("hasty", "received", after_s=asked_s, size_bytes=32 * 1024)
    last_s = counters.last_s("hasty", "received")
    settled_s = first_s + 0.2
    critical = counters.rate("hasty", "received", settled_s, last_s)
    deferred = counters.rate("patient", "received", settled_s, last_s)
    soon = [
        counters.rate(name, "received", settled_s, settled_s + 0.2) for name in ("hasty", "patient")
    ]
    after = counters.rate("patient", "received", last_s + 0.2, last_s + 1.2)
    return [
        Measure("critical / link, from 0.2 s on", critical / rate, 0.95),
        Measure("critical / both, from 0.2 s to 0.4 s", soon[0] / sum(soon), 0.95),
        Measure("both / link", (critical + deferred) / rate, 0.97),
        Measure("deferred / link, 0.2 s after the critical one", after / rate, 0.95),
    ]


def leftover(arena: Arena) -> list[Measure]:
    """The same, but the critical receiver has 40 Mbit/s: what the deferred one gets of the 60."""
    root = arena.cluster.directory / "published"
    for name, size_bytes in (("urgent", 48 * MIB), ("later", 128 * MIB)):
        make_checkpoint(root / name, files=[PlannedFile("shard", size_bytes)])
    source = arena.node("s0", rate_mbit=100, root=root)
    source.publish(root / "urgent", "bench/urgent", 1, critical=("*",), deferred=())
    source.publish(root / "later", "bench/later", 1, critical=(), deferred=("*",))
    patient = arena.node("patient", sources=[source])
    hasty = arena.node("hasty", sources=[source], rate_mbit=40)
    knows(patient, "bench/later")
    knows(hasty, "bench/urgent")
    with arena.watching() as counters:
        later = patient.begin("bench/later", 1)
        time.sleep(1)
        asked_s = time.monotonic()
        finish(hasty, hasty.begin("bench/urgent", 1))
        patient.client.cancel(later)
    first_s = counters.first_s("hasty", "received", after_s=asked_s, size_bytes=32 * 1024)
    last_s = counters.last_s("hasty", "received")
    critical = counters.rate("hasty", "received", first_s + 1, last_s)
    deferred = counters.rate("patient", "received", first_s + 1, last_s)
    link = MBIT * PAYLOAD_SHARE
    return [
        Measure("critical / its link", critical / (40 * link), 0.95),
        Measure("deferred / what is left", deferred / (60 * link), 0.8),
    ]


def swarm(arena: Arena) -> list[Measure]:
    """Eight nodes recover from one, 200 Mbit/s each way: their time by that of one alone."""
    sources = arena.sources(1, 128 * MIB, rate_mbit=200)
    addresses = [f"10.77.0.{number}" for number in range(3, 11)]
    alone = arena.node("alone", rate_mbit=200, sources=sources)
    knows(alone, NAME)
    started_s = time.monotonic()
    finish(alone, alone.begin(NAME, 1))
    alone_s = time.monotonic() - started_s
    alone.kill()
    nodes = []
    for number, address in enumerate(addresses):
        others = [f"{other}:7421" for other in addresses if other != address]
        host = arena.switch.add(f"n{number}", rate_mbit=200)
        assert host.address == address
        node = arena.cluster.prepare(
            host.name, peers=[sources[0].address, *others], metrics="", sections=INSECURE
        )
        node.host, node.prefix, node.data_port = host.address, host.enter, 7421
        node.start()
        nodes.append(node)
    for node in nodes:
        node.wait_ready()
    for node in nodes:
        knows(node, NAME)
        knows_peers(node, len(addresses))
    times: list[float] = []
    started_s = time.monotonic()
    recoveries = [node.begin(NAME, 1) for node in nodes]

    def wait(node: Node, recovery: str) -> None:
        finish(node, recovery)
        times.append(time.monotonic() - started_s)

    threads = [
        threading.Thread(target=wait, args=each) for each in zip(nodes, recoveries, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == len(nodes)
    return [Measure("last of eight / one alone", max(times) / alone_s, 1.5, is_most=True)]


def yielding(arena: Arena, sections: str = 'yield_rate = "200Mbit/s"\n') -> list[Measure]:
    """Other traffic at half of a link of 200 Mbit/s, and a recovery in the background."""
    limits = f'[limits]\nyield_to = "eth0"\n{sections}'
    sources = arena.sources(1, 192 * MIB)
    receiver = arena.node("r", sources=sources, rate_mbit=200, sections=limits)
    other = arena.switch.add("other")
    knows(receiver, NAME)
    with contextlib.ExitStack() as running:
        server = subprocess.Popen(
            [*arena.switch.hosts[1].enter, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL
        )
        running.callback(server.wait)
        running.callback(server.kill)
        time.sleep(0.5)
        counters = running.enter_context(arena.watching())
        client = subprocess.Popen(
            [
                *(*other.enter, "iperf3", "-c", receiver.host, "-t", "14", "-J"),
                *("-b", "96M"),  # payload: half of the link with headers
            ],
            stdout=subprocess.PIPE,
        )
        time.sleep(3)
        begun_s = time.monotonic()
        recovery = receiver.begin(NAME, 1, is_background=True)
        time.sleep(10)
        ended_s = time.monotonic()
        receiver.client.cancel(recovery)
        client.communicate()
    alone = counters.rate("other", "sent", begun_s - 2, begun_s)
    beside = counters.rate("other", "sent", begun_s, ended_s)
    used = counters.rate("s0", "sent", begun_s + 1, ended_s)
    left = 200 * MBIT * PAYLOAD_SHARE - alone
    return [
        Measure("other traffic keeps of its rate", beside / alone, 0.97),
        Measure("ckptd uses of what is left", used / left, 0.80),
    ]


def yielding_blindly(arena: Arena) -> list[Measure]:
    """The same, but nobody knows what the link carries: the kernel says 10 Gbit/s of it."""
    return yielding(arena, "")


ROWS: dict[str, Callable[[Arena], list[Measure]]] = {
    "link": shaped_link,
    "egress": egress_limit,
    "ingress": ingress_limit,
    "urgency": urgency,
    "leftover": leftover,
    "swarm": swarm,
    "yielding": yielding,
    "blind": yielding_blindly,
}


def main() -> int:
    """Measure, print a table and write it down. A number that is missed is no failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_RAW)
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    arguments = parser.parse_args()
    for name in arguments.rows:
        if name not in ROWS:
            parser.error(f"there is no row {name}; there are {', '.join(ROWS)}")
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    place = choose_place(5 * GIB)
    rows = []
    with kept_warm(2 * _LARGE_BYTES):
        for name in arguments.rows or list(ROWS):
            seen: dict[str, list[Measure]] = {}
            for _ in range(arguments.rounds):
                for measure in play(place, ROWS[name]):
                    seen.setdefault(measure.name, []).append(measure)
            rows += [(name, measures) for measures in seen.values()]
            print(f"{name}: {ROWS[name].__doc__}")
    report(rows)
    document = {
        "machine": machine_facts(place),
        "rounds": arguments.rounds,
        "rows": [
            {
                "row": row,
                "name": measures[0].name,
                "values": [each.value for each in measures],
                "measured": statistics.median(each.value for each in measures),
                "to_reach": measures[0].to_reach,
                "at_most": measures[0].is_most,
            }
            for row, measures in rows
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = RESULTS / f"shaping-{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\n{path}")
    return 0


def play(place: str, row: Callable[[Arena], list[Measure]]) -> list[Measure]:
    """Measure one row among daemons of its own."""
    with (
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory(prefix="shaping-", dir=place) as directory,
        Switch() as switch,
        Cluster(Path(directory)) as cluster,
    ):
        return row(Arena(switch, cluster))


def report(rows: Sequence[tuple[str, list[Measure]]]) -> None:
    """Print a table."""
    cells = []
    for name, measures in rows:
        median = statistics.median(each.value for each in measures)
        middle = measures[0]._replace(value=median)
        bound = "at most" if middle.is_most else "at least"
        cells.append(
            (
                name,
                middle.name,
                f"{median:.3f}",
                f"{bound} {middle.to_reach:.2f}",
                verdict([each.value for each in measures], is_reached=middle.is_reached),
            )
        )
    print("\n".join(table(("ROW", "", "MEASURED", "TO REACH", ""), cells)))


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
