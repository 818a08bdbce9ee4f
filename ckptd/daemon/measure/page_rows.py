"""Rows of the page whose numbers come from elsewhere, ready to be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from ckptd.core.report.views import SourceSnapshot
from ckptd.model.holdings import Holding
from ckptd.model.words import Bottleneck, RefusalReason, SourceState
from ckptd.observe.metrics import MetricRow, counter, counters, gauge, gauges

HOLDING_METRICS: Final[Sequence[MetricRow[tuple[Holding, ...]]]] = (
    gauge("holdings", "Versions held, wholly or in part.", len),
    gauge(
        "held_bytes",
        "Bytes held and verified.",
        lambda holdings: sum(holding.size_bytes for holding in holdings),
    ),
)
REPAIR_METRICS: Final[Sequence[MetricRow[int]]] = (
    counter(
        "repaired_units",
        "Files of versions that were put right where the version stood.",
        lambda repaired: repaired,
    ),
)
CONNECTION_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    gauges(
        "connections",
        "Open connections for bodies, by what this node is on them.",
        ("side",),
        lambda counts: counts,
        ("source", "receiver"),
    ),
)
BOTTLENECK_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    gauges(
        "recovery_bottlenecks",
        "Active recoveries by the one thing that would have to be faster.",
        ("bottleneck",),
        lambda counts: counts,
        (bottleneck.value for bottleneck in Bottleneck),
    ),
)
HELD_UP_METRICS: Final[Sequence[MetricRow[int]]] = (
    gauge(
        "recoveries_held_up",
        "Active recoveries that wait until this node has descriptors, memory or threads again.",
        lambda count: count,
    ),
)
SOURCE_METRICS: Final[Sequence[MetricRow[Sequence[SourceSnapshot]]]] = (
    gauges(
        "sources",
        "Peers by state, on each path to them.",
        ("state",),
        lambda sources: Counter(source.state.value for source in sources),
        (state.value for state in SourceState),
    ),
)
REFUSAL_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    counters(
        "refusals",
        "Connections and requests of peers that were turned away.",
        ("reason",),
        lambda counts: counts,
        (reason.value for reason in RefusalReason),
    ),
)
CONTROL_METRICS: Final[Sequence[MetricRow[Mapping[tuple[str, int], int]]]] = (
    counters(
        "control_requests",
        "Answers on the control socket.",
        ("route", "code"),
        lambda counts: {(route, str(code)): count for (route, code), count in counts.items()},
    ),
)
LOG_METRICS: Final[Sequence[MetricRow[int]]] = (
    counter(
        "log_lines_suppressed",
        "Log lines left out because there were too many of their kind.",
        lambda suppressed: suppressed,
    ),
)
