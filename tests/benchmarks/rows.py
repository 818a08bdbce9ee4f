"""What the measured numbers are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ckptd.limits import MIB
from tests.benchmarks.turns import Measured

Results = Mapping[str, Measured]
GB = 1e9
MS = 0.001


class Number(NamedTuple):
    """One number of the table.

    Attributes:
        value: What was measured; ``None``: nobody to compare with.
        detail: What it came from.
    """

    value: float | None
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is measured.
        number: Finds it in what a case measured.
        to_reach: The bound; ``None``: for information.
        is_least: The number has to be at least this, otherwise at most.
    """

    name: str
    number: Callable[[Results], Number]
    to_reach: float | None = None
    is_least: bool = True

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
        return Number(theirs.seconds / ours.seconds, detail)

    return Row(text or f"{mine}: rate, times that of {other}", number, to_reach)


def time_ratio(mine: str, other: str, to_reach: float) -> Row:
    """Compare two times: what part of the other's is mine."""

    def number(results: Results) -> Number:
        if other not in results:
            return Number(None, f"{other} is not installed")
        ours, theirs = results[mine].seconds, results[other].seconds
        return Number(ours / theirs, f"{ours:.2f} s against {theirs:.2f} s")

    return Row(f"{mine}: time, times that of {other}", number, to_reach, is_least=False)


def cost(name: str, mine: str, fact: str, to_reach: float, unit: float = 1.0) -> Row:
    """Look at what a competitor measured besides its time."""

    def number(results: Results) -> Number:
        return Number(results[mine].fact(fact) / unit)

    return Row(name, number, to_reach, is_least=False)


PLAIN, TLS, SINGLE = "ckptd", "ckptd with TLS", "ckptd from one"

LARGE = (
    faster(PLAIN, "iperf3", 0.8),
    faster(PLAIN, "aria2c", 3.0),
    faster(PLAIN, "libtorrent", 4.0),
    faster(PLAIN, "rsync -aW", 1.7),
    faster(PLAIN, "curl", 0.95),
    faster(PLAIN, "rclone", None),
    faster(PLAIN, "prototype", None),
    faster(TLS, PLAIN, 0.5),
    cost("receiver, CPU-s per GB", PLAIN, "receiver_cpu_s_per_gb", 0.75),
    cost("sources together, CPU-s per GB", PLAIN, "source_cpu_s_per_gb", 0.35),
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
