from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ckptd import __version__
from ckptd.model.words import HandshakeFailure, HandshakeSide
from ckptd.observe.durations import (
    DURATION_BOUNDS_S,
    NO_RECOVERIES,
    NO_TRANSFERS,
    TRANSFER_BOUNDS_S,
    Durations,
)
from ckptd.observe.metrics import (
    CERTIFICATE_ROLES,
    CRITICALITIES,
    DIRECTIONS,
    HANDSHAKE_FAILURES,
    HANDSHAKE_SIDES,
    PEER_STATES,
    REFUSALS,
    RESULTS,
    SIDES,
    SOURCE_KINDS,
    SOURCE_STATES,
    STAGES,
    TRANSFER_OUTCOMES,
    UNIT_STATES,
    WASTE_REASONS,
    MetricsSnapshot,
    create_registry,
    render,
)
from ckptd.wire.fields import CLASSES


def numbered(first: int, words: Sequence[str]) -> dict[str, int]:
    """Give each word a number of its own."""
    return {word: first + index for index, word in enumerate(words)}


FULL = MetricsSnapshot(
    loop="uvloop",
    holdings=1,
    held_bytes=2,
    critical_unit_sources_min=3,
    recoveries_active=3,
    recoveries_by_result=numbered(4, RESULTS),
    recovery_durations=NO_RECOVERIES.plus(1).plus(1.5).plus(99_999),
    critical_durations=NO_RECOVERIES.plus(0.5),
    recovery_elapsed_s=9.5,
    recovery_eta_s=10.5,
    recovery_remaining_bytes=7,
    recovery_units_by_state=numbered(50, UNIT_STATES),
    stage_seconds=numbered(60, STAGES),
    received_bytes={("peer", "critical"): 101, ("peer", "normal"): 102, ("peer", "deferred"): 103},
    recovery_bytes={(state, "normal"): 110 + index for index, state in enumerate(UNIT_STATES)},
    newest_manifest_age_s={"freshest": 120.5, "stalest": 121.5},
    sent_bytes_by_criticality=numbered(40, CLASSES),
    resumed_bytes=12,
    wasted_bytes_by_reason=numbered(13, WASTE_REASONS),
    hedges=17,
    transfers_by_outcome=numbered(70, TRANSFER_OUTCOMES),
    range_durations=NO_TRANSFERS.plus(0.25),
    first_byte_durations=NO_TRANSFERS.plus(0.0015),
    verify_failures_by_source_kind=numbered(16, SOURCE_KINDS),
    sources_by_state=numbered(30, SOURCE_STATES),
    peers_by_state=numbered(80, PEER_STATES),
    discovery_success_s={"static": 1_700_000_000.0},
    connections_by_side=numbered(20, SIDES),
    disk_bytes_by_root={"main": 90},
    disk_free_bytes_by_root={"main": 91},
    is_root_usable={"main": True},
    limits_bytes_per_s={("ingress", "total"): 95, ("egress", "deferred"): 94},
    throttled_s={("egress", "normal"): 1.5},
    control_requests={("/v1/status", 200): 92},
    log_lines_suppressed=93,
    event_loop_lag_s=0.022,
    event_loop_lags=NO_TRANSFERS.plus(0.022),
    handshake_failures={
        (side, reason): 50 + index
        for side in HANDSHAKE_SIDES
        for index, reason in enumerate(HANDSHAKE_FAILURES)
    },
    refusals_by_reason={name: 60 + index for index, name in enumerate(REFUSALS)},
    certificates_not_after_s=numbered(7, CERTIFICATE_ROLES),
    is_reload_successful=True,
    reload_succeeded_at_s=1_700_000_000.0,
)


def page(snapshot: MetricsSnapshot) -> str:
    return render(create_registry(lambda: snapshot)).decode()


def families(snapshot: MetricsSnapshot) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page(snapshot))}


def own_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("ckptd_")]
    return [line for line in lines if not line.startswith("ckptd_build_info")]


def labelled(name: str, label: str, values: dict[str, int]) -> list[str]:
    return [f'ckptd_{name}{{{label}="{word}"}} {value}.0' for word, value in values.items()]


def timed(name: str, durations: Durations) -> list[str]:
    bounds = [*map(float, durations.bounds_s), "+Inf"]
    counts = itertools.accumulate(durations.counts)
    return [
        *(
            f'ckptd_{name}_bucket{{le="{bound}"}} {count}.0'
            for bound, count in zip(bounds, counts, strict=True)
        ),
        f"ckptd_{name}_count {sum(durations.counts)}.0",
        f"ckptd_{name}_sum {durations.sum_s}",
    ]


