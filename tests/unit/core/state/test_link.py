"""Rate, latency and patience of one path, in numbers."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.options import Options
from ckptd.core.state.link import Link, RateEstimate
from ckptd.limits import KIB, MIB, MS, SECOND
from tests.support.scheduling import adjusted

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


@pytest.mark.parametrize("size_bytes", [1, 900 * MIB])
def test_a_later_fraction_of_a_window_tells_nothing(size_bytes: int) -> None:
    rate = RateEstimate(bytes_per_s=50 * MIB, sampled_bytes=1 * MIB)
    rate.begin(now=0)
    rate.add(size_bytes, now=10 * MS)
    rate.pause(now=10 * MS)
    assert rate.bytes_per_s == 50 * MIB


def test_while_little_has_come_a_fraction_of_a_window_can_only_raise_the_rate() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(700, now=10 * MS)
    rate.pause(now=10 * MS)
    assert rate.bytes_per_s == 70_000, "a small unit, most of whose time was the way there"
    rate.begin(now=1 * SECOND)
    rate.add(2 * MIB, now=1 * SECOND + 20 * MS)
    rate.pause(now=1 * SECOND + 20 * MS)
    assert rate.bytes_per_s == 100 * MIB
    assert (rate.sampled_ns, rate.sampled_bytes) == (1 * SECOND + 20 * MS, 700 + 2 * MIB)
    assert rate.is_sound


def test_a_few_bytes_that_come_at_once_do_not_make_a_link_fast() -> None:
    rate = RateEstimate()
    for start_ns, size_bytes in ((0, 700), (1 * SECOND, 256 * KIB)):
        rate.begin(now=start_ns)
        rate.add(size_bytes, now=start_ns + 1 * MS)
        rate.pause(now=start_ns + 1 * MS)
    assert rate.bytes_per_s == 4 * 700_000, "and not the 250 MiB/s of a full buffer"


def test_a_fraction_of_a_window_does_not_lower_a_rate_that_is_not_sound() -> None:
    rate = RateEstimate(bytes_per_s=50 * MIB, sampled_bytes=1 * MIB - 1)
    rate.begin(now=0)
    rate.add(1, now=10 * MS)
    rate.pause(now=10 * MS)
    assert (rate.bytes_per_s, rate.is_sound) == (50 * MIB, False)


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


# Exactly where a number changes


def test_the_best_sample_is_kept_and_the_latest_is_told_apart_from_it() -> None:
    rate = RateEstimate()
    rate.begin(now=0)
    rate.add(4 * MIB, now=100 * MS)
    rate.add(1 * MIB, now=200 * MS)
    rate.add(2 * MIB, now=300 * MS)
    assert (rate.best_bytes_per_s, rate.latest_bytes_per_s) == (40 * MIB, 20 * MIB)


def test_a_pause_without_a_byte_is_no_sample() -> None:
    rate = RateEstimate(latest_bytes_per_s=7.0)
    rate.begin(now=0)
    rate.pause(now=10 * MS)
    assert (rate.bytes_per_s, rate.latest_bytes_per_s) == (0, 7)


def test_a_nanosecond_of_work_makes_a_sample() -> None:
    rate = RateEstimate()
    rate.begin(now=5)
    rate.add(3, now=5)
    rate.pause(now=6)
    assert rate.bytes_per_s == 3 * SECOND


def test_what_a_source_owes_to_others_comes_before_more_bytes() -> None:
    link = Link(RateEstimate(1.0 * MIB), outstanding_bytes=1 * MIB, load_bytes=2 * MIB)
    assert link.own_time_ns(1 * MIB, OPTIONS) == 1 * SECOND
    assert link.time_for_ns(4 * MIB, OPTIONS) == 7 * SECOND


@pytest.mark.parametrize(("failures", "patience_ms"), [(0, 0), (1, 2000), (2, 4000)])
def test_a_source_that_failed_last_costs_the_patience_with_it(
    failures: int, patience_ms: int
) -> None:
    link = Link(RateEstimate(1.0 * MIB), failures=failures)
    assert link.expected_ns(3 * MIB, OPTIONS) == 3 * SECOND + patience_ms * MS


@pytest.mark.parametrize(("said_bytes", "load_bytes"), [(9, 0), (10, 0), (11, 1), (30, 20)])
def test_of_the_load_of_a_source_the_part_of_this_node_is_taken_off(
    said_bytes: int, load_bytes: int
) -> None:
    link = Link(outstanding_bytes=10, load_bytes=5)
    link.heard_load(said_bytes)
    assert link.load_bytes == load_bytes


def test_a_source_that_rests_has_no_known_load_and_its_time_does_not_count() -> None:
    link = Link(load_bytes=5)
    link.rate.begin(now=0)
    link.rested(now=50 * MS)
    link.rate.begin(now=1 * SECOND)
    link.rate.add(4 * MIB, now=1 * SECOND + 100 * MS)
    assert (link.load_bytes, link.rate.bytes_per_s) == (0, 40 * MIB)


@pytest.mark.parametrize(("bytes_per_s", "window_bytes"), [(0, 8 * MIB), (3 * MIB, 6 * MIB)])
def test_a_source_is_given_two_seconds_of_work(bytes_per_s: int, window_bytes: int) -> None:
    assert Link(RateEstimate(float(bytes_per_s))).window_bytes(OPTIONS) == window_bytes


PATIENT = adjusted(
    OPTIONS,
    silence={
        "first_byte_floor_ns": 1,
        "first_byte_ceiling_ns": 1 << 40,
        "back_off_first_ns": 1 << 20,
        "back_off_max_ns": 1 << 60,
    },
)
"""So long may the pauses be that their growth ends before."""


class Halfway(Random):
    """Draws nothing but the middle."""

    def random(self) -> float:
        return 0.5


@pytest.mark.parametrize(("failures", "doublings"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_pauses_and_patience_are_doubled_ten_times_at_most(failures: int, doublings: int) -> None:
    link = Link(failures=failures, refusals=failures)
    assert link.first_byte_timeout_ns(PATIENT) == 1 << doublings
    link.failed(PATIENT, Halfway(), now=0)
    assert link.usable_at_ns == (3 << 18) << doublings
    assert link.failures == failures + 1
    link.usable_at_ns = 0
    link.refused(PATIENT, Halfway(), now=0, at_least_ns=0)
    assert link.usable_at_ns == (5 << 18) << doublings
    assert link.refusals == failures + 1


@pytest.mark.parametrize("floor_ns", [0, -100])
def test_a_source_of_unknown_latency_has_none(floor_ns: int) -> None:
    options = adjusted(PATIENT, silence={"first_byte_floor_ns": floor_ns})
    assert Link().first_byte_timeout_ns(options) == 0


def test_a_range_that_came_whole_ends_a_row_of_failures() -> None:
    link = Link(failures=2, refusals=2)
    link.succeeded()
    assert (link.failures, link.refusals) == (0, 0)


def test_a_source_that_rests_still_rests_as_long_as_it_asks_for() -> None:
    link = Link(usable_at_ns=11 * SECOND)
    link.refused(OPTIONS, Random(0), now=10 * SECOND, at_least_ns=3 * SECOND)
    assert (link.usable_at_ns, link.refusals) == (13 * SECOND, 0)


def test_trouble_is_remembered_until_something_comes_and_not_for_ever() -> None:
    link = Link()
    assert link.trouble_at(0) == ""
    link.note_trouble("it is on fire", now=SECOND)
    assert link.trouble_at(300 * SECOND) == "it is on fire"
    assert link.trouble_at(301 * SECOND) == ""
    link.heard_first_byte(MS)
    assert link.trouble_at(SECOND) == ""
    link.note_trouble("it is on fire", now=SECOND)
    link.succeeded()
    assert link.trouble_at(SECOND) == ""
