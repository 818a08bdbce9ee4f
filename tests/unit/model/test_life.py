"""The life of a version: what may follow what, and how the table is drawn."""

from __future__ import annotations

import itertools

import pytest

from ckptd.model.life import (
    CHANGES,
    Life,
    LifeCause,
    drawing,
    is_permitted,
    life_at_place,
)


def test_every_state_can_be_reached_and_left_and_every_cause_is_in_the_table() -> None:
    assert {change.after for change in CHANGES} == set(Life)
    assert {change.before for change in CHANGES} == set(Life)
    assert {change.cause for change in CHANGES} == set(LifeCause)
    pairs = [(change.before, change.cause) for change in CHANGES]
    assert len(set(pairs)) == len(pairs), "one cause leads to one state"


def test_what_is_active_is_let_go_in_one_way_only() -> None:
    assert {cause for cause in LifeCause if is_permitted(Life.ACTIVE, cause)} == {
        LifeCause.DEACTIVATE
    }


def test_only_what_is_placed_becomes_active() -> None:
    assert {life for life in Life if is_permitted(life, LifeCause.ACTIVATE)} == {Life.PLACED}


@pytest.mark.parametrize("cause", [LifeCause.WITHDRAW, LifeCause.FORGET, LifeCause.REMOVE])
def test_what_is_placed_may_be_let_go(cause: LifeCause) -> None:
    assert is_permitted(Life.PLACED, cause)


def test_a_place_is_active_before_it_is_withdrawn() -> None:
    found = {
        pair: life_at_place(is_active=pair[0], is_withdrawn=pair[1])
        for pair in itertools.product((False, True), repeat=2)
    }
    assert found == {
        (False, False): Life.PLACED,
        (False, True): Life.WITHDRAWN,
        (True, False): Life.ACTIVE,
        (True, True): Life.ACTIVE,
    }


def test_each_row_of_the_drawing_has_an_arrow_from_state_to_state() -> None:
    header, *rows = drawing().splitlines()
    columns = {life: header.index(life.value) + len(life) // 2 for life in Life}
    for change, row in zip(CHANGES, rows, strict=True):
        start, end = columns[change.before], columns[change.after]
        assert row.endswith(f"   {change.cause.value}")
        assert row[start] == ("├" if start < end else "┤")
        assert row[end] == "│"
        assert row[end - 1 if start < end else end + 1] == ("►" if start < end else "◄")
        assert set(row[min(start, end) + 1 : max(start, end)]) <= set("─►◄")
