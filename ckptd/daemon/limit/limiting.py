"""The limits that count now: from the configuration, the time of day, and what somebody set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NoReturn

from ckptd.config import Config
from ckptd.config.sections import LimitsSection
from ckptd.control.messages.limit_settings import ChangeLimits, LimitRow, LimitsView
from ckptd.core.events import IngressLimited
from ckptd.daemon.host.interface import carried
from ckptd.daemon.limit.yielder import Yielder
from ckptd.daemon.settings.reloading import Switch
from ckptd.errors import UsageError
from ckptd.limits import SECOND
from ckptd.model.quantities import format_rate
from ckptd.model.rate_limits import (
    PEER_LIMITS_MAX,
    LimitKey,
    RateLimits,
    parse_limit,
    parse_limit_key,
)
from ckptd.model.words import Direction, LimitOrigin, Urgency
from ckptd.net.throttle import Throttles
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, counters, gauges
from ckptd.traffic.buckets import Ceilings
from ckptd.wire.fields import CLASSES

_CLOCK_LOOK_S: Final = 1.0
"""How often the clock on the wall is looked at; it may be put to another time."""
_MEASURE_S: Final = 0.1

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _Set:
    """A limit that somebody set, and until when by ``time.monotonic_ns``."""

    bytes_per_s: int | None
    until_ns: int | None


class Limiting:
    """The only one that changes limits.

    Args:
        limits: What the configuration says.
        throttles: Keep to them.
        report: Receives what may come.
        wall_clock: Unix time.
    """

    def __init__(
        self,
        limits: LimitsSection,
        throttles: Throttles,
        report: Callable[[IngressLimited], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._configured = limits
        self._throttles = throttles.by_direction()
        self._report = report
        self._wall_clock = wall_clock
        self._set: dict[LimitKey, _Set] = {}
        self._effective: RateLimits = {}
        self._yielder: Yielder | None = None
        self.check_interface(limits)

    def check_interface(self, limits: LimitsSection) -> None:
        """Make sure that the interface to yield to is there.

        Raises:
            NotFound: It is not.
        """
        if limits.yield_to is not None:
            carried(limits.yield_to)

    def start(self) -> None:
        """Let the configuration count; the event loop runs."""
        self._follow_interface()
        self._apply("the daemon starts")

    async def run(self) -> None:
        """Follow the clock and the interface until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_clock())
            tasks.create_task(self._measure())

    def prepare(self, old: Config, new: Config) -> Switch:
        """Follow the configuration; what somebody set goes on."""
        self.check_interface(new.limits)

        def switch() -> None:
            self._configured = new.limits
            if _link(old.limits) != _link(new.limits):
                self._follow_interface()
            self._apply("the configuration changed")

        return switch

    def change(self, request: ChangeLimits) -> LimitsView:
        """Set limits, or forget what was set.

        Raises:
            UsageError: A name or a rate is none; nothing was changed.
        """
        wanted = {parse_limit_key(name): parse_limit(rate) for name, rate in request.set.items()}
        unset = [parse_limit_key(name) for name in request.unset]
        if len(self._set) + len(wanted) > PEER_LIMITS_MAX:
            raise UsageError("limits", f"are more than {PEER_LIMITS_MAX}", "Unset some.")
        until_ns = None
        if request.for_s is not None:
            until_ns = time.monotonic_ns() + int(request.for_s * SECOND)
            asyncio.get_running_loop().call_later(request.for_s, self._follow_time)
        self._set.update({key: _Set(rate, until_ns) for key, rate in wanted.items()})
        for key in unset:
            self._set.pop(key, None)
        self._apply("somebody changed them")
        return self.view()

    def view(self) -> LimitsView:
        """Return all limits at this moment."""
        rows = []
        scheduled = self._scheduled()
        configured = {**self._configured.rates, **scheduled}
        now = time.monotonic_ns()
        for key in sorted(configured.keys() | self._set.keys(), key=str):
            known = self._set.get(key)
            by_time = LimitOrigin.SCHEDULE if key in scheduled else LimitOrigin.CONFIG
            until_ns = None if known is None else known.until_ns
            rows.append(
                LimitRow(
                    limit=str(key),
                    bytes_per_s=configured.get(key) if known is None else known.bytes_per_s,
                    origin=by_time if known is None else LimitOrigin.RUNTIME,
                    configured_bytes_per_s=configured.get(key),
                    left_s=None if until_ns is None else max(until_ns - now, 0) / SECOND,
                )
            )
        throttled = {
            direction.value: {
                urgency.label: round(waited_s, 3)
                for urgency, waited_s in throttle.throttled_s().items()
            }
            for direction, throttle in self._throttles.items()
        }
        yielding = None if self._yielder is None else self._yielder.view()
        return LimitsView(limits=tuple(rows), throttled_s=throttled, yielding=yielding)

    def effective(self) -> Mapping[LimitKey, int]:
        """Return what is limited now, in bytes per second."""
        return {key: rate for key, rate in self._effective.items() if rate is not None}

    def throttled_s(self) -> Mapping[tuple[Direction, Urgency], float]:
        """Return for how long bodies of each class have waited."""
        return {
            (direction, urgency): waited_s
            for direction, throttle in self._throttles.items()
            for urgency, waited_s in throttle.throttled_s().items()
        }

    def shaper_share(self, *, is_background: bool) -> float:
        """Return for how much of the time lanes of a recovery lately waited for a limit."""
        classes = [urgency for urgency in Urgency if urgency is not Urgency.BACKGROUND]
        return max(
            self._throttles[direction].share(urgency)
            for direction in (Direction.INGRESS, Direction.DISK_WRITE)
            for urgency in ([Urgency.BACKGROUND] if is_background else classes)
        )

    def _scheduled(self) -> RateLimits:
        """Return what counts at this time of day; of several spans the last one."""
        at = time.localtime(self._wall_clock())
        rates: dict[LimitKey, int | None] = {}
        for entry in self._configured.schedule:
            if entry.span.holds(at.tm_wday, at.tm_hour * 60 + at.tm_min):
                rates.update(entry.rates)
        return rates

    def _follow_time(self) -> None:
        now = time.monotonic_ns()
        is_over = [
            key
            for key, known in self._set.items()
            if known.until_ns is not None and known.until_ns <= now
        ]
        for key in is_over:
            del self._set[key]
        self._apply("their time is over" if is_over else "it is another time of day")

    def _apply(self, why: str) -> None:
        chosen = {key: known.bytes_per_s for key, known in self._set.items()}
        effective = {**self._configured.rates, **self._scheduled(), **chosen}
        if effective == self._effective:
            return
        self._effective = effective
        limits = self.effective()
        for direction, throttle in self._throttles.items():
            throttle.change(_ceilings(limits, direction))
        self._report(IngressLimited(limits.get(LimitKey(Direction.INGRESS))))
        shown = " ".join(f"{key}={format_rate(rate)}" for key, rate in list(limits.items())[:20])
        _log.info("limits.changed", limits=shown or "none", why=why)

    def _follow_interface(self) -> None:
        if self._yielder is not None:
            self._yielder.end()
        configured, self._yielder = self._configured, None
        if configured.yield_to is not None:
            self._yielder = Yielder(
                configured.yield_to, configured.yield_rate_bytes_per_s, self._throttles
            )

    async def _follow_clock(self) -> NoReturn:
        while True:
            await asyncio.sleep(_CLOCK_LOOK_S)
            is_timed = any(known.until_ns is not None for known in self._set.values())
            if self._configured.schedule or is_timed:  # a timer may ring a little early
                self._follow_time()

    async def _measure(self) -> NoReturn:
        while True:
            await asyncio.sleep(_MEASURE_S if self._yielder is not None else _CLOCK_LOOK_S)
            if self._yielder is not None:
                self._yielder.measure()


