"""What Prometheus scrapes.

Metrics are pulled: a scrape asks for one snapshot and everything on the page comes from it,
so the numbers of one page belong to one moment. Whoever counts, counts in plain integers.

Every series exists from the start, with 0, so that ``rate()`` sees the first event. No label
names a peer: their number is not bounded, and ``ckptctl`` tells more about each.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

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
from ckptd.core.effects import Result
from ckptd.core.views import SourceState
from ckptd.core.waste import WasteReason
from ckptd.wire.fields import CLASSES

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

DURATION_BOUNDS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
"""From a small model on a fast disk to terabytes over a busy network."""

RESULTS: Final = tuple(result.value for result in Result)
CERTIFICATE_ROLES: Final = ("node", "ca")
HANDSHAKE_SIDES: Final = ("server", "client")
HANDSHAKE_FAILURES: Final = (
    "no_certificate", "untrusted", "expired", "purpose", "revoked", "wrong_node", "self",
    "plaintext", "protocol", "refused", "timeout", "disconnected",
)  # fmt: skip
REFUSALS: Final = (
    "connections", "address", "unproven", "head_late", "head", "request", "reader_slow",
)  # fmt: skip
SIDES: Final = ("source", "receiver")
SOURCE_KINDS: Final = ("peer",)
SOURCE_STATES: Final = tuple(state.value for state in SourceState)
WASTE_REASONS: Final = tuple(reason.value for reason in WasteReason)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things took, counted in classes.

    Attributes:
        counts: How many fell into each class of :data:`DURATION_BOUNDS_S`; the last counts
            those above every bound.
        sum_s: All of them together.
    """

    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS_S) + 1)
    sum_s: float = 0.0

    def plus(self, duration_s: float) -> Durations:
        """Return the same with one more."""
        index = bisect_left(DURATION_BOUNDS_S, duration_s)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return replace(self, counts=counts, sum_s=self.sum_s + duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSnapshot:
    """Everything the page shows, at one moment.

    Totals count since the start of the daemon. A key that a mapping lacks counts as 0; one
    that is not known fails the scrape.

    Attributes:
        loop: Name of the event loop: ``uvloop`` or ``asyncio``.
        holdings: Versions held, wholly or in part.
        held_bytes: Bytes held and verified.
        recoveries_active: Recoveries that have not ended.
        recoveries_by_result: Recoveries that ended; keys from :data:`RESULTS`.
        recovery_durations: From request to end, of recoveries that completed.
        recovery_remaining_bytes: Missing bytes of the active recoveries.
        received_bytes_by_source_kind: Body bytes received; keys from :data:`SOURCE_KINDS`.
        sent_bytes_by_criticality: Body bytes sent; keys from ``wire.fields.CLASSES``.
        resumed_bytes: Bytes that an interrupted recovery did not fetch again.
        wasted_bytes_by_reason: Bytes received for nothing; keys from :data:`WASTE_REASONS`.
        verify_failures_by_source_kind: Blocks with a wrong digest.
        sources_by_state: Peers; keys from :data:`SOURCE_STATES`.
        connections_by_side: Open connections for bodies; keys from :data:`SIDES`.
        is_reload_successful: The last reading of the configuration changed what it should.
        reload_succeeded_at_s: Unix time of the last one that did, the start included.
        event_loop_lag_s: Worst lag of the last ten seconds.
        handshake_failures: TLS handshakes that failed; keys are pairs from
            :data:`HANDSHAKE_SIDES` and :data:`HANDSHAKE_FAILURES`.
        certificates_not_after_s: When certificates expire, seconds since the epoch; keys from
            :data:`CERTIFICATE_ROLES`. Empty without TLS, and then there are no series.
        refusals_by_reason: Connections and requests turned away; keys from :data:`REFUSALS`.
    """

    loop: str
    holdings: int = 0
    held_bytes: int = 0
    recoveries_active: int = 0
    recoveries_by_result: Mapping[str, int] = field(default_factory=dict)
    recovery_durations: Durations = Durations()
    recovery_remaining_bytes: int = 0
    received_bytes_by_source_kind: Mapping[str, int] = field(default_factory=dict)
    sent_bytes_by_criticality: Mapping[str, int] = field(default_factory=dict)
    resumed_bytes: int = 0
    wasted_bytes_by_reason: Mapping[str, int] = field(default_factory=dict)
    verify_failures_by_source_kind: Mapping[str, int] = field(default_factory=dict)
    sources_by_state: Mapping[str, int] = field(default_factory=dict)
    connections_by_side: Mapping[str, int] = field(default_factory=dict)
    is_reload_successful: bool = False
    reload_succeeded_at_s: float = 0.0
    event_loop_lag_s: float = 0.0
    handshake_failures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    certificates_not_after_s: Mapping[str, float] = field(default_factory=dict)
    refusals_by_reason: Mapping[str, int] = field(default_factory=dict)


def create_registry(read: Callable[[], MetricsSnapshot]) -> CollectorRegistry:
    """Return a registry of ckptd's metrics and those of the process (memory, descriptors).

    Args:
        read: Called once for each scrape, in the thread that renders.
    """
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(read))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Return the page in Prometheus's text format, of type :data:`CONTENT_TYPE`."""
    return generate_latest(registry)


