from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ckptd import __version__
from ckptd.net.handshakes import HandshakeFailure, Side
from ckptd.observe.metrics import (
    DURATION_BOUNDS_S,
    HANDSHAKE_FAILURES,
    HANDSHAKE_SIDES,
    REFUSALS,
    RESULTS,
    SIDES,
    SOURCE_KINDS,
    SOURCE_STATES,
    WASTE_REASONS,
    Durations,
    MetricsSnapshot,
    create_registry,
    render,
)
from ckptd.wire.fields import CLASSES

FULL = MetricsSnapshot(
    loop="uvloop",
    holdings=1,
    held_bytes=2,
    recoveries_active=3,
    recoveries_by_result={"complete": 4, "failed": 5, "cancelled": 6},
    recovery_durations=Durations().plus(1).plus(1.5).plus(99_999),
    recovery_remaining_bytes=7,
    received_bytes_by_source_kind={"peer": 8},
    sent_bytes_by_criticality={name: 40 + index for index, name in enumerate(CLASSES)},
    resumed_bytes=12,
    wasted_bytes_by_reason={name: 50 + index for index, name in enumerate(WASTE_REASONS)},
    verify_failures_by_source_kind={"peer": 16},
    sources_by_state={state: 30 + index for index, state in enumerate(SOURCE_STATES)},
    connections_by_side={"source": 20, "receiver": 21},
    is_reload_successful=True,
    reload_succeeded_at_s=1_700_000_000.0,
    event_loop_lag_s=0.022,
    handshake_failures={
        (side, reason): 50 + index
        for side in HANDSHAKE_SIDES
        for index, reason in enumerate(HANDSHAKE_FAILURES)
    },
    refusals_by_reason={name: 60 + index for index, name in enumerate(REFUSALS)},
)


def page(snapshot: MetricsSnapshot) -> str:
    return render(create_registry(lambda: snapshot)).decode()


def families(snapshot: MetricsSnapshot) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page(snapshot))}


def own_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("ckptd_")]
    return [line for line in lines if not line.startswith("ckptd_build_info")]


def test_every_number_of_the_snapshot_is_on_the_page() -> None:
    bucket = "ckptd_recovery_duration_seconds_bucket"
    counts = [1, *[2] * (len(DURATION_BOUNDS_S) - 1), 3]
    bounds = [*map(float, DURATION_BOUNDS_S), "+Inf"]
    assert own_lines(page(FULL)) == [
        "ckptd_holdings 1.0",
        "ckptd_held_bytes 2.0",
        "ckptd_recovery_active 3.0",
        "ckptd_recovery_remaining_bytes 7.0",
        'ckptd_recoveries_total{result="complete"} 4.0',
        'ckptd_recoveries_total{result="failed"} 5.0',
        'ckptd_recoveries_total{result="cancelled"} 6.0',
        *(
            f'{bucket}{{le="{bound}"}} {count}.0'
            for bound, count in zip(bounds, counts, strict=True)
        ),
        "ckptd_recovery_duration_seconds_count 3.0",
        "ckptd_recovery_duration_seconds_sum 100001.5",
        "ckptd_resumed_bytes_total 12.0",
        'ckptd_received_bytes_total{source_kind="peer"} 8.0',
        *(
            f'ckptd_sent_bytes_total{{criticality="{name}"}} {40 + index}.0'
            for index, name in enumerate(CLASSES)
        ),
        *(
            f'ckptd_wasted_bytes_total{{reason="{name}"}} {50 + index}.0'
            for index, name in enumerate(WASTE_REASONS)
        ),
        'ckptd_verify_failures_total{source_kind="peer"} 16.0',
        *(
            f'ckptd_sources{{state="{state}"}} {30 + index}.0'
            for index, state in enumerate(SOURCE_STATES)
        ),
        'ckptd_connections{side="source"} 20.0',
        'ckptd_connections{side="receiver"} 21.0',
        *(
            f'ckptd_refusals_total{{reason="{name}"}} {60 + index}.0'
            for index, name in enumerate(REFUSALS)
        ),
        *(
            f'ckptd_handshake_failures_total{{reason="{reason}",side="{side}"}} {50 + index}.0'
            for side in HANDSHAKE_SIDES
            for index, reason in enumerate(HANDSHAKE_FAILURES)
        ),
        "ckptd_config_last_reload_successful 1.0",
        "ckptd_config_last_reload_success_timestamp_seconds 1.7e+09",
        "ckptd_event_loop_lag_seconds 0.022",
    ]


def test_every_series_is_there_before_anything_happened() -> None:
    names = [line.rpartition(" ")[0] for line in own_lines(page(FULL))]
    fresh = own_lines(page(MetricsSnapshot(loop="asyncio")))
    assert fresh == [f"{name} 0.0" for name in names]


def test_certificates_have_series_only_where_there_are_some() -> None:
    name = "ckptd_tls_certificate_not_after_seconds"
    assert name not in page(FULL)
    secure = replace(FULL, certificates_not_after_s={"node": 7, "ca": 8})
    assert [line for line in own_lines(page(secure)) if name in line] == [
        f'{name}{{role="node"}} 7.0',
        f'{name}{{role="ca"}} 8.0',
    ]


def test_the_reasons_of_handshakes_are_those_that_there_can_be() -> None:
    assert tuple(HandshakeFailure) == HANDSHAKE_FAILURES
    assert tuple(Side) == HANDSHAKE_SIDES


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
        "state": SOURCE_STATES,
        "side": (*SIDES, *HANDSHAKE_SIDES),
    }
    for name, family in families(FULL).items():
        if name.startswith("ckptd_") and name != "ckptd_build_info" and family.type != "histogram":
            for sample in family.samples:
                for label, value in sample.labels.items():
                    assert value in bounded[label]


def test_a_duration_falls_into_the_class_whose_bound_it_does_not_exceed() -> None:
    last = len(DURATION_BOUNDS_S)
    for duration_s, expected in [(0, 0), (1, 0), (1.001, 1), (14_400, last - 1), (14_401, last)]:
        durations = Durations().plus(duration_s)
        assert durations.counts.index(1) == expected
        assert sum(durations.counts) == 1
        assert durations.sum_s == duration_s
