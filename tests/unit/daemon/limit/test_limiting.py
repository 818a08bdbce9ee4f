"""Which limits count when; the clock is one that the test puts where it likes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ckptd.config.sections import LimitSpan, LimitsSection
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.core.events import IngressLimited
from ckptd.daemon.limit.limiting import Limiting
from ckptd.errors import NotFound
from ckptd.limits import MIB
from ckptd.model.rate_limits import LimitKey
from ckptd.model.timetable import Span
from ckptd.model.words import Direction, LimitOrigin, Urgency
from ckptd.net.throttle import Throttles

INGRESS = LimitKey(Direction.INGRESS)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Stage:
    """Limits, what follows them, and a clock on the wall."""

    def __init__(self, limits: LimitsSection) -> None:
        self.at = datetime(2026, 6, 1, 12, 0, tzinfo=BERLIN)
        self.told: list[int | None] = []
        self.limiting = Limiting(limits, Throttles.create(), self._hear, self._clock)
        self.limiting.start()

    def _hear(self, event: IngressLimited) -> None:
        self.told.append(event.bytes_per_s)

    def _clock(self) -> float:
        return self.at.timestamp()

    def rate_at(self, at: datetime) -> int | None:
        """Return what limits ingress when the clock is there."""
        self.at = at
        (row,) = [row for row in self.limiting.view().limits if row.limit == "ingress.total"]
        return row.bytes_per_s

    def changes(self, start: datetime, hours: int) -> list[tuple[str, int | None]]:
        """Return each minute at which another limit begins to count, as local time."""
        found: list[tuple[str, int | None]] = []
        utc = start.astimezone(ZoneInfo("UTC"))
        for minute in range(hours * 60):
            at = (utc + timedelta(minutes=minute)).astimezone(BERLIN)
            rate = self.rate_at(at)
            if not found or found[-1][1] != rate:
                found.append((at.strftime("%d %H:%M %Z"), rate))
        return found


def scheduled(start: str, end: str) -> LimitsSection:
    start_minute, end_minute = (int(time[:2]) * 60 + int(time[3:]) for time in (start, end))
    entry = LimitSpan(span=Span(start_minute, end_minute), rates={INGRESS: MIB})
    return LimitsSection(rates={INGRESS: 9 * MIB}, schedule=(entry,))


@pytest.mark.usefixtures("_in_berlin")
def test_a_schedule_is_followed_across_midnight_for_days() -> None:
    stage = Stage(scheduled("22:00", "06:00"))
    assert stage.changes(datetime(2026, 6, 1, 12, 0, tzinfo=BERLIN), 48) == [
        ("01 12:00 CEST", 9 * MIB),
        ("01 22:00 CEST", MIB),
        ("02 06:00 CEST", 9 * MIB),
        ("02 22:00 CEST", MIB),
        ("03 06:00 CEST", 9 * MIB),
    ]


@pytest.mark.usefixtures("_in_berlin")
def test_an_hour_that_is_missing_in_spring_is_passed_over() -> None:
    """On 29 March 2026 the clock goes from 01:59 to 03:00."""
    start = datetime(2026, 3, 28, 23, 0, tzinfo=BERLIN)
    assert Stage(scheduled("02:30", "04:00")).changes(start, 8) == [
        ("28 23:00 CET", 9 * MIB),
        ("29 03:00 CEST", MIB),
        ("29 04:00 CEST", 9 * MIB),
    ]
    assert Stage(scheduled("22:00", "06:00")).changes(start, 8) == [
        ("28 23:00 CET", MIB),
        ("29 06:00 CEST", 9 * MIB),
    ]


@pytest.mark.usefixtures("_in_berlin")
def test_an_hour_that_comes_twice_in_autumn_counts_twice() -> None:
    """On 25 October 2026 the clock goes from 02:59 back to 02:00."""
    start = datetime(2026, 10, 24, 23, 0, tzinfo=BERLIN)
    assert Stage(scheduled("02:00", "03:00")).changes(start, 8) == [
        ("24 23:00 CEST", 9 * MIB),
        ("25 02:00 CEST", MIB),
        ("25 03:00 CET", 9 * MIB),
    ]
    assert Stage(scheduled("02:30", "02:45")).changes(start, 8) == [
        ("24 23:00 CEST", 9 * MIB),
        ("25 02:30 CEST", MIB),
        ("25 02:45 CEST", 9 * MIB),
        ("25 02:30 CET", MIB),
        ("25 02:45 CET", 9 * MIB),
    ]


async def test_what_somebody_set_counts_before_the_time_of_day_and_that_before_the_rest() -> None:
    always = LimitSpan(span=Span(0, 0), rates={INGRESS: 2 * MIB})
    late = LimitSpan(span=Span(0, 0), rates={INGRESS: 3 * MIB})
    stage = Stage(LimitsSection(rates={INGRESS: MIB}, schedule=(always, late)))
    (row,) = stage.limiting.view().limits
    assert (row.bytes_per_s, row.origin) == (3 * MIB, LimitOrigin.SCHEDULE), (
        "the last one of several"
    )
    (row,) = stage.limiting.change(ChangeLimits(set={"ingress.total": "unlimited"})).limits
    assert (row.bytes_per_s, row.origin, row.configured_bytes_per_s) == (
        None,
        LimitOrigin.RUNTIME,
        3 * MIB,
    )
    stage.limiting.change(ChangeLimits(unset=("ingress.total",)))
    assert stage.told == [3 * MIB, None, 3 * MIB]


async def test_only_what_is_limited_is_told() -> None:
    stage = Stage(LimitsSection())
    changes = {"egress.background": "2MiB/s", "ingress.peers.a": "unlimited"}
    stage.limiting.change(ChangeLimits(set=changes))
    assert stage.limiting.effective() == {LimitKey(Direction.EGRESS, Urgency.BACKGROUND): 2 * MIB}


def test_an_interface_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFound, match="'eth77': is not there"):
        Stage(LimitsSection(yield_to="eth77"))