class _SnapshotCollector(Collector):
    def __init__(self, read: Callable[[], MetricsSnapshot]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        now = self._read()
        yield _build_info(now.loop)
        yield from _holding(now)
        yield from _recovering(now)
        yield from _moving(now)
        yield from _identifying(now)
        yield _gauge(
            "config_last_reload_successful",
            "1 if the configuration could be used when it was last read.",
            now.is_reload_successful,
        )
        yield _gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was last read and could be used.",
            now.reload_succeeded_at_s,
        )
        yield _gauge(
            "event_loop_lag_seconds",
            "Worst lag of the event loop in the last 10 seconds.",
            now.event_loop_lag_s,
        )


def _build_info(loop: str) -> Metric:
    labels = {"version": __version__, "python": platform.python_version(), "loop": loop}
    info = GaugeMetricFamily(
        "ckptd_build_info", "Always 1; the labels say what is running.", labels=list(labels)
    )
    info.add_metric(list(labels.values()), 1)
    return info


def _holding(now: MetricsSnapshot) -> Iterator[Metric]:
    yield _gauge("holdings", "Versions held, wholly or in part.", now.holdings)
    yield _gauge("held_bytes", "Bytes held and verified.", now.held_bytes)


def _recovering(now: MetricsSnapshot) -> Iterator[Metric]:
    yield _gauge("recovery_active", "Recoveries that have not ended.", now.recoveries_active)
    yield _gauge(
        "recovery_remaining_bytes",
        "Missing bytes of the active recoveries.",
        now.recovery_remaining_bytes,
    )
    yield _counters(
        "recoveries", "Recoveries that ended.", "result", RESULTS, now.recoveries_by_result
    )
    yield _histogram(
        "recovery_duration_seconds",
        "From request to end, of recoveries that completed.",
        now.recovery_durations,
    )
    yield _counter(
        "resumed_bytes",
        "Bytes that an interrupted recovery did not fetch again.",
        now.resumed_bytes,
    )


def _moving(now: MetricsSnapshot) -> Iterator[Metric]:
    yield _counters(
        "received_bytes",
        "Body bytes received.",
        "source_kind",
        SOURCE_KINDS,
        now.received_bytes_by_source_kind,
    )
    yield _counters(
        "sent_bytes",
        "Body bytes sent.",
        "criticality",
        CLASSES,
        now.sent_bytes_by_criticality,
    )
    yield _counters(
        "wasted_bytes",
        "Body bytes received for nothing.",
        "reason",
        WASTE_REASONS,
        now.wasted_bytes_by_reason,
    )
    yield _counters(
        "verify_failures",
        "Blocks received whose digest was wrong.",
        "source_kind",
        SOURCE_KINDS,
        now.verify_failures_by_source_kind,
    )
    yield _gauges("sources", "Peers by state.", "state", SOURCE_STATES, now.sources_by_state)
    yield _gauges(
        "connections",
        "Open connections for bodies, by what this node is on them.",
        "side",
        SIDES,
        now.connections_by_side,
    )
    yield _counters(
        "refusals",
        "Connections and requests of peers that were turned away.",
        "reason",
        REFUSALS,
        now.refusals_by_reason,
    )


def _identifying(now: MetricsSnapshot) -> Iterator[Metric]:
    failures = CounterMetricFamily(
        "ckptd_handshake_failures",
        "TLS handshakes that failed, by what this node was in them and why.",
        labels=["side", "reason"],
    )
    known = [(side, reason) for side in HANDSHAKE_SIDES for reason in HANDSHAKE_FAILURES]
    assert now.handshake_failures.keys() <= set(known), now.handshake_failures
    for key in known:
        failures.add_metric(key, now.handshake_failures.get(key, 0))
    yield failures
    if now.certificates_not_after_s:
        yield _labelled(
            GaugeMetricFamily(
                "ckptd_tls_certificate_not_after_seconds",
                "When the certificate expires, in seconds since the epoch.",
                labels=["role"],
            ),
            CERTIFICATE_ROLES,
            now.certificates_not_after_s,
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ckptd_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"ckptd_{name}", text, value=value)


def _gauges(
    name: str, text: str, label: str, known: Sequence[str], values: Mapping[str, int]
) -> Metric:
    return _labelled(GaugeMetricFamily(f"ckptd_{name}", text, labels=[label]), known, values)


def _counters(
    name: str, text: str, label: str, known: Sequence[str], values: Mapping[str, int]
) -> Metric:
    return _labelled(CounterMetricFamily(f"ckptd_{name}", text, labels=[label]), known, values)


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily,
    known: Sequence[str],
    values: Mapping[str, float],
) -> Metric:
    assert values.keys() <= set(known), values
    for word in known:
        family.add_metric([word], values.get(word, 0))
    return family


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    bounds = [*map(str, map(float, DURATION_BOUNDS_S)), "+Inf"]
    for bound, count in zip(bounds, durations.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(f"ckptd_{name}", text, buckets=buckets, sum_value=durations.sum_s)