def test_every_number_of_the_snapshot_is_on_the_page() -> None:
    assert own_lines(page(FULL)) == [
        "ckptd_holdings 1.0",
        "ckptd_held_bytes 2.0",
        "ckptd_critical_unit_sources_min 3.0",
        'ckptd_newest_manifest_age_seconds{which="freshest"} 120.5',
        'ckptd_newest_manifest_age_seconds{which="stalest"} 121.5',
        'ckptd_disk_size_bytes{root="main"} 90.0',
        'ckptd_disk_free_bytes{root="main"} 91.0',
        'ckptd_root_usable{root="main"} 1.0',
        "ckptd_recovery_active 3.0",
        "ckptd_recovery_elapsed_seconds 9.5",
        "ckptd_recovery_eta_seconds 10.5",
        "ckptd_recovery_remaining_bytes 7.0",
        *labelled("recovery_units", "state", numbered(50, UNIT_STATES)),
        *(
            f'ckptd_recovery_bytes{{criticality="{label}",state="{state}"}} {value}.0'
            for state, sizes in (("done", (0, 110, 0)), ("missing", (0, 111, 0)))
            for label, value in zip(CRITICALITIES, sizes, strict=True)
        ),
        *labelled("recoveries_total", "result", numbered(4, RESULTS)),
        *timed("recovery_duration_seconds", FULL.recovery_durations),
        *timed("recovery_critical_ready_seconds", FULL.critical_durations),
        *labelled("recovery_stage_seconds_total", "stage", numbered(60, STAGES)),
        "ckptd_resumed_bytes_total 12.0",
        *(
            f'ckptd_received_bytes_total{{criticality="{label}",source_kind="peer"}} {value}.0'
            for label, value in zip(CRITICALITIES, (101, 102, 103), strict=True)
        ),
        *labelled("sent_bytes_total", "criticality", numbered(40, CLASSES)),
        *labelled("wasted_bytes_total", "reason", numbered(13, WASTE_REASONS)),
        *labelled("verify_failures_total", "source_kind", numbered(16, SOURCE_KINDS)),
        "ckptd_hedges_total 17.0",
        *labelled("transfers_total", "outcome", numbered(70, TRANSFER_OUTCOMES)),
        *timed("range_duration_seconds", FULL.range_durations),
        *timed("first_byte_seconds", FULL.first_byte_durations),
        *labelled("connections", "side", numbered(20, SIDES)),
        'ckptd_limit_bytes_per_second{class="deferred",direction="egress"} 94.0',
        'ckptd_limit_bytes_per_second{class="total",direction="ingress"} 95.0',
        *(
            f'ckptd_throttled_seconds_total{{class="{name}",direction="{direction}"}} '
            f"{1.5 if (direction, name) == ('egress', 'normal') else 0.0}"
            for direction in DIRECTIONS
            for name in CLASSES
        ),
        *labelled("sources", "state", numbered(30, SOURCE_STATES)),
        *labelled("peers", "state", numbered(80, PEER_STATES)),
        'ckptd_discovery_last_success_timestamp_seconds{provider="static"} 1.7e+09',
        *(
            f'ckptd_refusals_total{{reason="{name}"}} {60 + index}.0'
            for index, name in enumerate(REFUSALS)
        ),
        *(
            f'ckptd_handshake_failures_total{{reason="{reason}",side="{side}"}} {50 + index}.0'
            for side in HANDSHAKE_SIDES
            for index, reason in enumerate(HANDSHAKE_FAILURES)
        ),
        *labelled("tls_certificate_not_after_seconds", "role", numbered(7, CERTIFICATE_ROLES)),
        "ckptd_config_last_reload_successful 1.0",
        "ckptd_config_last_reload_success_timestamp_seconds 1.7e+09",
        'ckptd_control_requests_total{code="200",route="/v1/status"} 92.0',
        "ckptd_log_lines_suppressed_total 93.0",
        "ckptd_event_loop_lag_seconds 0.022",
        *timed("event_loop_lateness_seconds", FULL.event_loop_lags),
    ]


NOT_FROM_THE_START = (
    "root_usable",
    "newest_manifest",
    "limit_bytes_per_second",
    "disk_",
    "discovery_",
    "control_requests",
    "critical_unit_sources",
    "tls_",
)
"""Their labels come from the configuration, or nothing can be said yet."""


