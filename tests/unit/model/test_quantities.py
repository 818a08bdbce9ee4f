"""Sizes, rates and durations as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import UsageError
from ckptd.limits import GIB, KIB, MIB, MS, SECOND
from ckptd.model.quantities import (
    format_age,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)

TIB = 1024 * GIB


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0B", 0),
        ("1B", 1),
        ("64MiB", 64 * MIB),
        ("64 MiB", 64 * MIB),
        ("  64MiB\n", 64 * MIB),
        ("1.5GiB", 3 * GIB // 2),
        ("1.5KB", 1500),
        ("2TB", 2 * 10**12),
        ("0.1TiB", TIB // 10),
        ("1.9B", 1),
        ("007MiB", 7 * MIB),
        ("999999999999999TiB", 999_999_999_999_999 * TIB),
    ],
)
def test_a_size(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [
        ("400MiB/s", 400 * MIB),
        ("8Gbit/s", 10**9),
        ("100Mbit/s", 12_500_000),
        ("1kbit/s", 125),
        ("0.5 GiB/s", GIB // 2),
        ("1B/s", 1),
        ("0B/s", 0),
    ],
)
def test_a_rate(text: str, bytes_per_s: int) -> None:
    assert parse_rate(text) == bytes_per_s


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0s", 0),
        ("1.5s", 3 * SECOND // 2),
        ("500ms", 500 * MS),
        ("10us", 10_000),
        ("7ns", 7),
        ("2m", 120 * SECOND),
        ("1h", 3600 * SECOND),
        ("0.5d", 43_200 * SECOND),
        ("0.123456789s", 123_456_789),
    ],
)
def test_a_duration(text: str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


NO_QUANTITIES = [
    "",
    " ",
    "1",
    "MiB",
    "-1MiB",
    "+1MiB",
    "1e3MiB",
    "1,5MiB",
    ".5MiB",
    "1.MiB",
    "1 Mi B",
    "1mib",
    "1MIB",
    "1PiB",
    "1MiB/s/s",
    "1 2MiB",
    "٣MiB",
    "inf",
    "0x10B",
    "1_000B",
    "9" * 16 + "B",
    "9" * 100_000,
]


@pytest.mark.parametrize("text", [*NO_QUANTITIES, "1MiB/s", "1s"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number and a unit like '64MiB'") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", [*NO_QUANTITIES, "1MiB", "1Mbit", "1MBit/s", "1MiB/m"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number and a unit like '400MiB/s'"):
        parse_rate(text)


@pytest.mark.parametrize("text", [*NO_QUANTITIES, "1sec", "1S", "1M", "1h30m", "1s/s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a number and a unit like '1\.5s'"):
        parse_duration(text)


def test_the_units_that_are_known_are_said() -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration("1 fortnight")
    assert str(caught.value) == (
        "duration '1 fortnight': is not a number and a unit like '1.5s'. "
        "Units: ns, us, ms, s, m, h, d."
    )


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10 * KIB + 1, "10 KiB"),
        (99 * KIB + 512, "99.5 KiB"),
        (999 * KIB, "999 KiB"),
        (1000 * KIB, "0.977 MiB"),
        (1023 * KIB, "0.999 MiB"),
        (1 * MIB, "1 MiB"),
        (1434 * MIB, "1.4 GiB"),
        (5 * TIB, "5 TiB"),
        (100 * TIB, "100 TiB"),
        (1234 * TIB, "1234 TiB"),
        (10**6 * TIB, "1000000 TiB"),
    ],
)
def test_a_size_is_shown_with_three_digits(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_a_rate_is_shown_as_a_size_in_a_second() -> None:
    assert format_rate(1434.0 * MIB) == "1.4 GiB/s"
    assert format_rate(0.4) == "0 B/s"
    assert format_rate(0.6) == "1 B/s"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0.0s"),
        (0.04, "0.0s"),
        (0.84, "0.8s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (130.0, "2m10s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (3 * 3600 + 5 * 60 + 59, "3h05m"),
        (100 * 3600, "100h00m"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (-5, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599.9, "59m"),
        (3600, "1h"),
        (2 * 86_400 - 1, "47h"),
        (2 * 86_400, "2d"),
        (100 * 86_400, "100d"),
    ],
)
def test_an_age_is_shown_in_one_unit_and_never_as_more_than_it_is(age_s: float, text: str) -> None:
    assert format_age(age_s) == text


@given(st.integers(0, 2**60))
def test_a_size_that_is_shown_can_be_read_again_to_three_digits(size_bytes: int) -> None:
    shown = format_size(size_bytes)
    assert abs(parse_size(shown) - size_bytes) <= size_bytes * 0.006
    assert len(shown) <= 11


@given(st.integers(0, 2**50))
def test_a_rate_that_is_shown_can_be_read_again(bytes_per_s: int) -> None:
    shown = format_rate(bytes_per_s)
    assert abs(parse_rate(shown) - bytes_per_s) <= bytes_per_s * 0.006


@given(st.integers(0, 10**15 - 1))
def test_whole_numbers_are_read_exactly(number: int) -> None:
    assert parse_size(f"{number}GiB") == number * GIB
    assert parse_rate(f"{number}Mbit/s") == number * 125_000
    assert parse_duration(f"{number}ms") == number * MS


@given(st.text(max_size=40))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        size_bytes = parse_size(text)
    except UsageError as error:
        assert str(error).isprintable()  # noqa: PT017 (a size is as good an outcome)
    else:
        assert size_bytes >= 0
