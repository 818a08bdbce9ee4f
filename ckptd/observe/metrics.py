"""What Prometheus scrapes: one row for each metric, and the page that rows make.

A row stands beside its owner and says everything about a metric: name, help, labels, and how it is
read. Metrics are pulled: for each scrape every owner is looked at once, and its rows read from what
that look returned, so the numbers of one page belong to one moment. Whoever counts, counts in plain
integers.

Every series exists from the start, with 0, so that ``rate()`` sees the first event. No label names
a peer: their number is not bounded, and ``ckptctl`` tells more about each.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Generic, TypeAlias, TypeVar

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from ckptd import __version__
from ckptd.observe.durations import Durations

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_T = TypeVar("_T")
Samples: TypeAlias = Mapping[str, float] | Mapping[tuple[str, str], float]
"""Numbers by the value of the one label, or by the values of both."""
Looks: TypeAlias = dict[Callable[[], object], Any]


@dataclass(frozen=True, slots=True)
class MetricRow(Generic[_T]):
    """One metric.

    Attributes:
        name: As it is on the page; a counter gets ``_total`` there.
        family: Returns the metric with its samples, read from what its owner is at the moment.
    """

    name: str
    family: Callable[[_T], Metric]


@dataclass(frozen=True, slots=True)
class MetricGroup(Generic[_T]):
    """Rows that read from one look at their owner.

    Attributes:
        look: Returns what the rows read from; called once for each scrape, also if several
            groups have it.
        rows: In the order of the page.
    """

    look: Callable[[], _T]
    rows: Sequence[MetricRow[_T]]

    def families(self, looks: Looks) -> Iterator[Metric]:
        """Yield the metrics of this scrape; ``looks`` has what it looked at so far."""
        if self.look not in looks:
            looks[self.look] = self.look()
        seen: _T = looks[self.look]
        for row in self.rows:
            yield row.family(seen)


def gauge(name: str, text: str, read: Callable[[_T], float | None]) -> MetricRow[_T]:
    """Return a gauge; it has no sample where ``None`` is read: it cannot be said."""
    name = f"ckptd_{name}"
    return MetricRow(name, lambda seen: GaugeMetricFamily(name, text, value=read(seen)))


def counter(name: str, text: str, read: Callable[[_T], float]) -> MetricRow[_T]:
    """Return a counter."""
    name = f"ckptd_{name}"
    return MetricRow(name, lambda seen: CounterMetricFamily(name, text, value=read(seen)))


def gauges(
    name: str,
    text: str,
    labels: Sequence[str],
    read: Callable[[_T], Samples],
    known: Iterable[str | tuple[str, str]] = (),
) -> MetricRow[_T]:
    """Return gauges that differ in their labels.

    Args:
        name: Without ``ckptd_``.
        text: What the metric says, as a sentence.
        labels: Names of one or two labels.
        read: Returns the samples.
        known: Values that are there from the start, with 0; any other one fails the scrape. Empty:
            there is what is read.
    """
    name, known = f"ckptd_{name}", tuple(known)
    return MetricRow(
        name,
        lambda seen: _fill(GaugeMetricFamily(name, text, labels=labels), read(seen), known),
    )


def counters(
    name: str,
    text: str,
    labels: Sequence[str],
    read: Callable[[_T], Samples],
    known: Iterable[str | tuple[str, str]] = (),
) -> MetricRow[_T]:
    """Return counters that differ in their labels.

    Args:
        name: Without ``ckptd_`` and ``_total``.
        text: What the metric says, as a sentence.
        labels: Names of one or two labels.
        read: Returns the samples.
        known: As for :func:`gauges`.
    """
    name, known = f"ckptd_{name}", tuple(known)
    return MetricRow(
        name,
        lambda seen: _fill(CounterMetricFamily(name, text, labels=labels), read(seen), known),
    )


def histogram(name: str, text: str, read: Callable[[_T], Durations]) -> MetricRow[_T]:
    """Return a histogram of seconds."""
    name = f"ckptd_{name}"

    def family(seen: _T) -> Metric:
        durations = read(seen)
        return HistogramMetricFamily(
            name, text, buckets=_buckets(durations), sum_value=durations.sum_s
        )

    return MetricRow(name, family)


def histograms(
    name: str,
    text: str,
    label: str,
    read: Callable[[_T], Mapping[str, Durations]],
    known: Iterable[str],
    *,
    empty: Durations,
) -> MetricRow[_T]:
    """Return histograms of seconds that differ in one label.

    Args:
        name: Without ``ckptd_``.
        text: What the metric says, as a sentence.
        label: Name of the label.
        read: Returns the durations by the value of the label.
        known: Every value there can be; they are there from the start.
        empty: What there is of one that nothing was read of.
    """
    name, known = f"ckptd_{name}", tuple(known)

    def family(seen: _T) -> Metric:
        durations = read(seen)
        assert durations.keys() <= set(known), sorted(durations)
        found = HistogramMetricFamily(name, text, labels=(label,))
        for word in known:
            each = durations.get(word, empty)
            found.add_metric((word,), buckets=_buckets(each), sum_value=each.sum_s)
        return found

    return MetricRow(name, family)


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    bounds = [*map(str, map(float, durations.bounds_s)), "+Inf"]
    return list(zip(bounds, map(float, accumulate(durations.counts)), strict=True))


def build_info(loop: str) -> MetricGroup[None]:
    """Return what says which build runs, on which event loop: ``uvloop`` or ``asyncio``."""
    labels = {"version": __version__, "python": platform.python_version(), "loop": loop}

    def family(_: None) -> Metric:
        info = GaugeMetricFamily(
            "ckptd_build_info", "Always 1; the labels say what is running.", labels=list(labels)
        )
        info.add_metric(list(labels.values()), 1)
        return info

    return MetricGroup(lambda: None, [MetricRow("ckptd_build_info", family)])


def create_registry(groups: Sequence[MetricGroup[Any]]) -> CollectorRegistry:
    """Return a registry of ckptd's metrics and those of the process (memory, descriptors).

    Args:
        groups: In the order of the page; they are looked at for each scrape, in the thread that
            renders.
    """
    registry = CollectorRegistry()
    registry.register(_GroupsCollector(groups))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Return the page in Prometheus's text format, of type :data:`CONTENT_TYPE`."""
    return generate_latest(registry)


class _GroupsCollector(Collector):
    def __init__(self, groups: Sequence[MetricGroup[Any]]) -> None:
        self._groups = groups

    def collect(self) -> Iterator[Metric]:
        looks: Looks = {}
        for group in self._groups:
            yield from group.families(looks)


def _fill(
    family: GaugeMetricFamily | CounterMetricFamily,
    samples: Samples,
    known: Sequence[str | tuple[str, str]],
) -> Metric:
    numbers: dict[Any, float] = dict(samples)
    assert not known or numbers.keys() <= set(known), samples
    for key in known or sorted(samples):
        family.add_metric([key] if isinstance(key, str) else key, numbers.get(key, 0))
    return family
