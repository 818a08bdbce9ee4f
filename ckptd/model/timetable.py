"""Times of day at which other limits count.

Times are those of the clock on the wall. Where it is put forward, a span that would begin in the
hour that is missing begins with the next one; where it is put back, the hour that comes twice
counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY_MINUTES: Final = 24 * 60
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY: Final = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Span:
    """A time of day on some days of the week.

    Attributes:
        start_minute: Minutes since midnight at which it begins.
        end_minute: … and at which it is over. Not later than the beginning: on the next day.
        days: On which days it begins; Monday is 0.
    """

    start_minute: int
    end_minute: int
    days: frozenset[int] = EVERY_DAY

    def __str__(self) -> str:
        start, end = (
            f"{minute // 60:02}:{minute % 60:02}" for minute in (self.start_minute, self.end_minute)
        )
        days = (
            "" if self.days == EVERY_DAY else " " + ",".join(DAYS[day] for day in sorted(self.days))
        )
        return f"{start}-{end}{days}"

    def holds(self, weekday: int, minute: int) -> bool:
        """Return whether a moment lies in it: the day of the week, and minutes since midnight."""
        if self.start_minute < self.end_minute:
            return weekday in self.days and self.start_minute <= minute < self.end_minute
        if minute >= self.start_minute:
            return weekday in self.days
        return minute < self.end_minute and (weekday - 1) % 7 in self.days
