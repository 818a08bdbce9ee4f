"""What Prometheus scrapes.

Metrics are pulled: a scrape asks for one snapshot and everything on the page comes from it,
so the numbers of one page belong to one moment. Whoever counts, counts in plain integers.

Every series exists from the start, with 0, so that ``rate()`` sees the first event. No label
names a peer: their number is not bounded, and ``ckptctl`` tells more about each.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from ckptd import __version__
from ckptd.model.words import (
    Criticality,
    Direction,
    PeerState,
    RangeOutcome,
    Result,
    SourceState,
    Stage,
    WasteReason,
)
from ckptd.observe.durations import (
    NO_RECOVERIES,
    NO_TRANSFERS,
    Durations,
    counter,
    counters,
    gauge,
    gauges,
    histogram,
    pairs,
)
from ckptd.wire.fields import CLASSES

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

RESULTS: Final = tuple(result.value for result in Result)
CERTIFICATE_ROLES: Final = ("node", "ca")
HANDSHAKE_SIDES: Final = ("server", "client")
HANDSHAKE_FAILURES: Final = (
    "no_certificate", "untrusted", "expired", "purpose", "revoked", "wrong_node", "self",
    "plaintext", "protocol", "refused", "timeout", "disconnected",
)  # fmt: skip
REFUSALS: Final = (
    "connections", "address", "node", "unproven", "head_late", "head", "request", "reader_slow",
    "answer",
)  # fmt: skip
DIRECTIONS: Final = tuple(direction.value for direction in Direction)
SIDES: Final = ("source", "receiver")
PEER_STATES: Final = tuple(state.value for state in PeerState)
STAGES: Final = tuple(stage.value for stage in Stage if not stage.is_ended)
TRANSFER_OUTCOMES: Final = tuple(outcome.value for outcome in RangeOutcome)
UNIT_STATES: Final = ("done", "missing")
CRITICALITIES: Final = tuple(criticality.label for criticality in Criticality)
SOURCE_KINDS: Final = ("peer",)
SOURCE_STATES: Final = tuple(state.value for state in SourceState)
WASTE_REASONS: Final = tuple(reason.value for reason in WasteReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSnapshot:
    """Everything the page shows, at one moment.

    Totals count since the start of the daemon. A key that a mapping lacks counts as 0; one
    that is not known fails the scrape.

    Attributes:
        loop: Name of the event loop: ``uvloop`` or ``asyncio``.
        holdings: Versions held, wholly or in part.
        held_bytes: Bytes held and verified.
        critical_unit_sources_min: Over the newest versions held here, the lowest number of live
            nodes, this one among them, that have all critical units; ``None`` if it holds none.
        recoveries_active: Recoveries that have not ended.
        recoveries_by_result: Recoveries that ended; keys from :data:`RESULTS`.
        recovery_durations: From request to end, of recoveries that completed.
        critical_durations: From request to the last critical unit, of recoveries that ended.
        recovery_elapsed_s: Since the request of the active recovery that is the oldest.
        recovery_eta_s: Of the active recovery that takes longest; ``None``: cannot be said.
        recovery_remaining_bytes: Missing bytes of the active recoveries.
        recovery_units_by_state: Units of the active recoveries; keys from :data:`UNIT_STATES`.
        recovery_bytes: Bytes of the active recoveries whose manifest is here; keys are pairs from
            :data:`UNIT_STATES` and :data:`CRITICALITIES`.
        stage_seconds: Time recoveries spent in each stage; keys from :data:`STAGES`.
        received_bytes: Body bytes received; keys are pairs from :data:`SOURCE_KINDS` and
            :data:`CRITICALITIES`.
        sent_bytes_by_criticality: Body bytes sent; keys from ``wire.fields.CLASSES``.
        resumed_bytes: Bytes that an interrupted recovery did not fetch again.
        wasted_bytes_by_reason: Bytes received for nothing; keys from :data:`WASTE_REASONS`.
        hedges: Ranges asked of a second source.
        transfers_by_outcome: Transfers that ended; keys from :data:`TRANSFER_OUTCOMES`.
        range_durations: From order to end, of ranges that were delivered.
        first_byte_durations: From order to the first byte.
        verify_failures_by_source_kind: Blocks with a wrong digest.
        sources_by_state: Peers; keys from :data:`SOURCE_STATES`.
        peers_by_state: Configured addresses; keys from :data:`PEER_STATES`.
        discovery_success_s: By provider, when it last led to a peer that answers, in Unix time.
        connections_by_side: Open connections for bodies; keys from :data:`SIDES`.
        is_reload_successful: The last reading of the configuration changed what it should.
        reload_succeeded_at_s: Unix time of the last one that did, the start included.
        newest_manifest_age_s: Since the newest version of a checkpoint held here was first heard
            of; keys from :data:`FRESHNESS`. Empty if none is held.
        disk_bytes_by_root: Size of the file system of each root.
        disk_free_bytes_by_root: What the daemon may still use of it.
        is_root_usable: Whether each root is in place, may be written to, and answers.
        control_requests: Answers on the control socket by route and status.
        log_lines_suppressed: Lines left out because there were too many of their kind.
        event_loop_lag_s: Worst lag of the last ten seconds.
        event_loop_lags: Every lag that was seen, twenty a second.
        handshake_failures: TLS handshakes that failed; keys are pairs from
            :data:`HANDSHAKE_SIDES` and :data:`HANDSHAKE_FAILURES`.
        certificates_not_after_s: When certificates expire, seconds since the epoch; keys from
            :data:`CERTIFICATE_ROLES`. Empty without TLS, and then there are no series.
        limits_bytes_per_s: What is limited now, by direction and class, but for peers; the class is
            ``total`` or one of :data:`CLASSES`. What is not limited has no series.
        throttled_s: How long at least one body of a class waited, by direction and class; keys are
            pairs from :data:`DIRECTIONS` and :data:`CLASSES`.
        refusals_by_reason: Connections and requests turned away; keys from :data:`REFUSALS`.
    """

    loop: str
    holdings: int = 0
    held_bytes: int = 0
    critical_unit_sources_min: int | None = None
    recoveries_active: int = 0
    recoveries_by_result: Mapping[str, int] = field(default_factory=dict)
    recovery_durations: Durations = NO_RECOVERIES
    critical_durations: Durations = NO_RECOVERIES
    recovery_elapsed_s: float = 0.0
    recovery_eta_s: float | None = 0.0
    recovery_remaining_bytes: int = 0
    recovery_units_by_state: Mapping[str, int] = field(default_factory=dict)
    recovery_bytes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    received_bytes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    sent_bytes_by_criticality: Mapping[str, int] = field(default_factory=dict)
    resumed_bytes: int = 0
    wasted_bytes_by_reason: Mapping[str, int] = field(default_factory=dict)
    hedges: int = 0
    transfers_by_outcome: Mapping[str, int] = field(default_factory=dict)
    range_durations: Durations = NO_TRANSFERS
    first_byte_durations: Durations = NO_TRANSFERS
    verify_failures_by_source_kind: Mapping[str, int] = field(default_factory=dict)
    sources_by_state: Mapping[str, int] = field(default_factory=dict)
    peers_by_state: Mapping[str, int] = field(default_factory=dict)
    discovery_success_s: Mapping[str, float] = field(default_factory=dict)
    connections_by_side: Mapping[str, int] = field(default_factory=dict)
    is_reload_successful: bool = False
    reload_succeeded_at_s: float = 0.0
    newest_manifest_age_s: Mapping[str, float] = field(default_factory=dict)
    disk_bytes_by_root: Mapping[str, int] = field(default_factory=dict)
    disk_free_bytes_by_root: Mapping[str, int] = field(default_factory=dict)
    is_root_usable: Mapping[str, bool] = field(default_factory=dict)
    control_requests: Mapping[tuple[str, int], int] = field(default_factory=dict)
    log_lines_suppressed: int = 0
    event_loop_lag_s: float = 0.0
    event_loop_lags: Durations = NO_TRANSFERS
    handshake_failures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    certificates_not_after_s: Mapping[str, float] = field(default_factory=dict)
    refusals_by_reason: Mapping[str, int] = field(default_factory=dict)
    limits_bytes_per_s: Mapping[tuple[str, str], int] = field(default_factory=dict)
    throttled_s: Mapping[tuple[str, str], float] = field(default_factory=dict)


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
        yield from _limiting(now)
        yield from _knowing(now)
        yield from _identifying(now)
        yield from _running(now)


def _build_info(loop: str) -> Metric:
    labels = {"version": __version__, "python": platform.python_version(), "loop": loop}
    info = GaugeMetricFamily(
        "ckptd_build_info", "Always 1; the labels say what is running.", labels=list(labels)
    )
    info.add_metric(list(labels.values()), 1)
    return info


def _holding(now: MetricsSnapshot) -> Iterator[Metric]:
    yield gauge("holdings", "Versions held, wholly or in part.", now.holdings)
    yield gauge("held_bytes", "Bytes held and verified.", now.held_bytes)
    yield gauge(
        "critical_unit_sources_min",
        "Fewest live nodes that have all critical units of a newest version held here.",
        now.critical_unit_sources_min,
    )
    yield gauges(
        "newest_manifest_age_seconds",
        "Since the newest version of a checkpoint held here was first heard of.",
        "which",
        now.newest_manifest_age_s,
    )
    yield gauges("disk_size_bytes", "Size of a root's file system.", "root", now.disk_bytes_by_root)
    yield gauges(
        "disk_free_bytes",
        "What ckptd may still use of a root's file system.",
        "root",
        now.disk_free_bytes_by_root,
    )
    yield gauges(
        "root_usable",
        "1 if a root is in place, may be written to, and its disk answers.",
        "root",
        now.is_root_usable,
    )


def _recovering(now: MetricsSnapshot) -> Iterator[Metric]:
    yield gauge("recovery_active", "Recoveries that have not ended.", now.recoveries_active)
    yield gauge(
        "recovery_elapsed_seconds",
        "Since the request of the oldest active recovery.",
        now.recovery_elapsed_s,
    )
    yield gauge(
        "recovery_eta_seconds",
        "Until the last active recovery completes; absent if that cannot be said.",
        now.recovery_eta_s,
    )
    yield gauge(
        "recovery_remaining_bytes",
        "Missing bytes of the active recoveries.",
        now.recovery_remaining_bytes,
    )
    yield gauges(
        "recovery_units",
        "Units of the active recoveries.",
        "state",
        now.recovery_units_by_state,
        UNIT_STATES,
    )
    yield pairs(
        GaugeMetricFamily(
            "ckptd_recovery_bytes",
            "Bytes of the active recoveries, by what has come and how urgent it is.",
            labels=["state", "criticality"],
        ),
        now.recovery_bytes,
        list(product(UNIT_STATES, CRITICALITIES)),
    )
    yield counters(
        "recoveries", "Recoveries that ended.", "result", now.recoveries_by_result, RESULTS
    )
    yield histogram(
        "recovery_duration_seconds",
        "From request to end, of recoveries that completed.",
        now.recovery_durations,
    )
    yield histogram(
        "recovery_critical_ready_seconds",
        "From request to the last critical unit, of recoveries that ended.",
        now.critical_durations,
    )
    yield counters(
        "recovery_stage_seconds",
        "Time that recoveries spent in each stage.",
        "stage",
        now.stage_seconds,
        STAGES,
    )
    yield counter(
        "resumed_bytes",
        "Bytes that an interrupted recovery did not fetch again.",
        now.resumed_bytes,
    )


def _moving(now: MetricsSnapshot) -> Iterator[Metric]:
    yield pairs(
        CounterMetricFamily(
            "ckptd_received_bytes",
            "Body bytes received, by where from and how urgent they were.",
            labels=["source_kind", "criticality"],
        ),
        now.received_bytes,
        list(product(SOURCE_KINDS, CRITICALITIES)),
    )
    yield counters(
        "sent_bytes", "Body bytes sent.", "criticality", now.sent_bytes_by_criticality, CLASSES
    )
    yield counters(
        "wasted_bytes",
        "Body bytes received for nothing.",
        "reason",
        now.wasted_bytes_by_reason,
        WASTE_REASONS,
    )
    yield counters(
        "verify_failures",
        "Blocks received whose digest was wrong.",
        "source_kind",
        now.verify_failures_by_source_kind,
        SOURCE_KINDS,
    )
    yield counter("hedges", "Late critical ranges asked of a second source.", now.hedges)
    yield counters(
        "transfers",
        "Transfers that ended; each is one range asked of one source.",
        "outcome",
        now.transfers_by_outcome,
        TRANSFER_OUTCOMES,
    )
    yield histogram(
        "range_duration_seconds",
        "From order to end, of ranges that were delivered.",
        now.range_durations,
    )
    yield histogram("first_byte_seconds", "From order to the first byte.", now.first_byte_durations)
    yield gauges(
        "connections",
        "Open connections for bodies, by what this node is on them.",
        "side",
        now.connections_by_side,
        SIDES,
    )


def _limiting(now: MetricsSnapshot) -> Iterator[Metric]:
    labels = ["direction", "class"]
    limits = GaugeMetricFamily(
        "ckptd_limit_bytes_per_second",
        "What may move in a second; absent if that is not limited.",
        labels=labels,
    )
    for key, rate in sorted(now.limits_bytes_per_s.items()):
        limits.add_metric(key, rate)
    yield limits
    throttled = CounterMetricFamily(
        "ckptd_throttled_seconds", "Time in which a body waited for a limit.", labels=labels
    )
    for direction, urgency in product(DIRECTIONS, CLASSES):
        throttled.add_metric([direction, urgency], now.throttled_s.get((direction, urgency), 0))
    yield throttled


def _knowing(now: MetricsSnapshot) -> Iterator[Metric]:
    yield gauges("sources", "Peers by state.", "state", now.sources_by_state, SOURCE_STATES)
    yield gauges(
        "peers", "Configured addresses by state.", "state", now.peers_by_state, PEER_STATES
    )
    yield gauges(
        "discovery_last_success_timestamp_seconds",
        "When a provider last led to a peer that answers.",
        "provider",
        now.discovery_success_s,
    )
    yield counters(
        "refusals",
        "Connections and requests of peers that were turned away.",
        "reason",
        now.refusals_by_reason,
        REFUSALS,
    )


def _identifying(now: MetricsSnapshot) -> Iterator[Metric]:
    yield pairs(
        CounterMetricFamily(
            "ckptd_handshake_failures",
            "TLS handshakes that failed, by what this node was in them and why.",
            labels=["side", "reason"],
        ),
        now.handshake_failures,
        list(product(HANDSHAKE_SIDES, HANDSHAKE_FAILURES)),
    )
    if now.certificates_not_after_s:
        yield gauges(
            "tls_certificate_not_after_seconds",
            "When the certificate expires, in seconds since the epoch.",
            "role",
            now.certificates_not_after_s,
            CERTIFICATE_ROLES,
        )


def _running(now: MetricsSnapshot) -> Iterator[Metric]:
    yield gauge(
        "config_last_reload_successful",
        "1 if the configuration could be used when it was last read.",
        now.is_reload_successful,
    )
    yield gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration was last read and could be used.",
        now.reload_succeeded_at_s,
    )
    requests = CounterMetricFamily(
        "ckptd_control_requests", "Answers on the control socket.", labels=["route", "code"]
    )
    for (route, code), count in sorted(now.control_requests.items()):
        requests.add_metric([route, str(code)], count)
    yield requests
    yield counter(
        "log_lines_suppressed",
        "Log lines left out because there were too many of their kind.",
        now.log_lines_suppressed,
    )
    yield gauge(
        "event_loop_lag_seconds",
        "Worst lag of the event loop in the last 10 seconds.",
        now.event_loop_lag_s,
    )
    yield histogram(
        "event_loop_lateness_seconds",
        "How late the event loop was when it was looked at, twenty times a second.",
        now.event_loop_lags,
    )
