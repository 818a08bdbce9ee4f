"""Moments at which something is due, against a plain table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.state.alarms import Alarms


def test_the_earliest_moment_is_known_and_due_keys_come_in_order() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("late", 30)
    alarms.set("soon", 10)
    alarms.set("then", 20)
    assert alarms.earliest() == 10
    assert alarms.take_due(9) == []
    assert alarms.take_due(20) == ["soon", "then"]
    assert alarms.earliest() == 30


def test_a_moment_that_moved_or_was_cancelled_does_not_come() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("moved", 10)
    alarms.set("moved", 40)
    alarms.set("cancelled", 20)
    alarms.set("cancelled", None)
    assert alarms.take_due(39) == []
    assert alarms.take_due(40) == ["moved"]
    assert alarms.earliest() is None


def test_a_moment_that_moves_to_and_fro_leaves_nothing_behind() -> None:
    alarms: Alarms[str] = Alarms()
    for now in range(1000):
        alarms.set("lane", now + 20)
        alarms.set("lane", now + 10)
        assert alarms.earliest() == now + 10
        assert len(alarms._heap) <= 20, "what was superseded goes when it comes up"


def test_a_key_is_there_while_its_moment_has_not_come() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("lane", 10)
    assert "lane" in alarms
    assert "other" not in alarms
    alarms.take_due(10)
    assert "lane" not in alarms


def test_keys_of_one_moment_come_as_they_were_set_and_need_not_compare() -> None:
    alarms: Alarms[complex] = Alarms()
    for key in (2j, 1j, 3j):
        alarms.set(key, 10)
    assert alarms.take_due(10) == [2j, 1j, 3j]


def test_a_moment_that_is_set_again_is_entered_once() -> None:
    alarms: Alarms[str] = Alarms()
    for _ in range(3):
        alarms.set("lane", 10)
    assert len(alarms._heap) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))
    )
)
def test_alarms_agree_with_a_table(
    steps: list[tuple[int, int | None, int | None]],
) -> None:
    alarms: Alarms[int] = Alarms()
    table: dict[int, int] = {}
    for key, at_ns, now in steps:
        alarms.set(key, at_ns)
        table.pop(key, None)
        if at_ns is not None:
            table[key] = at_ns
        if now is not None:
            taken = alarms.take_due(now)
            assert set(taken) == {key for key, moment in table.items() if moment <= now}
            moments = [table.pop(key) for key in taken]
            assert moments == sorted(moments)
        assert alarms.earliest() == min(table.values(), default=None)
