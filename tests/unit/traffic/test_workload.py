"""A source takes on what it can send in about a second, and a few bodies in any case."""

from __future__ import annotations

from ckptd.limits import MIB, MS, RANGE_BYTES_MAX
from ckptd.traffic.workload import BODIES_MIN, Workload


def taking(*sizes: int) -> Workload:
    """A source that has taken on some bodies."""
    workload = Workload()
    for size_bytes in sizes:
        workload.begin(size_bytes, now=0)
    return workload


def test_a_few_bodies_are_taken_on_however_long_they_are() -> None:
    workload = taking(*[RANGE_BYTES_MAX] * (BODIES_MIN - 1))
    assert workload.admits(RANGE_BYTES_MAX)
    workload.begin(RANGE_BYTES_MAX, now=0)
    assert not workload.admits(1)
    workload.end(RANGE_BYTES_MAX, 0, now=0)
    assert workload.admits(1)


def test_more_bodies_are_taken_on_as_far_as_they_are_sent_in_a_second() -> None:
    workload = taking(*[MIB] * BODIES_MIN)
    workload.end(MIB, 20 * MIB, now=250 * MS)
    workload.begin(MIB, now=250 * MS)
    assert workload.sent_bytes_per_s == 80 * MIB
    while workload.admits(MIB):
        workload.begin(MIB, now=250 * MS)
    assert workload.load_bytes == 80 * MIB


def test_the_time_without_bodies_does_not_count() -> None:
    workload = taking(MIB)
    workload.end(MIB, MIB, now=250 * MS)
    workload.begin(MIB, now=10_000 * MS)
    workload.end(MIB, MIB, now=10_250 * MS)
    assert workload.sent_bytes_per_s == 4 * MIB


def test_a_slow_moment_costs_a_tenth() -> None:
    workload = taking(100 * MIB, MIB)
    workload.end(100 * MIB, 100 * MIB, now=1000 * MS)
    workload.end(MIB, 0, now=2000 * MS)
    assert workload.sent_bytes_per_s == 90 * MIB


def test_one_who_takes_a_whole_version_does_not_shut_the_others_out() -> None:
    workload = taking(1024 * 1024 * MIB, *[MIB] * (BODIES_MIN - 1))
    workload.end(MIB, 250 * MIB, now=250 * MS)
    workload.begin(MIB, now=250 * MS)
    assert workload.admits(MIB)
