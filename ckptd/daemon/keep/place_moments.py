"""Since when places stand and were checked, by a clock that never jumps.

The catalog keeps dates, for they outlive the daemon. Dates are of a clock that people and time
servers set, so each is turned into a moment once, when it is first seen, and ages run evenly then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from ckptd.store.published.places import Place

_FUTURE_S: Final = 60.0
"""A date that lies further ahead says nothing: the clock was wrong then, or is now."""


class PlaceMoment(NamedTuple):
    """The dates of a place, and the moments on the monotonic clock that they stand for.

    Attributes:
        added_at_s: When it was recorded first, in Unix time; 0: not known.
        checked_at_s: When all of it was found right last, likewise.
        added_s: The first as a moment; ``None``: not known.
        checked_s: The second.
    """

    added_at_s: float
    checked_at_s: float
    added_s: float | None
    checked_s: float | None

    @property
    def known_good_s(self) -> float | None:
        """When all of it was right for sure."""
        return self.added_s if self.checked_s is None else self.checked_s


class PlaceMoments:
    """Knows the moments of all places. Belongs to the event loop.

    Args:
        wall_clock: Unix time.
        clock: The moment in seconds, by a clock that never jumps.
    """

    def __init__(
        self, wall_clock: Callable[[], float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall_clock = wall_clock
        self._clock = clock
        self._looked_s: float | None = None
        self._known: dict[int, PlaceMoment] = {}

    def look(self, places: Iterable[Place]) -> Mapping[int, PlaceMoment]:
        """Return the moments of all the places there are, by number."""
        now_s, known, before = self._clock(), {}, self._known
        for place in places:
            moment = before.get(place.number)
            if moment is None or moment[:2] != (place.added_at_s, place.checked_at_s):
                moment = self._moment(place, moment, now_s=now_s)
            known[place.number] = moment
        self._known, self._looked_s = known, now_s
        return known

    def age_s(self, moment_s: float | None) -> float | None:
        """Return how long ago a moment was."""
        return None if moment_s is None else max(self._clock() - moment_s, 0.0)

    def _moment(self, place: Place, before: PlaceMoment | None, *, now_s: float) -> PlaceMoment:
        added_s = self._moment_of(place.added_at_s, now_s=now_s)
        if before is not None and before.added_at_s == place.added_at_s:
            added_s = before.added_s
        checked_s = self._moment_of(place.checked_at_s, now_s=now_s)
        return PlaceMoment(place.added_at_s, place.checked_at_s, added_s, checked_s)

    def _moment_of(self, date_s: float, *, now_s: float) -> float | None:
        """Return what a date stands for that was not seen before."""
        if not date_s:
            return None
        age_s = self._wall_clock() - date_s
        if self._looked_s is not None:
            # Written since the last look, whatever the wall clock was set to meanwhile.
            return now_s - min(max(age_s, 0.0), now_s - self._looked_s)
        return None if age_s < -_FUTURE_S else now_s - max(age_s, 0.0)