def test_every_other_series_is_there_before_anything_happened() -> None:
    names = [line.rpartition(" ")[0] for line in own_lines(page(FULL))]
    fresh = own_lines(page(MetricsSnapshot(loop="asyncio")))
    assert fresh == [
        f"{name} 0.0"
        for name in names
        if not name.removeprefix("ckptd_").startswith(NOT_FROM_THE_START)
    ]


def test_what_cannot_be_said_has_no_sample() -> None:
    lines = own_lines(page(MetricsSnapshot(loop="asyncio", recovery_eta_s=None)))
    assert not [line for line in lines if "eta" in line or "critical_unit_sources" in line]


def test_certificates_have_no_series_where_there_are_none() -> None:
    plain = replace(FULL, certificates_not_after_s={})
    assert "ckptd_tls_certificate_not_after_seconds" not in page(plain)


def test_the_reasons_of_handshakes_are_those_that_there_can_be() -> None:
    assert tuple(HandshakeFailure) == HANDSHAKE_FAILURES
    assert tuple(HandshakeSide) == HANDSHAKE_SIDES


def test_a_number_is_never_left_out_silently() -> None:
    with pytest.raises(AssertionError):
        page(MetricsSnapshot(loop="asyncio", wasted_bytes_by_reason={"surprise": 1}))


def test_the_build_is_named() -> None:
    (sample,) = families(FULL)["ckptd_build_info"].samples
    assert sample.value == 1
    assert sample.labels["version"] == __version__
    assert sample.labels["loop"] == "uvloop"
    assert sample.labels.keys() == {"version", "python", "loop"}


def test_memory_and_descriptors_of_the_process_are_there() -> None:
    found = families(FULL)
    for name in ("process_resident_memory_bytes", "process_open_fds"):
        (sample,) = found[name].samples
        assert sample.value > 0


def test_one_scrape_reads_one_snapshot() -> None:
    reads = 0

    def read() -> MetricsSnapshot:
        nonlocal reads
        reads += 1
        return FULL

    registry = create_registry(read)
    assert reads == 0
    render(registry)
    assert reads == 1


def test_names_keep_the_rules_of_prometheus() -> None:
    """The rules of ``promtool check metrics``, and no ``_created`` series."""
    for name, family in families(FULL).items():
        assert family.documentation.endswith(".") or not name.startswith("ckptd_")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert not sample.name.endswith("_created")
        if name.startswith("ckptd_"):
            assert not {"milliseconds", "kilobytes", "percent"} & set(name.split("_"))


def test_the_number_of_series_does_not_depend_on_the_cluster() -> None:
    bounded = {
        "result": RESULTS,
        "criticality": CLASSES,
        "reason": (*WASTE_REASONS, *HANDSHAKE_FAILURES, *REFUSALS),
        "source_kind": SOURCE_KINDS,
        "state": (*SOURCE_STATES, *PEER_STATES, *UNIT_STATES),
        "direction": DIRECTIONS,
        "class": ("total", *CLASSES),
        "side": (*SIDES, *HANDSHAKE_SIDES),
        "role": CERTIFICATE_ROLES,
        "stage": STAGES,
        "outcome": TRANSFER_OUTCOMES,
        "root": ["main"],
        "which": ["freshest", "stalest"],
        "provider": ["static"],
        "route": ["/v1/status"],
        "code": ["200"],
    }
    for name, family in families(FULL).items():
        if name.startswith("ckptd_") and name != "ckptd_build_info" and family.type != "histogram":
            for sample in family.samples:
                for label, value in sample.labels.items():
                    assert value in bounded[label]


def test_a_duration_falls_into_the_class_whose_bound_it_does_not_exceed() -> None:
    last = len(DURATION_BOUNDS_S)
    for duration_s, expected in [(0, 0), (1, 0), (1.001, 1), (14_400, last - 1), (14_401, last)]:
        durations = NO_RECOVERIES.plus(duration_s)
        assert durations.counts.index(1) == expected
        assert sum(durations.counts) == 1
        assert durations.sum_s == duration_s


def test_classes_of_transfers_are_finer() -> None:
    assert NO_TRANSFERS.plus(0.001).counts[0] == 1
    assert NO_TRANSFERS.plus(10.1).counts[len(TRANSFER_BOUNDS_S)] == 1
