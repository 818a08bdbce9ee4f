"""A bucket of processor time: what is spent is not there until it came again."""

from ckptd.limits import MS, SECOND
from ckptd.traffic.coding_time import BURST_NS, CodingTime


def test_what_is_spent_comes_back_with_time() -> None:
    time = CodingTime(0.5)
    assert time.may_code(now=0)
    time.spend(BURST_NS + 100 * MS)
    assert not time.may_code(now=0)
    assert not time.may_code(now=200 * MS)
    assert time.may_code(now=201 * MS)


def test_no_more_is_saved_up_than_a_burst_and_none_without_cores() -> None:
    time = CodingTime(4)
    assert time.may_code(now=3600 * SECOND)
    time.spend(BURST_NS)
    assert not time.may_code(now=3600 * SECOND)
    assert not CodingTime(0).may_code(now=SECOND)
    assert not CodingTime(0).may_code(now=3600 * SECOND)


def test_in_the_long_run_it_is_the_share_that_was_permitted() -> None:
    time, spent_ns = CodingTime(0.5), 0
    for moment in range(0, 10 * SECOND, 10 * MS):
        while time.may_code(now=moment):
            time.spend(3 * MS)
            spent_ns += 3 * MS
    assert 5 * SECOND <= spent_ns <= 5 * SECOND + BURST_NS + 3 * MS
