from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ckptd import __version__
from ckptd.observe.durations import Durations
from ckptd.observe.metrics import (
    MetricGroup,
    MetricRow,
    build_info,
    counter,
    counters,
    create_registry,
    gauge,
    gauges,
    histogram,
    render,
)


def page(*groups: MetricGroup[Any]) -> str:
    return render(create_registry(groups)).decode()


def lines_of(row: MetricRow[Any], seen: object) -> list[str]:
    text = page(MetricGroup(lambda: seen, (row,)))
    return [line for line in text.splitlines() if line.startswith(("ckptd_", "# HELP ckptd_"))]


def families(*groups: MetricGroup[Any]) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page(*groups))}


def as_is(seen: Mapping[str, float]) -> Mapping[str, float]:
    return seen


def test_a_gauge_has_a_help_and_one_sample() -> None:
    row: MetricRow[int] = gauge("holdings", "Versions held.", lambda seen: seen + 1)
    assert lines_of(row, 2) == ["# HELP ckptd_holdings Versions held.", "ckptd_holdings 3.0"]


def test_what_cannot_be_said_has_no_sample() -> None:
    row: MetricRow[None] = gauge("eta_seconds", "Until then.", lambda _: None)
    assert lines_of(row, None) == ["# HELP ckptd_eta_seconds Until then."]


def test_a_counter_is_a_total() -> None:
    row: MetricRow[int] = counter("hedges", "Late ranges.", lambda seen: seen)
    assert lines_of(row, 4)[1:] == ["ckptd_hedges_total 4.0"]


def test_known_values_of_a_label_are_there_from_the_start_in_their_order() -> None:
    row: MetricRow[Mapping[str, float]] = counters("x", "X.", ("k",), as_is, ("b", "a"))
    assert lines_of(row, {"a": 1})[1:] == ['ckptd_x_total{k="b"} 0.0', 'ckptd_x_total{k="a"} 1.0']


def test_other_values_of_a_label_come_sorted() -> None:
    row: MetricRow[Mapping[str, float]] = gauges("x", "X.", ("k",), as_is)
    assert lines_of(row, {"b": 2, "a": 1})[1:] == ['ckptd_x{k="a"} 1.0', 'ckptd_x{k="b"} 2.0']
    assert lines_of(row, {})[1:] == []


def test_a_row_may_have_two_labels() -> None:
    row: MetricRow[Mapping[tuple[str, str], float]] = gauges(
        "x", "X.", ("k", "l"), lambda seen: seen, (("a", "b"), ("a", "c"))
    )
    assert lines_of(row, {("a", "c"): 2})[1:] == [
        'ckptd_x{k="a",l="b"} 0.0',
        'ckptd_x{k="a",l="c"} 2.0',
    ]


def test_a_number_is_never_left_out_silently() -> None:
    row: MetricRow[Mapping[str, float]] = counters("x", "X.", ("k",), as_is, ("a",))
    with pytest.raises(AssertionError):
        lines_of(row, {"surprise": 1})


def test_the_classes_of_a_histogram_add_up() -> None:
    row: MetricRow[Durations] = histogram("x_seconds", "X.", lambda seen: seen)
    assert lines_of(row, Durations((0.5, 1)).plus(0.25).plus(1).plus(9))[1:] == [
        'ckptd_x_seconds_bucket{le="0.5"} 1.0',
        'ckptd_x_seconds_bucket{le="1.0"} 2.0',
        'ckptd_x_seconds_bucket{le="+Inf"} 3.0',
        "ckptd_x_seconds_count 3.0",
        "ckptd_x_seconds_sum 10.25",
    ]


def test_the_build_is_named() -> None:
    (sample,) = families(build_info("uvloop"))["ckptd_build_info"].samples
    assert sample.value == 1
    assert sample.labels["version"] == __version__
    assert sample.labels["loop"] == "uvloop"
    assert sample.labels.keys() == {"version", "python", "loop"}


def test_memory_and_descriptors_of_the_process_are_there() -> None:
    found = families()
    for name in ("process_resident_memory_bytes", "process_open_fds"):
        (sample,) = found[name].samples
        assert sample.value > 0


def test_one_scrape_looks_once_at_each_owner() -> None:
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        return looks

    first: MetricRow[int] = gauge("first", "First.", lambda seen: seen)
    second: MetricRow[int] = gauge("second", "Second.", lambda seen: seen)
    registry = create_registry([MetricGroup(look, (first,)), MetricGroup(look, (second, first))])
    assert looks == 0
    assert "ckptd_second 1.0" in render(registry).decode().splitlines()
    assert looks == 1
    assert "ckptd_second 2.0" in render(registry).decode().splitlines()
