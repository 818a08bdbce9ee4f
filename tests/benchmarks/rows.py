"""What the measured numbers are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptd.limits import MIB
from tests.benchmarks.sway import is_steady, sway, verdict
from tests.benchmarks.turns import Measured

Results = Mapping[str, Measured]
GB = 1e9
MS = 0.001


class Number(NamedTuple):
    """One number of the table.

    Attributes:
        value: What was measured; ``None``: nobody to compare with.
        detail: What it came from.
        rounds: The same, round by round.
    """

    value: float | None
    detail: str = ""
    rounds: Sequence[float] = ()


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is measured.
        number: Finds it in what a case measured.
        to_reach: The bound; ``None``: for information.
        is_least: The number has to be at least this, otherwise at most.
        is_class: The number is the bound of a class; rounds in neighbouring ones lie far apart.
    """

    name: str
    number: Callable[[Results], Number]
    to_reach: float | None = None
    is_least: bool = True
    is_class: bool = False

    def verdict(self, measured: Number) -> str:
        """Return what to say of a number: that it sways where the rounds do by too much."""
        if measured.value is None:
            return ""
        if self.to_reach is None:
            return "" if is_steady(measured.rounds) else f"sways by {sway(measured.rounds):.0%}"
        rounds = () if self.is_class else measured.rounds
        return verdict(rounds, is_reached=self.is_reached(measured.value))

    def is_reached(self, value: float) -> bool:
        """Tell whether a number is what it has to be."""
        assert self.to_reach is not None
        return value >= self.to_reach if self.is_least else value <= self.to_reach


def faster(mine: str, other: str, to_reach: float | None, text: str = "") -> Row:
    """Compare two rates: how many times that of the other is mine."""

    def number(results: Results) -> Number:
        if other not in results:
            return Number(None, f"{other} is not installed")
        ours, theirs = results[mine], results[other]
        detail = f"{ours.rate_bytes_per_s / GB:.2f} against {theirs.rate_bytes_per_s / GB:.2f} GB/s"
        return Number(theirs.seconds / ours.seconds, detail, _quotients(theirs, ours))

    return Row(text or f"{mine}: rate, times that of {other}", number, to_reach)


def time_ratio(mine: str, other: str, to_reach: float) -> Row:
    """Compare two times: what part of the other's is mine."""

    def number(results: Results) -> Number:
        if other not in results:
            return Number(None, f"{other} is not installed")
        ours, theirs = results[mine].seconds, results[other].seconds
        rounds = _quotients(results[mine], results[other])
        return Number(ours / theirs, f"{ours:.2f} s against {theirs:.2f} s", rounds)

    return Row(f"{mine}: time, times that of {other}", number, to_reach, is_least=False)


def cost(name: str, mine: str, fact: str, to_reach: float | None, unit: float = 1.0) -> Row:
    """Look at what a competitor measured besides its time."""

    def number(results: Results) -> Number:
        if mine not in results:
            return Number(None, f"{mine} is not installed")
        rounds = tuple(turn.facts[fact] / unit for turn in results[mine].turns)
        return Number(results[mine].fact(fact) / unit, "", rounds)

    return Row(name, number, to_reach, is_least=False, is_class=unit == MS)


def _quotients(one: Measured, other: Measured) -> tuple[float, ...]:
    """Return what part of the other's time is the one's, of turns in the same round."""
    pairs = zip(one.turns, other.turns, strict=True)
    return tuple(first.seconds / second.seconds for first, second in pairs)


PLAIN, TLS, SINGLE = "ckptd", "ckptd with TLS", "ckptd from one"
CEILING, TLS_CEILING = "C ceiling", "C ceiling with TLS"
EARLIER, TLS_EARLIER = "earlier ckptd", "earlier ckptd with TLS"

CEILINGS = (
    faster(PLAIN, CEILING, 0.8),
    faster(TLS, TLS_CEILING, None),
    cost("sources together, CPU-s per GB", PLAIN, "source_cpu_s_per_gb", 0.25),
    cost("… of the ceiling", CEILING, "source_cpu_s_per_gb", None),
    cost("receiver, CPU-s per GB", PLAIN, "receiver_cpu_s_per_gb", None),
    cost("… of the ceiling", CEILING, "receiver_cpu_s_per_gb", None),
    cost("TLS: sources together, CPU-s per GB", TLS, "source_cpu_s_per_gb", 1.3),
    cost("… of the ceiling", TLS_CEILING, "source_cpu_s_per_gb", None),
    cost("TLS: receiver, CPU-s per GB", TLS, "receiver_cpu_s_per_gb", None),
    cost("… of the ceiling", TLS_CEILING, "receiver_cpu_s_per_gb", None),
)

AGAINST_EARLIER = (
    faster(PLAIN, EARLIER, 1.25),
    faster(TLS, TLS_EARLIER, 1.15),
)

LARGE = (
    faster(PLAIN, CEILING, 0.8),
    faster(TLS, TLS_CEILING, None),
    faster(PLAIN, "iperf3", None),
    faster(PLAIN, "aria2c", 3.0),
    faster(PLAIN, "libtorrent", 4.0),
    faster(PLAIN, "rsync -aW", 1.7),
    faster(PLAIN, "curl", 0.95),
    faster(PLAIN, "rclone", None),
    faster(PLAIN, "prototype", None),
    faster(TLS, PLAIN, 0.5),
    cost("receiver, CPU-s per GB", PLAIN, "receiver_cpu_s_per_gb", 0.75),
    cost("sources together, CPU-s per GB", PLAIN, "source_cpu_s_per_gb", 0.25),
    cost("TLS: sources together, CPU-s per GB", TLS, "source_cpu_s_per_gb", 1.3),
    cost("receiver, most memory, MiB", PLAIN, "receiver_peak_bytes", 400, MIB),
    cost("a source, most memory, MiB", PLAIN, "source_peak_bytes", 150, MIB),
    cost("receiver, loop lag, p99, ms", PLAIN, "receiver_lag_p99_s", 50, MS),
    cost("sources, loop lag, p99, ms", PLAIN, "source_lag_p99_s", 50, MS),
)

ONE = (faster(SINGLE, "torchft", 1.0),)

DISK = (
    faster(PLAIN, "fio", 0.85),
    faster(PLAIN, "fio, one sync", None),
)

MANY_BLOCKS = "ckptd, small blocks"
MILLION = (
    cost("publishing: longest pause of the loop, ms", MANY_BLOCKS, "publish_lag_worst_s", 250, MS),
    cost("publishing: most memory, MiB", MANY_BLOCKS, "publish_peak_bytes", 400, MIB),
    cost("started again: longest pause, ms", MANY_BLOCKS, "start_lag_worst_s", 250, MS),
    cost("started again: most memory, MiB", MANY_BLOCKS, "start_peak_bytes", 400, MIB),
    cost("receiver: longest pause, ms", MANY_BLOCKS, "receiver_lag_worst_s", 250, MS),
    cost("receiver: most memory, MiB", MANY_BLOCKS, "receiver_peak_bytes", 400, MIB),
    cost("source: longest pause, ms", MANY_BLOCKS, "source_lag_worst_s", 250, MS),
    cost("source: most memory, MiB", MANY_BLOCKS, "source_peak_bytes", 400, MIB),
)

SMALL = (time_ratio(PLAIN, "rsync -a", 1.0),)
