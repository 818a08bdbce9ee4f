"""Series of numbers, and how they become families on the page."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

DURATION_BOUNDS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
"""From a small model on a fast disk to terabytes over a busy network."""

TRANSFER_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""A range takes about 250 ms; a first byte from one to hundreds of milliseconds."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things took, counted in classes.

    Attributes:
        bounds_s: The longest duration of each class, in seconds, ascending.
        counts: How many fell into each class; the last counts those above every bound.
        sum_s: All of them together.
    """

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...] = ()
    sum_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            object.__setattr__(self, "counts", (0,) * (len(self.bounds_s) + 1))

    def plus(self, duration_s: float) -> Durations:
        """Return the same with one more."""
        index = bisect_left(self.bounds_s, duration_s)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return replace(self, counts=counts, sum_s=self.sum_s + duration_s)


NO_RECOVERIES: Final = Durations(DURATION_BOUNDS_S)
NO_TRANSFERS: Final = Durations(TRANSFER_BOUNDS_S)


def gauge(name: str, text: str, value: float | None) -> Metric:
    """Return a gauge; ``None`` leaves it without a sample: it cannot be said."""
    return GaugeMetricFamily(f"ckptd_{name}", text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """Return a counter; the page adds ``_total`` to its name."""
    return CounterMetricFamily(f"ckptd_{name}", text, value=value)


def gauges(
    name: str, text: str, label: str, values: Mapping[str, float], known: Sequence[str] = ()
) -> Metric:
    """Return gauges that differ in one label; ``known`` values of it are there from the start."""
    return _labelled(GaugeMetricFamily(f"ckptd_{name}", text, labels=[label]), values, known)


def counters(
    name: str, text: str, label: str, values: Mapping[str, float], known: Sequence[str]
) -> Metric:
    """Return counters that differ in one label; each of ``known`` is there from the start."""
    return _labelled(CounterMetricFamily(f"ckptd_{name}", text, labels=[label]), values, known)


def pairs(
    family: GaugeMetricFamily | CounterMetricFamily,
    values: Mapping[tuple[str, str], float],
    known: Sequence[tuple[str, str]],
) -> Metric:
    """Return a family with two labels; each pair of ``known`` is there from the start."""
    assert values.keys() <= set(known), values
    for pair in known:
        family.add_metric(pair, values.get(pair, 0))
    return family


def histogram(name: str, text: str, durations: Durations) -> Metric:
    """Return a histogram of seconds."""
    buckets: list[tuple[str, float]] = []
    total = 0
    bounds = [*map(str, map(float, durations.bounds_s)), "+Inf"]
    for bound, count in zip(bounds, durations.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(f"ckptd_{name}", text, buckets=buckets, sum_value=durations.sum_s)


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily,
    values: Mapping[str, float],
    known: Sequence[str],
) -> Metric:
    assert not known or values.keys() <= set(known), values
    for word in known or sorted(values):
        family.add_metric([word], values.get(word, 0))
    return family
