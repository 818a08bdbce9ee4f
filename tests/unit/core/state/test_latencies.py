"""A histogram of times that forgets."""

from __future__ import annotations

import pytest

from ckptd.core.state.latencies import Latencies
from ckptd.limits import MS, SECOND


def test_nothing_is_known_without_a_sample() -> None:
    assert Latencies().percentile_ns(0.9) is None


@pytest.mark.parametrize(("share", "expected_ms"), [(0.5, 10), (0.85, 10), (0.95, 100)])
def test_a_percentile_is_right_to_a_fifth(share: float, expected_ms: int) -> None:
    latencies = Latencies()
    for _ in range(20):
        for _ in range(9):
            latencies.add(10 * MS)
        latencies.add(100 * MS)
    found = latencies.percentile_ns(share)
    assert found is not None
    assert expected_ms * MS <= found <= 1.2 * expected_ms * MS


def test_old_samples_are_forgotten() -> None:
    latencies = Latencies()
    for _ in range(100):
        latencies.add(1 * SECOND)
    for _ in range(200):
        latencies.add(10 * MS)
    found = latencies.percentile_ns(0.9)
    assert found is not None
    assert found < 20 * MS


def test_times_beyond_the_last_bucket_count_in_it() -> None:
    latencies = Latencies()
    latencies.add(3600 * SECOND)
    latencies.add(0)
    assert latencies.percentile_ns(0.1) == 1 * MS
    found = latencies.percentile_ns(1.0)
    assert found is not None
    assert found > 60 * SECOND


def test_a_link_may_live_for_very_many_samples() -> None:
    latencies = Latencies()
    for _ in range(30_000):
        latencies.add(1 * SECOND)
    assert latencies.percentile_ns(0.5) == latencies.percentile_ns(1.0)
    for _ in range(200):
        latencies.add(10 * MS)
    found = latencies.percentile_ns(0.9)
    assert found is not None
    assert found < 20 * MS


def test_the_last_bucket_has_a_bound_which_more_than_all_do_not_exceed() -> None:
    latencies = Latencies()
    latencies.add(3600 * SECOND)
    last_ns = int(1 * MS * 1.2**63)
    assert latencies.percentile_ns(1.0) == last_ns
    assert latencies.percentile_ns(1.1) == last_ns
