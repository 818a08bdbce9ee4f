from __future__ import annotations

from ckptd.model.timetable import DAY_MINUTES, Span

MONDAY, SATURDAY, SUNDAY = 0, 5, 6


def minutes(span: Span, weekday: int) -> list[int]:
    """Return the minutes of a day that lie in a span."""
    return [minute for minute in range(DAY_MINUTES) if span.holds(weekday, minute)]


def test_a_span_has_its_beginning_and_not_its_end() -> None:
    span = Span(8 * 60, 18 * 60)
    assert minutes(span, MONDAY) == minutes(span, SUNDAY) == list(range(8 * 60, 18 * 60))


def test_a_span_goes_on_beyond_midnight() -> None:
    span = Span(22 * 60, 6 * 60)
    assert minutes(span, MONDAY) == [*range(6 * 60), *range(22 * 60, DAY_MINUTES)]


def test_a_span_belongs_to_the_day_on_which_it_begins() -> None:
    span = Span(22 * 60, 6 * 60, frozenset({SUNDAY}))
    assert minutes(span, SATURDAY) == []
    assert minutes(span, SUNDAY) == list(range(22 * 60, DAY_MINUTES))
    assert minutes(span, MONDAY) == list(range(6 * 60))


def test_a_span_that_ends_when_it_begins_is_a_whole_day() -> None:
    assert len(minutes(Span(0, 0), MONDAY)) == DAY_MINUTES
    span = Span(9 * 60, 9 * 60, frozenset({MONDAY}))
    assert minutes(span, MONDAY) == list(range(9 * 60, DAY_MINUTES))
    assert minutes(span, MONDAY + 1) == list(range(9 * 60))


def test_midnight_can_be_the_end() -> None:
    assert minutes(Span(23 * 60, 0), MONDAY) == list(range(23 * 60, DAY_MINUTES))
