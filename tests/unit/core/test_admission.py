"""A source takes on what it can send in about a second, and a few bodies in any case."""

from __future__ import annotations

from ckptd.core.admission import BODIES_MIN, Admission
from ckptd.limits import MIB, MS, RANGE_BYTES_MAX


def taking(*sizes: int) -> Admission:
    """A source that has taken on some bodies."""
    admission = Admission()
    for size_bytes in sizes:
        admission.begin(size_bytes, now=0)
    return admission


def test_a_few_bodies_are_taken_on_however_long_they_are() -> None:
    admission = taking(*[RANGE_BYTES_MAX] * (BODIES_MIN - 1))
    assert admission.admits(RANGE_BYTES_MAX)
    admission.begin(RANGE_BYTES_MAX, now=0)
    assert not admission.admits(1)
    admission.end(RANGE_BYTES_MAX, 0, now=0)
    assert admission.admits(1)


def test_more_bodies_are_taken_on_as_far_as_they_are_sent_in_a_second() -> None:
    admission = taking(*[MIB] * BODIES_MIN)
    admission.end(MIB, 20 * MIB, now=250 * MS)
    admission.begin(MIB, now=250 * MS)
    assert admission.sent_bytes_per_s == 80 * MIB
    while admission.admits(MIB):
        admission.begin(MIB, now=250 * MS)
    assert admission.load_bytes == 80 * MIB


def test_the_time_without_bodies_does_not_count() -> None:
    admission = taking(MIB)
    admission.end(MIB, MIB, now=250 * MS)
    admission.begin(MIB, now=10_000 * MS)
    admission.end(MIB, MIB, now=10_250 * MS)
    assert admission.sent_bytes_per_s == 4 * MIB


def test_a_slow_moment_costs_a_tenth() -> None:
    admission = taking(100 * MIB, MIB)
    admission.end(100 * MIB, 100 * MIB, now=1000 * MS)
    admission.end(MIB, 0, now=2000 * MS)
    assert admission.sent_bytes_per_s == 90 * MIB


def test_one_who_takes_a_whole_version_does_not_shut_the_others_out() -> None:
    admission = taking(1024 * 1024 * MIB, *[MIB] * (BODIES_MIN - 1))
    admission.end(MIB, 250 * MIB, now=250 * MS)
    admission.begin(MIB, now=250 * MS)
    assert admission.admits(MIB)
