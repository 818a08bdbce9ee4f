"""Recoveries with real daemons over bad links, measured against what the links allow.

    make fault-bench ROUNDS=5 RATE=6MiB/s ROWS='silent slow'

Every source is behind a proxy with the same rate, so that processors are not what limits: the
healthy case shows whether that is so. Ideals follow from the rates and from when the fault began;
nothing is compared with another run. The receiver is a new one each round and knows nothing of
its links.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.cli.render.text import table
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.limits import MIB
from ckptd.model.quantities import format_rate, format_size, parse_rate, parse_size
from ckptd.model.words import Result, StoryKind
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.places import RESULTS, choose_place
from tests.benchmarks.sway import verdict
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint
from tests.support.exchanges import Exchange
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.link_faults import Mishap

SOURCES = 8
SHARDS = 10
PATIENCE_S = 120.0

WHOLE, HALF, URGENT, BURDEN = "bench/whole", "bench/half", "bench/urgent", "bench/burden"
"""What is published: everything, half of it, the same with a critical tenth, and as deferred."""


class Measure(NamedTuple):
    """One number and what it should be at most."""

    name: str
    value: float
    to_reach: float


class Run:
    """One receiver that has everything before it.

    Attributes:
        links: The proxies of its sources.
        sources: The sources behind them.
        receiver: Recovers.
        rate_bytes_per_s: Of each link.
    """

    def __init__(
        self, links: list[FaultProxy], sources: list[Node], receiver: Node, rate: float
    ) -> None:
        self.links = links
        self.sources = sources
        self.receiver = receiver
        self.rate_bytes_per_s = rate

    @property
    def passed_bytes(self) -> int:
        """Bytes of ranges that the links brought."""
        return sum(link.plan.body_bytes for link in self.links)

    def begin(self, checkpoint: str) -> str:
        """Begin a recovery."""
        return self.receiver.begin(checkpoint, 1)

    def result(self, recovery: str) -> RecoveryResult:
        """Wait for its end."""
        deadline_s = time.monotonic() + PATIENCE_S
        *_, last = self.receiver.client.until(deadline_s).watch(recovery)
        assert isinstance(last, RecoveryResult)
        return last

    def recover(self, checkpoint: str, meanwhile: Callable[[], None] = lambda: None) -> Recovered:
        """Recover, and do something when it has begun."""
        started_s = time.monotonic()
        recovery = self.begin(checkpoint)
        meanwhile()
        result = self.result(recovery)
        took_s = time.monotonic() - started_s
        assert result.result is Result.COMPLETE, result
        return Recovered(result, took_s)


class Recovered(NamedTuple):
    """A result and how long it took, from the request to the result."""

    result: RecoveryResult
    took_s: float


class Arena:
    """Eight sources of the same versions; receivers come and go."""

    def __init__(self, cluster: Cluster, size_bytes: int, rate_bytes_per_s: float) -> None:
        self._cluster = cluster
        self._rate_bytes_per_s = rate_bytes_per_s
        self._receivers = 0
        root = cluster.directory / "published"
        shard = size_bytes // SHARDS
        directories = {
            "a": [PlannedFile(f"{n:02}", shard) for n in range(SHARDS // 2)],
            "b": [PlannedFile(f"{n:02}", shard) for n in range(SHARDS // 2)],
        }
        for seed, (name, files) in enumerate(directories.items()):
            make_checkpoint(root / "all" / name, seed=seed, files=files)
        self.sources = [cluster.add(f"s{number}", root=root) for number in range(SOURCES)]
        for source in self.sources:
            source.wait_ready()
            source.publish(root / "all", WHOLE, 1, critical=(), deferred=())
            source.publish(root / "all", URGENT, 1, critical=("a/00",), deferred=("*",))
        for source in self.sources[: SOURCES // 2]:
            source.publish(root / "all/a", HALF, 1, critical=(), deferred=())
            source.publish(root / "all", BURDEN, 1, critical=(), deferred=("*",))

    @contextlib.contextmanager
    def run(self, count: int) -> Iterator[Run]:
        """Make a receiver that knows so many of the sources, and links of their own to them."""
        self._receivers += 1
        sources = self.sources[:count]
        with contextlib.ExitStack() as running:
            links = [
                running.enter_context(
                    fault_proxy(source.data_port, rate_bytes_per_s=self._rate_bytes_per_s)
                )
                for source in sources
            ]
            name = f"r{self._receivers}"
            receiver = self._cluster.node(name, peers=[link.address for link in links])
            running.callback(shutil.rmtree, receiver.root)
            running.callback(receiver.kill)
            eventually(
                lambda: any(len(row.nodes) == count for row in receiver.client.checkpoints()),
                "all sources are known",
            )
            yield Run(links, sources, receiver, self._rate_bytes_per_s)


def healthy(arena: Arena) -> list[Measure]:
    """Eight equal sources and no fault, a tenth is critical: nothing is asked twice."""
    with arena.run(SOURCES) as run:
        result, took_s = run.recover(URGENT)
        asked = sum(each.end - each.start for link in run.links for each in link.ranges)
        ideal_s = result.bytes_total / (SOURCES * run.rate_bytes_per_s)
        return [
            Measure("hedges", result.happenings.get(StoryKind.HEDGE.value, 0), 0),
            Measure("asked twice, bytes", asked - result.bytes_total, 0),
            Measure("received / needed", run.passed_bytes / result.bytes_total, 1.005),
            Measure("time / ideal", took_s / ideal_s, 1.10),
        ]


def silent(arena: Arena) -> list[Measure]:
    """One of four sources falls silent in the middle of a body."""
    with arena.run(4) as run:
        rate = run.rate_bytes_per_s
        before_bytes = int(1.3 * rate)
        link = run.links[0]
        link.after(before_bytes, Mishap.SILENCE)

        def listen() -> None:
            eventually(lambda: link.plan.mishap_count == 1, "it fell silent")
            link.requests.resume()  # so that it is seen what it is asked in vain

        result, took_s = run.recover(HALF, listen)
        left_bytes = result.bytes_total - 4 * before_bytes
        ideal_s = before_bytes / rate + left_bytes / (3 * rate)
        first_s, last_s = rerouted(link, run.links[1:])
        return [
            Measure("first owed block asked elsewhere after, s", first_s, 1.5),
            Measure("all of them, s", last_s, 1.5),
            Measure("time / ideal of the other three", took_s / ideal_s, 1.15),
        ]


def rerouted(silent_link: FaultProxy, others: Sequence[FaultProxy]) -> tuple[float, float]:
    """Return how long after its last byte what a silent source owed was asked elsewhere.

    Returns:
        For the first byte of that, and for the last that was asked, in seconds.
    """
    last = max(silent_link.ranges, key=lambda each: each.heard_s)
    silent_s = last.heard_s
    owed = [
        (each.start + each.body_bytes, each.end)
        for each in silent_link.ranges
        if each.connection == last.connection and each.start + each.body_bytes < each.end
    ]
    asked = sorted(
        (each for link in others for each in link.ranges if each.asked_s > silent_s),
        key=lambda each: each.asked_s,
    )
    first_byte = min(start for start, _ in owed)
    first_s = next(each.asked_s for each in asked if each.start <= first_byte < each.end)
    last_s = max(_covered_at(start, end, asked) for start, end in owed)
    return first_s - silent_s, last_s - silent_s


def _covered_at(start: int, end: int, asked: Sequence[Exchange]) -> float:
    """Return when the last byte of some was asked."""
    missing = [(start, end)]
    for each in asked:
        missing = [
            part
            for low, high in missing
            for part in ((low, min(high, each.start)), (max(low, each.end), high))
            if part[0] < part[1]
        ]
        if not missing:
            return each.asked_s
    raise AssertionError(f"{missing} was never asked of another source")


def slow(arena: Arena) -> list[Measure]:
    """One of eight sources has a tenth of the rate."""
    with arena.run(SOURCES) as run:
        rate = run.rate_bytes_per_s
        run.links[3].replies.rate_bytes_per_s = rate / 10
        result, took_s = run.recover(WHOLE)
        ideal_s = result.bytes_total / ((SOURCES - 0.9) * rate)
        return [Measure("time / ideal", took_s / ideal_s, 1.10)]


def killed(arena: Arena) -> list[Measure]:
    """Three of eight sources are killed after about a second."""
    with arena.run(SOURCES) as run:
        rate = run.rate_bytes_per_s
        before_bytes = 0

        def kill() -> None:
            nonlocal before_bytes
            eventually(lambda: run.passed_bytes >= SOURCES * rate, "a second's worth came")
            for source in run.sources[:3]:
                source.kill()
            before_bytes = run.passed_bytes

        result, took_s = run.recover(WHOLE, kill)
        for source in run.sources[:3]:
            source.restart()
        left_bytes = result.bytes_total - before_bytes
        ideal_s = before_bytes / (SOURCES * rate) + left_bytes / ((SOURCES - 3) * rate)
        return [Measure("time / ideal of what remains", took_s / ideal_s, 1.10)]


def critical(arena: Arena) -> list[Measure]:
    """A tenth of a version is critical; deferred units of another one saturate every link."""
    with arena.run(4) as run:
        rate = run.rate_bytes_per_s
        burden = run.begin(BURDEN)
        eventually(lambda: run.passed_bytes >= 4 * rate, "the links are saturated")
        recovery = run.begin(URGENT)
        total_bytes = run.receiver.client.recovery(burden).bytes_total
        critical_bytes = total_bytes // SHARDS
        run.receiver.wait_bytes(recovery, critical_bytes)
        run.receiver.client.cancel(burden)
        run.receiver.wait_bytes(recovery, 2 * critical_bytes)  # all that is critical is durable
        run.receiver.client.cancel(recovery)
        took_s = run.result(recovery).time_to_critical_s
        assert took_s is not None
        ideal_s = critical_bytes / (4 * rate)
        return [
            Measure("time to critical, s", took_s, 1.1 * ideal_s + 0.2),
        ]


def bad(arena: Arena) -> list[Measure]:
    """Of eight sources one is silent for a while, one slow, two are cut, one has flipped bits."""
    with arena.run(SOURCES) as run:
        rate = int(run.rate_bytes_per_s)
        silent_link, slow_link, reset, truncated, flipped = run.links[:5]
        silent_link.after(rate, Mishap.SILENCE, lasting_s=2.0)
        slow_link.replies.rate_bytes_per_s = rate / 10
        reset.after(rate // 2, Mishap.RESET)
        truncated.after(rate // 3, Mishap.TRUNCATION)
        for number in (1, 2):
            flipped.after(number * rate // 2, Mishap.FLIP)
        needed = run.recover(URGENT).result.bytes_total
        ranges = [each for link in run.links for each in link.ranges]
        lost = sum(each.body_bytes for each in ranges if each.body_bytes < each.end - each.start)
        again = run.passed_bytes - needed
        return [Measure("received again / needed", again / needed, 0.05 + lost / needed)]


CASES = {case.__name__: case for case in (healthy, silent, slow, killed, critical, bad)}


@dataclass(frozen=True)
class Row:
    """One number over all rounds."""

    case: str
    name: str
    values: tuple[float, ...]
    to_reach: float

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def called(self) -> str:
        """What is said of it."""
        return verdict(self.values, is_reached=self.median <= self.to_reach)


def measure(arena: Arena, names: Sequence[str], rounds: int) -> list[Row]:
    """Play every case so many times, in turns."""
    seen: dict[tuple[str, str], list[Measure]] = {}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            for each in CASES[name](arena):
                seen.setdefault((name, each.name), []).append(each)
    return [
        Row(
            case,
            name,
            tuple(each.value for each in measures),
            statistics.median(each.to_reach for each in measures),
        )
        for (case, name), measures in seen.items()
    ]


def report(rows: Sequence[Row]) -> None:
    """Print a table, what each case is, and what was missed."""
    print("\n".join(table(
        ("ROW", "", "MEASURED", "TO REACH", "OK", "BEST", "WORST"),
        [
            (
                row.case,
                row.name,
                f"{row.median:.3f}",
                f"{row.to_reach:.3f}",
                row.called,
                f"{min(row.values):.3f}",
                f"{max(row.values):.3f}",
            )
            for row in rows
        ],
    )))  # fmt: skip
    for name in dict.fromkeys(row.case for row in rows):
        print(f"{name}: {CASES[name].__doc__}")
    open_rows = [row for row in rows if row.called != "ok"]
    for row in open_rows:
        print(f"{row.called} {row.case}: {row.name}: {row.median:.3f}, to reach {row.to_reach:.3f}")
    if not open_rows:
        print("All numbers are reached.")


def main() -> int:
    """Measure, print a table and write it down. A number that is missed is no failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_RAW)
    parser.add_argument("--rate", type=parse_rate, default="6MiB/s", help="of each source")
    parser.add_argument("--size", type=parse_size, default="256MiB", help="of the largest version")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(CASES))
    arguments = parser.parse_args()
    for name in arguments.rows:
        if name not in CASES:
            parser.error(f"there is no row {name}; there are {', '.join(CASES)}")
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    place = choose_place(3 * arguments.size + 512 * MIB)
    rows = _play(place, arguments)
    print(
        f"{SOURCES} sources of {format_rate(arguments.rate)}, {format_size(arguments.size)}, "
        f"medians of {arguments.rounds} rounds"
    )
    report(rows)
    document = {
        "machine": machine_facts(place),
        "rate_bytes_per_s": arguments.rate,
        "size_bytes": arguments.size,
        "rounds": arguments.rounds,
        "rows": [
            {
                "row": row.case,
                "name": row.name,
                "values": row.values,
                "measured": row.median,
                "to_reach": row.to_reach,
                "verdict": row.called,
            }
            for row in rows
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = RESULTS / f"faults-{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\n{path}")
    return 0


def _play(place: str, arguments: argparse.Namespace) -> list[Row]:
    """Measure with a cluster below a place; logs are shown only if it goes wrong."""
    logs = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(logs),
            tempfile.TemporaryDirectory(prefix="faults-", dir=place) as directory,
            Cluster(Path(directory)) as cluster,
        ):
            arena = Arena(cluster, arguments.size, arguments.rate)
            return measure(arena, arguments.rows or list(CASES), arguments.rounds)
    except BaseException:
        print(logs.getvalue(), file=sys.stderr)
        raise


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
