"""What a limit on what may come does to the scheduler's numbers."""

from __future__ import annotations

import pytest

from ckptd.core.options import Options
from ckptd.limits import MIB


def test_without_a_limit_they_stay_what_they_are() -> None:
    options = Options()
    assert options.paced(None) is options


def test_a_range_is_what_comes_in_its_time_and_in_flight_is_a_second() -> None:
    paced = Options().paced(2 * MIB)
    assert (paced.ranges.bytes_first, paced.ranges.bytes_min, paced.ranges.bytes_max) == (
        MIB // 2, MIB // 2, MIB // 2,
    )  # fmt: skip
    assert paced.ranges.in_flight_bytes_max == 2 * MIB


def test_a_high_limit_makes_no_range_larger() -> None:
    options = Options()
    paced = options.paced(1 << 40)
    assert (paced.ranges.bytes_first, paced.ranges.bytes_min, paced.ranges.bytes_max) == (
        options.ranges.bytes_first, options.ranges.bytes_min, options.ranges.bytes_max,
    )  # fmt: skip


@pytest.mark.parametrize("limit", [1, 3, 4])
def test_the_lowest_limit_still_asks_for_something(limit: int) -> None:
    assert Options().paced(limit).ranges.bytes_max == 1
