"""Blocks threads until they may move bytes; :mod:`ckptd.traffic.buckets` decides who may.

As long as nothing is limited that costs the reading of one attribute for each piece.

Of all that wait one thread *watches*: it sleeps until the next piece may be granted, and wakes
whoever is granted one. The others sleep until then, or until it is their turn to watch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ckptd.limits import KIB, MS, SECOND
from ckptd.model.words import Direction, Urgency
from ckptd.traffic.buckets import Ceilings, Flow, Shaper, Ticket

RECHECK_NS: Final = 50 * MS
"""How often a waiting thread checks whether its bytes are still wanted, and how often a lane
reports that it is held back."""

SEND_TRICKLE_BYTES: Final = 512
"""Enough to be seen at the other end."""
TAKE_TRICKLE_BYTES: Final = 16 * KIB
"""80 KiB/s: a source cuts off receivers that take less than 64."""

_SHARE_WINDOW_NS: Final = SECOND


class _Queue:
    """How long at least one thread of a class has waited."""

    def __init__(self) -> None:
        self.count = 0
        self._total_ns = 0
        self._since_ns = 0
        self._marks = ((0, 0), (0, 0))  # the two last moments at least a window apart, and totals

    def total_ns(self, *, now: int) -> int:
        return self._total_ns + (now - self._since_ns if self.count else 0)

    def change(self, by: int, *, now: int) -> None:
        self.share(now=now)
        self._total_ns = self.total_ns(now=now)
        self._since_ns = now
        self.count += by

    def share(self, *, now: int) -> float:
        """Return the share of the last one to two seconds in which a thread waited."""
        total_ns = self.total_ns(now=now)
        if now - self._marks[1][0] >= _SHARE_WINDOW_NS:
            self._marks = (self._marks[1], (now, total_ns))
        since_ns, before_ns = self._marks[0]
        return (total_ns - before_ns) / max(now - since_ns, 1)


class Throttle:
    """One direction.

    Args:
        trickle_bytes: What a thread that has waited long is granted ahead of its turn.
        clock: Nanoseconds that go on.

    Attributes:
        is_limiting: Something is limited; else nobody need call :meth:`take`.
        moved_bytes: What was granted and not given back, by class.
    """

    def __init__(
        self, *, trickle_bytes: int = 0, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.is_limiting = False
        self.moved_bytes = dict.fromkeys(Urgency, 0)
        self._clock = clock
        self._shaper = Shaper(trickle_bytes=trickle_bytes)
        self._lock = threading.Lock()
        self._wakes: dict[Ticket, threading.Condition] = {}
        self._watcher: Ticket | None = None
        self._queues = {urgency: _Queue() for urgency in Urgency}

    def change(self, ceilings: Ceilings) -> None:
        """Set the limits again; they count at once."""
        with self._lock:
            self._shaper.change(ceilings, now=self._clock())
            self._changed()

    def allow(self, name: str, since: Urgency, rate_bytes_per_s: int | None) -> None:
        """Set the allowance of the classes that give way; see :meth:`Shaper.allow`.

        Args:
            name: Who grants it.
            since: The most urgent class that gives way.
            rate_bytes_per_s: For all of them together; ``None``: no allowance any more.
        """
        with self._lock:
            self._shaper.allow(name, since, rate_bytes_per_s, now=self._clock())
            self._changed()

    def limit_of(self, flow: Flow) -> int | None:
        """Return the lowest limit on a flow, in bytes per second."""
        with self._lock:
            return self._shaper.limit_of(flow)

    def take(self, flow: Flow, size_bytes: int, *, unless: Callable[[], bool]) -> int:
        """Wait until bytes may be moved; blocks.

        Args:
            flow: What they belong to.
            size_bytes: How many there are, at least 1.
            unless: Asked every :data:`RECHECK_NS` while waiting: is it not wanted any more?

        Returns:
            How many may be moved now; 0 if it is not wanted any more.
        """
        with self._lock:
            now = self._clock()
            ticket = self._shaper.ask(flow, size_bytes, now=now)
            next_ns = self._grant(now)
            if not ticket.granted_bytes:
                self._wait(ticket, next_ns, unless)
            self.moved_bytes[flow.urgency] += ticket.granted_bytes
            return ticket.granted_bytes

    def give_back(self, flow: Flow, size_bytes: int) -> None:
        """Return what was granted and did not move."""
        with self._lock:
            self._shaper.give_back(flow, size_bytes)
            self.moved_bytes[flow.urgency] -= size_bytes

    def throttled_s(self) -> dict[Urgency, float]:
        """Return for how long at least one thread of each class has waited since the start."""
        with self._lock:
            now = self._clock()
            queues = self._queues.items()
            return {urgency: queue.total_ns(now=now) / SECOND for urgency, queue in queues}

    def share(self, urgency: Urgency) -> float:
        """Return the share of the last one to two seconds in which a thread of a class waited."""
        with self._lock:
            return self._queues[urgency].share(now=self._clock())

    def _wait(self, ticket: Ticket, next_ns: int, unless: Callable[[], bool]) -> None:
        """Wait for a grant, or until the bytes are not wanted any more.

        The caller holds the lock, and holds it again when this returns.
        """
        queue = self._queues[ticket.flow.urgency]
        queue.change(1, now=self._clock())
        wake = self._wakes[ticket] = threading.Condition(self._lock)
        self._watcher = ticket  # whoever came last knows best when the next piece is due
        checked_ns = ticket.asked_ns
        try:
            while ticket in self._shaper:
                is_watching = self._watcher is ticket
                sleep_ns = min(next_ns, RECHECK_NS) if is_watching else RECHECK_NS
                wake.wait(sleep_ns / SECOND)
                now = self._clock()
                next_ns = self._grant(now)
                if ticket in self._shaper and now - checked_ns >= RECHECK_NS - MS:
                    checked_ns = now
                    if self._is_unwanted(unless) and ticket in self._shaper:
                        self._shaper.withdraw(ticket)
        finally:
            del self._wakes[ticket]
            queue.change(-1, now=self._clock())
            if self._watcher is ticket:
                self._watcher = None
                self._wake_one()

    def _is_unwanted(self, unless: Callable[[], bool]) -> bool:
        self._lock.release()
        try:
            return unless()
        finally:
            self._lock.acquire()

    def _changed(self) -> None:
        self.is_limiting = self._shaper.is_limiting
        self._grant(self._clock())
        self._wake_one()

    def _grant(self, now: int) -> int:
        granted, next_ns = self._shaper.grant(now=now)
        for ticket in granted:
            if ticket in self._wakes:
                self._wakes[ticket].notify()
        return next_ns

    def _wake_one(self) -> None:
        """Wake one waiting thread, so that it finds out how long to sleep as the watcher."""
        if self._watcher is None:
            self._watcher = next((each for each in self._wakes if each in self._shaper), None)
        if self._watcher is not None:
            self._wakes[self._watcher].notify()


class Throttles(NamedTuple):
    """All directions of one node."""

    ingress: Throttle
    egress: Throttle
    disk_write: Throttle

    @classmethod
    def create(cls) -> Throttles:
        """Return throttles that limit nothing yet."""
        return cls(
            ingress=Throttle(trickle_bytes=TAKE_TRICKLE_BYTES),
            egress=Throttle(trickle_bytes=SEND_TRICKLE_BYTES),
            disk_write=Throttle(trickle_bytes=TAKE_TRICKLE_BYTES),
        )

    def by_direction(self) -> Mapping[Direction, Throttle]:
        """Return the throttles by what they limit."""
        return {
            Direction.INGRESS: self.ingress,
            Direction.EGRESS: self.egress,
            Direction.DISK_WRITE: self.disk_write,
        }
