"""What is said of a number, and when nothing is."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.competitors import Fetched
from tests.benchmarks.daemons import Ckptd
from tests.benchmarks.rows import MS, Number, Results, cost, faster, time_ratio
from tests.benchmarks.turns import Measured

SIZE_BYTES = 1000


def results(**seconds: Sequence[float]) -> Results:
    """Return what competitors needed, turn after turn; their fact is ten times that."""
    return {
        name: Measured(
            Ckptd(name), SIZE_BYTES, [Fetched(each, {"fact": 10 * each}) for each in turns]
        )
        for name, turns in seconds.items()
    }


def test_a_ratio_of_rates_is_that_of_the_medians_with_each_round_beside_it() -> None:
    measured = faster("mine", "other", 0.8).number(results(mine=(2, 4, 2), other=(1, 3, 3)))
    assert measured.value == 1.5
    assert measured.rounds == (0.5, 0.75, 1.5)


def test_a_ratio_of_times_is_the_other_way_round() -> None:
    measured = time_ratio("mine", "other", 1.0).number(results(mine=(2, 4, 2), other=(1, 4, 4)))
    assert measured.value == 0.5
    assert measured.rounds == (2, 1, 0.5)


def test_a_cost_is_a_fact_in_its_unit() -> None:
    measured = cost("a cost", "mine", "fact", 1, unit=5).number(results(mine=(1, 3, 2)))
    assert measured.value == 4
    assert measured.rounds == (2, 6, 4)


def test_nobody_to_compare_with_is_no_number() -> None:
    for row in (
        faster("mine", "other", 1.0),
        time_ratio("mine", "other", 1.0),
        cost("a cost", "other", "fact", 1),
    ):
        measured = row.number(results(mine=(1,)))
        assert measured.value is None
        assert row.verdict(measured) == ""


def test_steady_rounds_are_called() -> None:
    row = faster("mine", "other", 0.8)
    assert row.verdict(Number(0.8, "", (0.75, 0.8, 0.9))) == "ok"
    assert row.verdict(Number(0.79, "", (0.75, 0.79, 0.9))) == "MISSED"


def test_rounds_that_sway_by_more_than_a_third_are_not_called() -> None:
    row = faster("mine", "other", 0.8)
    assert row.verdict(Number(1.0, "", (0.9, 1.0, 1.3))) == "sways by 40%"
    assert row.verdict(Number(0.5, "", (0.4, 0.5, 0.6))) == "sways by 40%"


def test_classes_do_not_sway_because_their_bounds_lie_far_apart() -> None:
    row = cost("loop lag, ms", "mine", "fact", 50, MS)
    assert row.verdict(Number(10.0, "", (5.0, 10.0, 25.0))) == "ok"


def test_what_is_for_information_is_not_called() -> None:
    assert faster("mine", "other", None).verdict(Number(1.0, "", (1.0, 1.0))) == ""


def test_what_is_for_information_is_said_to_sway() -> None:
    row = faster("mine", "other", None)
    assert row.verdict(Number(1.0, "", (0.9, 1.0, 1.3))) == "sways by 40%"
