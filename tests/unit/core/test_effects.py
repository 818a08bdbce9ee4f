from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from ckptd.core.effects import ENDED_BY, ENDS, CloseLane, Effect, FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed, TimePassed

NAMES = {"recovery", "transfer", "source"}


def names_of(kind: type) -> set[str]:
    return {field.name for field in fields(kind)} & NAMES


@pytest.mark.parametrize(
    ("event", "effect"), sorted(ENDED_BY.items(), key=str), ids=lambda kind: kind.__name__
)
def test_an_event_names_what_it_ends(event: type[Event], effect: type[Effect]) -> None:
    assert names_of(event) & names_of(effect)


def test_every_order_has_a_row_and_an_event_is_in_one_at_most() -> None:
    assert set(ENDS) == set(get_args(Effect))
    assert set(ENDED_BY) < set(get_args(Event))
    assert sorted(ENDED_BY, key=str) == sorted(set().union(*ENDS.values()), key=str)


def test_progress_and_time_end_nothing_and_closing_a_lane_ends_with_its_transfers() -> None:
    assert ENDED_BY.keys().isdisjoint({RangeProgressed, TimePassed})
    assert (ENDS[CloseLane], ENDED_BY[RangeEnded]) == (frozenset(), FetchRange)
