from __future__ import annotations

from ckptd.observe.durations import (
    DURATION_BOUNDS_S,
    NO_RECOVERIES,
    NO_TRANSFERS,
    TRANSFER_BOUNDS_S,
)


def test_a_duration_falls_into_the_class_whose_bound_it_does_not_exceed() -> None:
    last = len(DURATION_BOUNDS_S)
    for duration_s, expected in [(0, 0), (1, 0), (1.001, 1), (14_400, last - 1), (14_401, last)]:
        durations = NO_RECOVERIES.plus(duration_s)
        assert durations.counts.index(1) == expected
        assert sum(durations.counts) == 1
        assert durations.sum_s == duration_s


def test_classes_of_transfers_are_finer() -> None:
    assert NO_TRANSFERS.plus(0.001).counts[0] == 1
    assert NO_TRANSFERS.plus(10.1).counts[len(TRANSFER_BOUNDS_S)] == 1
