"""The section ``[limits]``: rates always and by time of day, and the interface to yield to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ckptd.config.document import Document
from ckptd.config.sections import LimitSpan, LimitsSection
from ckptd.errors import UsageError
from ckptd.model.rate_limits import (
    PEER_LIMITS_MAX,
    LimitKey,
    RateLimits,
    parse_limit,
    parse_limit_key,
)
from ckptd.model.timetable import DAY_MINUTES, DAYS, Span
from ckptd.model.toml_text import kind_of, text
from ckptd.model.words import Direction, Urgency

SPANS_MAX: Final = 64

_DIRECTIONS: Final = tuple(direction.value for direction in Direction)
_CLASSES: Final = tuple(urgency.label for urgency in Urgency)
_RATES: Final = (*_DIRECTIONS, *_CLASSES, "peers")
_TIME: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)", re.ASCII)


def read_limits(document: Document) -> LimitsSection:
    """Read the section.

    Raises:
        ConfigurationError: It cannot be used.
    """
    table = document.table("limits")
    document.check_keys("limits.", table, (*_RATES, "schedule", "yield_to", "yield_rate"))
    keys = document.keys("limits", LimitsSection)
    if keys.get("yield_rate_bytes_per_s") is not None and keys.get("yield_to") is None:
        document.fail("limits.yield_rate", "has no interface", "Name it in limits.yield_to.")
    return LimitsSection(
        rates={key: rate for key, rate in _rates(document, "limits", table) if rate is not None},
        schedule=tuple(_schedule(document, table.get("schedule", []))),
        **keys,
    )


def _rates(
    document: Document, name: str, table: Mapping[str, object]
) -> Iterator[tuple[LimitKey, int | None]]:
    """Yield the rates of a table and of those below it for classes and peers."""
    for scope, values in (("total", table), *((each, table.get(each, {})) for each in _CLASSES)):
        place = name if values is table else f"{name}.{scope}"
        known = _table(document, place, values)
        if values is not table:
            document.check_keys(f"{place}.", known, _DIRECTIONS)
        yield from _rates_of(document, place, known, scope)
    peers = _table(document, f"{name}.peers", table.get("peers", {}))
    if len(peers) > PEER_LIMITS_MAX:
        document.fail(f"{name}.peers", f"has {len(peers)} peers, more than {PEER_LIMITS_MAX}")
    for peer, values in peers.items():
        place = f"{name}.peers.{peer[:64]}"
        known = _table(document, place, values)
        document.check_keys(f"{place}.", known, _DIRECTIONS)
        yield from _rates_of(document, place, known, f"peers.{peer}")


def _rates_of(
    document: Document, place: str, table: Mapping[str, object], scope: str
) -> Iterator[tuple[LimitKey, int | None]]:
    for direction in _DIRECTIONS:
        if direction in table:
            name = f"{place}.{direction}"
            rates: RateLimits = {}
            with document.collecting():
                key = document.parse(name, f"{direction}.{scope}", text(parse_limit_key))
                rates = {key: document.parse(name, table[direction], text(parse_limit))}
            yield from rates.items()


def _schedule(document: Document, entries: object) -> Iterator[LimitSpan]:
    if not isinstance(entries, list):
        document.fail("limits.schedule", f"is {kind_of(entries)}", "Write [[limits.schedule]].")
    if len(entries) > SPANS_MAX:
        document.fail("limits.schedule", f"has {len(entries)} entries, more than {SPANS_MAX}")
    for number, entry in enumerate(entries):
        place = f"limits.schedule[{number}]"
        table = _table(document, place, entry)
        document.check_keys(f"{place}.", table, (*_RATES, "from", "until", "days"))
        for key in ("from", "until"):
            if key not in table:
                document.fail(f"{place}.{key}", "is missing", 'Write a time like "08:00".')
        start, end = (
            document.parse(f"{place}.{key}", table[key], text(_minute)) for key in ("from", "until")
        )
        days = document.parse(f"{place}.days", table.get("days", list(DAYS)), _days)
        rates: RateLimits = dict(_rates(document, place, table))
        if not rates:
            document.fail(place, "limits nothing", 'Write e.g. ingress = "100MiB/s".')
        yield LimitSpan(span=Span(start % DAY_MINUTES, end % DAY_MINUTES, days), rates=rates)


def _table(document: Document, name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        document.fail(name, f"is {kind_of(value)}, not a table", f"Begin it with [{name}].")
    return value


def _minute(time: str) -> int:
    match = _TIME.fullmatch(time)
    minute = int(match[1]) * 60 + int(match[2]) if match else -1
    if not 0 <= minute <= DAY_MINUTES:
        raise UsageError(f"time {time[:40]!r}", "is not from 00:00 to 24:00")
    return minute


def _days(value: object) -> frozenset[int]:
    if not isinstance(value, list) or not value:
        raise UsageError("", f"is {kind_of(value)}, not a list", 'Write ["mon", "tue"].')
    if any(day not in DAYS for day in value):
        raise UsageError("", f"has something else than {', '.join(DAYS)}")
    return frozenset(DAYS.index(day) for day in value)
