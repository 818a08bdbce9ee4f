"""Prerequisites become at least as urgent as what needs them."""

from __future__ import annotations

from ckptd.model.policy.lifting import Class, Dependent, Lifted, lift
from ckptd.model.words import Criticality

CRITICAL, NORMAL, DEFERRED = Criticality


def unit(
    number: int, phase: int, criticality: Criticality, *after: int, is_required: bool = True
) -> Dependent:
    return Dependent(Class(phase, criticality), is_required, number, after)


def lifted(*units: Dependent) -> dict[int, Lifted]:
    needed = {each for one in units for each in one.after}
    return lift({each.unit: each for each in units if each.unit in needed}, units)


def test_what_is_urgent_already_stays() -> None:
    assert lifted(unit(0, 0, CRITICAL), unit(1, 0, NORMAL, 0), unit(2, 1, CRITICAL, 0)) == {}


def test_one_of_a_later_phase_comes_into_that_of_what_needs_it() -> None:
    assert lifted(unit(0, 1, NORMAL), unit(1, 0, NORMAL, 0)) == {
        0: Lifted(Class(0, NORMAL), True, 1)
    }


def test_a_critical_one_stays_critical_in_the_earlier_phase() -> None:
    assert lifted(unit(0, 2, CRITICAL), unit(1, 1, DEFERRED, 0)) == {
        0: Lifted(Class(1, CRITICAL), True, 1)
    }


def test_within_a_phase_it_becomes_as_urgent() -> None:
    assert lifted(unit(0, 0, DEFERRED), unit(1, 0, CRITICAL, 0), unit(2, 0, NORMAL, 0)) == {
        0: Lifted(Class(0, CRITICAL), True, 1)
    }


def test_it_goes_on_to_the_prerequisites_of_a_prerequisite() -> None:
    chain = [unit(0, 3, DEFERRED), unit(1, 2, NORMAL, 0), unit(2, 1, NORMAL, 1)]
    assert lifted(*chain, unit(3, 0, CRITICAL, 2)) == {
        2: Lifted(Class(0, CRITICAL), True, 3),
        1: Lifted(Class(0, CRITICAL), True, 2),
        0: Lifted(Class(0, CRITICAL), True, 1),
    }


def test_an_optional_one_is_required_with_what_needs_it() -> None:
    first = unit(0, 0, NORMAL, is_required=False)
    assert lifted(first, unit(1, 0, NORMAL, 0), unit(2, 0, NORMAL, 0, is_required=False)) == {
        0: Lifted(Class(0, NORMAL), True, 1)
    }
    assert lifted(first, unit(2, 0, NORMAL, 0, is_required=False)) == {}


def test_of_many_that_need_it_the_most_urgent_counts() -> None:
    needing = [unit(number, 9 - number, NORMAL, 0, is_required=number == 3) for number in range(8)]
    first = unit(99, 8, NORMAL, is_required=False)
    many = [each._replace(after=(99,)) for each in needing]
    assert lifted(first, *many) == {99: Lifted(Class(2, NORMAL), True, 7)}
