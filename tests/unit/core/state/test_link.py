"""Rate, latency, patience and trust of one path, in numbers."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.options import Options
from ckptd.core.state.link import Link, RateEstimate
from ckptd.limits import MIB, MS, SECOND

OPTIONS = Options()


# The rate


def test_a_rate_is_unknown_before_a_window_is_full() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(1 * MIB, now=99 * MS)
    assert rate.bytes_per_s == 0
    rate.add(1 * MIB, now=100 * MS)
    assert rate.bytes_per_s == 20 * MIB


def test_a_rate_rises_at_once_and_falls_by_a_quarter_of_the_way() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(4 * MIB, now=100 * MS)
    assert rate.bytes_per_s == 40 * MIB
    rate.add(8 * MIB, now=200 * MS)
    assert rate.bytes_per_s == 80 * MIB
    rate.add(4 * MIB, now=300 * MS)
    assert rate.bytes_per_s == 70 * MIB


def test_a_rate_that_fell_is_the_last_sample_once_that_is_believed() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(8 * MIB, now=100 * MS)
    rate.add(1 * MIB, now=200 * MS)
    rate.add(2 * MIB, now=300 * MS)
    rate.believe_latest()
    assert rate.bytes_per_s == 20 * MIB
    rate.add(4 * MIB, now=400 * MS)
    assert rate.bytes_per_s == 40 * MIB


def test_time_without_work_does_not_lower_a_rate() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(4 * MIB, now=100 * MS)
    rate.pause(now=100 * MS)
    rate.begin(now=3600 * SECOND)
    rate.add(4 * MIB, now=3600 * SECOND + 100 * MS)
    assert rate.bytes_per_s == 40 * MIB


def test_more_work_does_not_begin_the_window_anew() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(2 * MIB, now=50 * MS)
    rate.begin(now=60 * MS)
    rate.add(2 * MIB, now=100 * MS)
    assert rate.bytes_per_s == 40 * MIB


def test_a_first_range_that_took_less_than_a_window_still_tells_the_rate() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(1 * MIB, now=10 * MS)
    rate.pause(now=10 * MS)
    assert rate.bytes_per_s == 100 * MIB


def test_a_later_fraction_of_a_window_tells_nothing() -> None:
    rate = RateEstimate(bytes_per_s=50 * MIB)
    rate.begin(now=0)
    rate.add(1, now=10 * MS)
    rate.pause(now=10 * MS)
    assert rate.bytes_per_s == 50 * MIB


def test_a_pause_at_the_moment_of_the_beginning_divides_by_nothing() -> None:
    rate = RateEstimate()
    rate.pause(now=5)
    rate.begin(now=5)
    rate.add(1 * MIB, now=5)
    rate.pause(now=5)
    assert rate.bytes_per_s == 0


def test_bytes_that_come_while_there_is_no_work_are_not_counted() -> None:
    rate = RateEstimate()
    rate.add(1 * MIB, now=1 * SECOND)
    assert rate.bytes_per_s == 0


# How much, and how soon


@pytest.mark.parametrize(
    ("bytes_per_s", "range_bytes"),
    [
        (0, 1 * MIB),
        (1, 0),
        (4 * MIB, 1 * MIB),
        (80 * MIB, 20 * MIB),
        (256 * MIB, 64 * MIB),
        (4096 * MIB, 64 * MIB),
    ],
)
def test_a_range_is_a_quarter_of_a_second_of_the_rate(bytes_per_s: int, range_bytes: int) -> None:
    assert Link(RateEstimate(float(bytes_per_s))).range_bytes(OPTIONS) == range_bytes


def test_the_queue_of_a_source_is_measured_in_its_own_time() -> None:
    assert Link(RateEstimate(10.0 * MIB), outstanding_bytes=5 * MIB).queue_time_ns(OPTIONS) == (
        SECOND // 2
    )


def test_a_source_of_unknown_rate_is_reckoned_to_do_its_first_range_in_time() -> None:
    link = Link(outstanding_bytes=OPTIONS.ranges.bytes_first)
    assert link.queue_time_ns(OPTIONS) == OPTIONS.ranges.duration_ns


# Patience


def test_silence_is_half_a_second_or_four_usual_gaps() -> None:
    link = Link()
    assert link.silence_timeout_ns(OPTIONS) == 500 * MS
    for _ in range(50):
        link.heard_again(300 * MS)
    assert 1190 * MS <= link.silence_timeout_ns(OPTIONS) <= 1200 * MS


@pytest.mark.parametrize(
    ("latency_ms", "failures", "patience_ms"),
    [
        (None, 0, 1000),
        (100, 0, 1000),
        (250, 0, 1000),
        (500, 0, 2000),
        (None, 1, 2000),
        (None, 3, 8000),
        (500, 2, 8000),
        (None, 5, 30_000),
        (None, 10**6, 30_000),
    ],
)
def test_patience_for_a_first_byte(latency_ms: int | None, failures: int, patience_ms: int) -> None:
    latency_ns = None if latency_ms is None else latency_ms * MS
    link = Link(latency_ns=latency_ns, failures=failures)
    assert link.first_byte_timeout_ns(OPTIONS) == patience_ms * MS


def test_a_latency_follows_its_samples_by_a_quarter() -> None:
    link = Link()
    link.heard_first_byte(100 * MS)
    assert link.latency_ns == 100 * MS
    link.heard_first_byte(200 * MS)
    assert link.latency_ns == 125 * MS
    link.heard_first_byte(25 * MS)
    assert link.latency_ns == 100 * MS


# Disappointments


def test_a_pause_is_at_least_half_of_what_it_may_be_and_never_shortened() -> None:
    rng = Random(1)
    pauses = []
    for _ in range(200):
        link = Link()
        link.failed(OPTIONS, rng, now=0)
        pauses.append(link.usable_at_ns)
    assert 125 * MS <= min(pauses) < 130 * MS
    assert 245 * MS < max(pauses) <= 250 * MS

    link = Link(usable_at_ns=3600 * SECOND)
    link.failed(OPTIONS, rng, now=0)
    assert link.usable_at_ns == 3600 * SECOND


def test_a_source_that_asks_for_a_longer_pause_gets_it() -> None:
    link = Link()
    link.refused(OPTIONS, Random(0), now=1 * SECOND, at_least_ns=5 * SECOND)
    assert 6 * SECOND <= link.usable_at_ns <= 8.5 * SECOND
    assert link.failures == 0


def test_receivers_that_were_refused_together_do_not_return_together() -> None:
    links = [Link() for _ in range(20)]
    for seed, link in enumerate(links):
        link.refused(OPTIONS, Random(seed), now=0, at_least_ns=1 * SECOND)
    assert len({link.usable_at_ns // (10 * MS) for link in links}) > 10


def test_requests_that_were_refused_together_count_as_one() -> None:
    link = Link()
    link.refused(OPTIONS, Random(0), now=0, at_least_ns=1 * SECOND)
    rested_ns = link.usable_at_ns
    link.refused(OPTIONS, Random(0), now=1 * MS, at_least_ns=1 * SECOND)
    assert (link.refusals, link.usable_at_ns) == (1, rested_ns)


def test_pauses_do_not_grow_without_end() -> None:
    link = Link(failures=10**6)
    link.failed(OPTIONS, Random(0), now=0)
    assert link.usable_at_ns <= OPTIONS.silence.back_off_max_ns
    link = Link(refusals=10**6)
    link.refused(OPTIONS, Random(0), now=0, at_least_ns=1 * SECOND)
    assert link.usable_at_ns <= OPTIONS.silence.back_off_max_ns


def test_trust_grows_with_good_ranges_up_to_eight() -> None:
    link = Link(failures=3)
    for _ in range(20):
        link.succeeded(OPTIONS)
    assert (link.trust, link.failures) == (8, 0)


def test_four_bad_blocks_from_a_stranger_are_enough_for_quarantine() -> None:
    link = Link()
    link.blame(6, OPTIONS, now=0)
    assert (link.trust, link.usable_at_ns) == (-6, 0)
    link.blame(2, OPTIONS, now=0)
    assert (link.trust, link.usable_at_ns) == (0, 60 * SECOND)


def test_quarantine_doubles_each_time() -> None:
    link = Link()
    for minutes in (1, 2, 4, 8):
        now = link.usable_at_ns
        link.blame(8, OPTIONS, now=now)
        assert link.quarantined_until_ns == link.usable_at_ns == now + minutes * 60 * SECOND