def _ceilings(limits: Mapping[LimitKey, int], direction: Direction) -> Ceilings:
    own = {key: rate for key, rate in limits.items() if key.direction is direction}
    return Ceilings(
        total=own.get(LimitKey(direction)),
        classes={key.urgency: rate for key, rate in own.items() if key.urgency is not None},
        peers={key.peer: rate for key, rate in own.items() if key.peer},
    )


def _link(limits: LimitsSection) -> tuple[str | None, int | None]:
    return limits.yield_to, limits.yield_rate_bytes_per_s


LIMIT_METRICS: Final[Sequence[MetricRow[Mapping[LimitKey, int]]]] = (
    gauges(
        "limit_bytes_per_second",
        "What may move in a second; absent if that is not limited.",
        ("direction", "class"),
        lambda effective: {
            (key.direction.value, "total" if key.urgency is None else key.urgency.label): rate
            for key, rate in effective.items()
            if not key.peer
        },
    ),
)
THROTTLE_METRICS: Final[Sequence[MetricRow[Mapping[tuple[Direction, Urgency], float]]]] = (
    counters(
        "throttled_seconds",
        "Time in which a body waited for a limit.",
        ("direction", "class"),
        lambda throttled_s: {
            (direction.value, urgency.label): waited_s
            for (direction, urgency), waited_s in throttled_s.items()
        },
        product((direction.value for direction in Direction), CLASSES),
    ),
)
