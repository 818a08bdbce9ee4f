"""``make bench ROWS=delta``: neighbouring versions as their difference.

    python -m tests.benchmarks.deltas --size 512MiB --rounds 3 kinds link slow loopback followers

Weights of a real model some steps of training apart, made once by ``python -m
tests.benchmarks.fine_tuning bench-results/weights``; a version has as many copies of its file as
fill the size. Sources are on hosts of their own, so it needs root.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ckptd.buffers import page_buffer
from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import HEAD_BYTES, NO_BASE, CodedHead
from ckptd.coding.fitting import Fit, adapted, fit
from ckptd.limits import MIB
from ckptd.net.coded_bases import DECODED
from ckptd.net.source.unit_fits import AGAIN_BLOCKS
from ckptd.store.files.hashing import digest_of
from tests.benchmarks.__main__ import Line, Told
from tests.benchmarks.fine_tuning import FAST, SLOW, name_of
from tests.benchmarks.groups import finish, left_out, line_of, measure_on_hosts
from tests.benchmarks.places import RESULTS
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.rows import GB
from tests.benchmarks.shaping import INSECURE, knows
from tests.support.cluster import Cluster, Node
from tests.support.metrics_page import samples
from tests.support.namespaces import Switch

WEIGHTS: Final = RESULTS / "weights"
LAST: Final = 60
LINK_MBIT: Final = 1000
SLOW_MBIT: Final = 50
BLOCK_BYTES: Final = MIB
FOLLOWERS: Final = 4
NAME: Final = "bench/delta"
UNCODED: Final = "[transport]\ninsecure = true\ncoding = false"
ALL_CORES: Final = '[serving]\ncoding = "2 cores"\n'
COPIES: Final = 12
TURNED_BYTES: Final = 84_840
"""Whole numbers, and no multiple of them are whole blocks."""


def file_name(number: int) -> str:
    """Return the name of a file of a version."""
    return f"model-{number:05}.safetensors"


class Pair(NamedTuple):
    """Two versions of some numbers, the later one first."""

    name: str
    now: Path
    before: Path
    to_reach: float | None


def pairs() -> list[Pair]:
    """Return what is measured: rate of training, steps apart, kind of numbers."""

    def pair(rate: float, steps: int, kind: str, to_reach: float | None) -> Pair:
        now, before = (WEIGHTS / name_of(rate, step, kind) for step in (LAST, LAST - steps))
        return Pair(f"{kind}, {rate:.0e}, {steps} steps apart", now, before, to_reach)

    return [
        pair(FAST, 1, "bf16", 12),
        pair(FAST, 10, "bf16", 5),
        pair(FAST, 50, "bf16", 3.3),
        pair(SLOW, 1, "bf16", 50),
        pair(FAST, 1, "fp32", None),
        pair(FAST, 1, "moments", None),
    ]


class Stage:
    """Nodes with one version, or with two, in memory.

    Args:
        memory: A directory in memory.
        told: How many bytes, and how many turns.
        cluster: What they belong to.
        switch: Connects them.

    Attributes:
        told: How many bytes, and how many turns.
        memory: A directory in memory.
    """

    def __init__(self, memory: Path, told: Told, cluster: Cluster, switch: Switch) -> None:
        self.told = told
        self.memory, self._cluster, self._switch = memory, cluster, switch

    def node(
        self, name: str, *peers: Node, rate_mbit: int | None = None, sections: str = INSECURE
    ) -> Node:
        """Start one on a host of its own."""
        root = self.memory / f"{name}-root"
        root.mkdir()
        addresses = [peer.address for peer in peers]
        node = self._cluster.prepare(name, peers=addresses, root=root, sections=sections)
        host = self._switch.add(name, rate_mbit=rate_mbit)
        node.host, node.prefix = host.address, host.enter
        node.start()
        node.wait_ready()
        return node

    def publish(self, node: Node, pair: Pair, version: int) -> None:
        """Publish the earlier version, 1, or the later one, 2: copies of its file.

        Each has its numbers from another one on, so that no block is in two of them.
        """
        content = (pair.now if version > 1 else pair.before).read_bytes()
        head = 8 + int.from_bytes(content[:8], "little")
        directory = node.path(f"v{version}")
        directory.mkdir()
        for number in range(max(self.told.size_bytes // len(content), 1)):
            begin = head + number * TURNED_BYTES
            with (directory / file_name(number)).open("wb") as file:
                file.writelines((content[:head], content[begin:], content[head:begin]))
        node.publish(directory, NAME, version, critical=(), deferred=())

    def follow(self, node: Node, number: int, units: Sequence[str] = ()) -> tuple[float, float]:
        """Recover the later version and remove it; return seconds, and share that travelled."""
        plain, sent = _coded(node)
        begun_s = time.perf_counter()
        target = node.path(f"turn-{number}")
        result = finish(node, node.begin(NAME, 2, to=target, units=units))
        seconds = time.perf_counter() - begun_s
        shutil.rmtree(target)
        plain, sent = (now - was for now, was in zip(_coded(node), (plain, sent), strict=True))
        fetched = result.bytes_received - result.bytes_wasted
        return seconds, (fetched - plain + sent) / max(fetched, 1)


def _coded(node: Node) -> tuple[float, float]:
    return tuple(  # type: ignore[return-value]
        sum(samples(node, f"coded_{kind}_bytes_total").values()) for kind in ("plain", "sent")
    )


class Rates(NamedTuple):
    """What it took to send a version to a node that has another one, in processor time.

    Attributes:
        size_bytes: Of the version.
        coded_bytes: What travels of it.
        coding_s: At the source, beside reading and hashing; how it is done best is found out again
            now and then.
        decoding_s: Decoding alone, at the receiver.
        receiving_s: All that is done at the receiver with what was taken off the connection: a
            block of the base read and hashed, decoded, the result hashed and written.
    """

    size_bytes: int
    coded_bytes: int
    coding_s: float
    decoding_s: float
    receiving_s: float


def kinds(stage: Stage) -> list[Line]:
    """Each kind of numbers by itself: how many times shorter; rates of one core, in GB/s."""
    lines = []
    for pair in pairs():
        if not pair.now.exists():
            return [_no_weights("kinds")]
        turns = [_code(pair, stage.memory / "received") for _ in range(stage.told.rounds)]
        ratios = [each.size_bytes / each.coded_bytes for each in turns]
        lines.append(
            line_of("kinds", f"{pair.name}: times shorter", ratios, pair.to_reach, is_least=True)
        )
        for what, seconds, to_reach in (
            ("coding", [each.coding_s for each in turns], 0.8),
            ("decoding", [each.decoding_s for each in turns], 1.2),
            (
                "decoded, verified and written, GB/s per core",
                [each.receiving_s for each in turns],
                0.5,
            ),
        ):
            rates = [turns[0].size_bytes / each / GB for each in seconds]
            lines.append(line_of("kinds", f"{pair.name}: {what}", rates, to_reach, is_least=True))
    return lines


def _code(pair: Pair, target: Path) -> Rates:
    """Code a version block by block, as a source does, and decode each as a receiver does."""
    block, was, into = (page_buffer(BLOCK_BYTES) for _ in range(3))
    coding, decoding = BlockCoding(), BlockCoding()
    size_bytes = min(each.stat().st_size for each in (pair.now, pair.before))
    size_bytes = size_bytes // BLOCK_BYTES * BLOCK_BYTES
    best, left = Fit(), 0
    coded_bytes, coding_ns, decoding_ns, receiving_ns = 0, 0, 0, 0
    with pair.now.open("rb") as now, pair.before.open("rb") as before, target.open("wb") as out:
        for start in range(0, size_bytes, BLOCK_BYTES):
            _read(now.fileno(), block, start)
            _read(before.fileno(), was, start)
            begun_ns = time.thread_time_ns()
            left -= 1
            if left < 0 or not best.is_representative:
                best, left = fit(coding, block, was, DECODED), AGAIN_BLOCKS - 1
                coder = best.coder
            else:
                coder = adapted(best.coder, best.width, block, was, DECODED)
            coder, pieces = coding.pieces(block, coder, best.width, base=was)
            coding_ns += time.thread_time_ns() - begun_ns
            coded = b"".join(pieces)
            head = CodedHead(coder, best.width, 0 if coder.needs_base else NO_BASE, len(coded))
            digest = digest_of(block)
            begun_ns = time.thread_time_ns()
            _read(before.fileno(), was, start)
            digest_of(was)
            between_ns = time.thread_time_ns()
            decoding.decode(head, coded, was, into)
            decoding_ns += time.thread_time_ns() - between_ns
            assert digest_of(into) == digest
            os.pwrite(out.fileno(), into, start)
            receiving_ns += time.thread_time_ns() - begun_ns
            coded_bytes += HEAD_BYTES + len(coded)
    target.unlink()
    return Rates(size_bytes, coded_bytes, coding_ns / 1e9, decoding_ns / 1e9, receiving_ns / 1e9)


def _read(fd: int, into: memoryview, offset: int) -> None:
    if os.preadv(fd, [into], offset) != len(into):
        raise EOFError(fd)


class Followed(NamedTuple):
    """One recovery over a link."""

    seconds: float
    size_bytes: int
    sent_bytes: float
    processors_s: float

    def times_as_fast(self, bytes_per_s: float) -> float:
        """Return how many times as fast it was as all of the version at a rate."""
        return self.size_bytes / bytes_per_s / self.seconds


def link(stage: Stage) -> list[Line]:
    """One step apart, from a source at 1 Gbit/s, by a node that has the version before.

    Each time it is other files, and then those once more: what was coded is kept for a while, so
    the source has next to nothing to do then. No recovery on this machine is faster than its
    processors are with the work of both ends; how near it comes to that is a row as well.
    """
    return _over_link(stage, "link", LINK_MBIT, None)


def slow(stage: Stage) -> list[Line]:
    """The same at 50 Mbit/s, where the processors of one machine do not bind."""
    return _over_link(stage, "slow", SLOW_MBIT, 1.3)


def _over_link(stage: Stage, case: str, mbit: int, to_reach: float | None) -> list[Line]:
    pair = pairs()[0]
    if not pair.now.exists():
        return [_no_weights(case)]
    source = stage.node("s", rate_mbit=mbit, sections=INSECURE + "\n" + ALL_CORES)
    having = stage.node("r", source)
    for node, versions in ((source, (1, 2)), (having, (1,))):
        for version in versions:
            stage.publish(node, pair, version)
    knows(having, NAME)
    groups = _groups(len(list(source.path("v1").iterdir())), 1 + stage.told.rounds)
    stage.follow(having, 0, groups.pop())  # it learns what the link brings
    file_bytes = pair.now.stat().st_size
    once: list[Followed] = []
    again: list[Followed] = []
    for number, units in enumerate(groups, 1):
        for way, turn in ((once, 2 * number), (again, 2 * number + 1)):
            before_s = cpu_s(source.pid) + cpu_s(having.pid)
            seconds, share = stage.follow(having, turn, units)
            spent_s = cpu_s(source.pid) + cpu_s(having.pid) - before_s
            size_bytes = len(units) * file_bytes
            way.append(Followed(seconds, size_bytes, share * size_bytes, spent_s))
    shorter = [each.size_bytes / each.sent_bytes for each in once]
    return [
        line_of(case, "times shorter", shorter, 12, is_least=True),
        *_rows_of(case, "", mbit, once, to_reach or 1.3),
        *_rows_of(case, "once more: ", mbit, again, to_reach),
    ]


def _rows_of(
    case: str, way: str, mbit: int, rounds: Sequence[Followed], to_reach: float | None
) -> list[Line]:
    rate = mbit * 125_000
    cores = os.cpu_count() or 1
    processors = statistics.median(each.processors_s for each in rounds)
    return [
        line_of(
            case,
            f"{way}times as fast as all of it at {mbit} Mbit/s",
            [each.times_as_fast(rate) for each in rounds],
            None,
            f"{statistics.median(each.seconds for each in rounds):.2f} s",
            is_least=True,
        ),
        line_of(
            case,
            f"{way}time, times that of the coded bytes at that rate",
            [each.seconds * rate / each.sent_bytes for each in rounds],
            to_reach,
        ),
        line_of(
            case,
            f"{way}time, times that of both ends on {cores} cores",
            [each.seconds * cores / each.processors_s for each in rounds],
            None,
            f"{processors:.2f} s of processors",
        ),
    ]


def loopback(stage: Stage) -> list[Line]:
    """The same without a limit, on processors that both ends share, beside plain blocks.

    Which of the two comes first changes from turn to turn.
    """
    pair = pairs()[0]
    if not pair.now.exists():
        return [_no_weights("loopback")]
    source = stage.node("s")
    ways = {"coded": stage.node("c", source), "plain": stage.node("p", source, sections=UNCODED)}
    for version in (1, 2):
        stage.publish(source, pair, version)
    for node in ways.values():
        stage.publish(node, pair, 1)
        knows(node, NAME)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(stage.told.rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            seconds[name].append(stage.follow(ways[name], number)[0])
    ratios = [mine / plain for mine, plain in zip(*seconds.values(), strict=True)]
    return [line_of("loopback", "time, times that of plain blocks", ratios, 1.02)]


def followers(stage: Stage) -> list[Line]:
    """Four nodes that follow one source at 1 Gbit/s: its processor time, to that for one.

    Each time it is other files that are followed, for what was coded is kept for a while.
    """
    pair = pairs()[0]
    if not pair.now.exists():
        return [_no_weights("followers")]
    source = stage.node("s", rate_mbit=LINK_MBIT, sections=INSECURE + "\n" + ALL_CORES)
    nodes = [stage.node(f"f{number}", source) for number in range(FOLLOWERS)]
    for version in (1, 2):
        stage.publish(source, pair, version)
    for node in nodes:
        stage.publish(node, pair, 1)
        knows(node, NAME)
    rounds = stage.told.rounds
    groups = _groups(len(list(source.path("v1").iterdir())), 1 + 2 * rounds)
    _follow_together(nodes, 0, groups.pop())
    spent: list[tuple[float, float]] = []
    for number in range(1, rounds + 1):
        alone_s = _spent(source, partial(stage.follow, nodes[0], number, groups.pop()))
        all_s = _spent(source, partial(_follow_together, nodes, number, groups.pop()))
        spent.append((alone_s, all_s))
    ratios = [all_s / alone_s for alone_s, all_s in spent]
    alone_s, all_s = map(statistics.median, zip(*spent, strict=True))
    detail = f"{all_s:.2f} s to {alone_s:.2f} s"
    name = "processor time of the source, to that for one"
    return [line_of("followers", name, ratios, 1.3, detail)]


def _groups(files: int, count: int) -> list[tuple[str, ...]]:
    """Return the names of files in groups of as many each."""
    each = max(files // count, 1)
    return [tuple(map(file_name, range(each * n, each * (n + 1)))) for n in range(count)]


def _follow_together(nodes: Sequence[Node], number: int, units: Sequence[str]) -> None:
    targets = [node.path(f"all-{number}") for node in nodes]
    begun = [
        node.begin(NAME, 2, to=to, units=units) for node, to in zip(nodes, targets, strict=True)
    ]
    for node, recovery, target in zip(nodes, begun, targets, strict=True):
        finish(node, recovery)
        shutil.rmtree(target)


def _spent(node: Node, work: Callable[[], object]) -> float:
    before_s = cpu_s(node.pid)
    work()
    return cpu_s(node.pid) - before_s


def _no_weights(case: str) -> Line:
    return left_out(case, f"make them: python -m tests.benchmarks.fine_tuning {WEIGHTS}")


CASES: Final = {
    "kinds": kinds,
    "link": link,
    "slow": slow,
    "loopback": loopback,
    "followers": followers,
}


if __name__ == "__main__":
    sys.exit(measure_on_hosts("delta", __doc__, CASES, COPIES, Stage))
