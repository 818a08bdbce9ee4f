"""Makes less urgent bodies give way to more urgent ones when they compete for the link itself.

While bodies of several classes are under way, all but the most urgent class share an allowance.
It starts small and grows as long as the most urgent class keeps its rate: that class may be held up
by its receiver, a disk or a link far away, and then capacity is left over. Where the link of this
node is the bottleneck, nothing is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from ckptd.limits import MS, SECOND
from ckptd.model.words import Urgency
from ckptd.net.throttle import Throttle
from ckptd.traffic.allowance import Yielding

_LOOK_INTERVAL_NS: Final = 50 * MS
_NEXT_REQUEST_NS: Final = 100 * MS
"""A connection still counts for this long after a body: its next request may be on its way."""
_NAME: Final = "urgency"


class Sender(Protocol):
    """A connection that sends bodies."""

    @property
    def taken_bytes(self) -> int:
        """What the other end has acknowledged, about."""


@dataclass(slots=True)
class _Meter:
    urgency: Urgency
    taken_bytes: int
    bodies: int = 0
    ended_ns: int = 0


class GivingWay:
    """Watches the bodies that one node sends; used on the event loop.

    Args:
        throttle: That of what is sent.
        clock: Nanoseconds that go on.
    """

    def __init__(self, throttle: Throttle, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._throttle = throttle
        self._clock = clock
        self._meters: dict[Sender, _Meter] = {}
        self._yielding: tuple[Urgency, Yielding] | None = None
        self._looked_ns = 0
        self._next_look: asyncio.TimerHandle | None = None

    @contextmanager
    def sending(self, sender: Sender, urgency: Urgency) -> Iterator[None]:
        """Count a body as under way on a connection."""
        meter = self._meters.setdefault(sender, _Meter(urgency, sender.taken_bytes))
        meter.urgency = urgency
        meter.bodies += 1
        self._judge()
        try:
            yield
        finally:
            meter.bodies -= 1
            meter.ended_ns = self._clock()
            if self._next_look is None:
                self._forget()

    def _judge(self) -> None:
        """Find out which classes have to give way, and begin or end it."""
        classes = {meter.urgency for meter in self._meters.values()}
        if len(classes) < 2:  # noqa: PLR2004 (one class has nobody to give way to)
            if self._yielding is not None:
                self._yielding = None
                self._throttle.allow(_NAME, Urgency.NORMAL, None)
            return
        most_urgent = min(classes)
        if self._yielding is None or self._yielding[0] is not most_urgent:
            self._yielding = (most_urgent, Yielding())
            self._allow(self._yielding[1].allowance_bytes_per_s)
        if self._next_look is None:
            self._looked_ns = self._clock()
            self._measure()
            self._look_later()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_look = loop.call_later(_LOOK_INTERVAL_NS / SECOND, self._look)

    def _look(self) -> None:
        self._next_look = None
        now = self._clock()
        elapsed_ns, self._looked_ns = now - self._looked_ns, now
        taken = self._measure()
        if self._yielding is not None and elapsed_ns > 0:
            most_urgent, yielding = self._yielding
            others = sum(size for urgency, size in taken.items() if urgency <= most_urgent)
            used = sum(taken.values()) - others
            others_rate, used_rate = (size * SECOND / elapsed_ns for size in (others, used))
            self._allow(yielding.observe(others_rate, used_rate, now=now))
        self._forget()
        self._judge()

    def _measure(self) -> dict[Urgency, int]:
        """Return what was taken since the last call, by class."""
        taken = dict.fromkeys(Urgency, 0)
        for sender, meter in self._meters.items():
            taken_bytes = sender.taken_bytes
            taken[meter.urgency] += max(taken_bytes - meter.taken_bytes, 0)
            meter.taken_bytes = taken_bytes
        return taken

    def _allow(self, rate_bytes_per_s: int) -> None:
        assert self._yielding is not None
        self._throttle.allow(_NAME, Urgency(self._yielding[0] + 1), rate_bytes_per_s)

    def _forget(self) -> None:
        """Forget idle connections; recently used ones only if no class gives way."""
        kept_ns = self._clock() - (_NEXT_REQUEST_NS if self._yielding is not None else 0)
        self._meters = {
            sender: meter
            for sender, meter in self._meters.items()
            if meter.bodies or meter.ended_ns > kept_ns
        }
