"""Feeds the scheduler: events in, effects out, one timer.

Everything here runs on the event loop. An event that is reported while another is being
handled waits its turn, so the scheduler never sees itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ckptd.core.effects import Effect
from ckptd.core.events import Event, TimePassed
from ckptd.core.scheduler import Scheduler
from ckptd.limits import SECOND

Note: TypeAlias = Callable[[Sequence[Event], Sequence[Effect]], None]


class Runtime:
    """Drives the scheduler with the real clock.

    Args:
        scheduler: Decides.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._carry_out: Callable[[Effect], None] | None = None
        self._note: Note = lambda _events, _effects: None
        self._inbox: deque[tuple[Event, ...]] = deque()
        self._is_handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns: int | None = None
        self._now_ns = 0
        self._waiting: list[asyncio.Future[None]] = []

    def connect(self, carry_out: Callable[[Effect], None], note: Note) -> None:
        """Name who carries out orders, and who counts.

        Args:
            carry_out: Given each order, in order. It must not block and must not raise; what
                it starts reports through :meth:`report`.
            note: Called with events and the orders that follow from them, before these are carried
                out.
        """
        self._carry_out = carry_out
        self._note = note

    def now(self) -> int:
        """Return the scheduler's time: the monotonic clock, never behind a deadline it met."""
        self._now_ns = max(self._now_ns, time.monotonic_ns())
        return self._now_ns

    def report(self, *events: Event) -> None:
        """Report facts that became known together, and see the orders carried out."""
        self._inbox.append(events)
        if self._is_handling:
            return
        assert self._carry_out is not None, "nobody carries out orders"
        self._is_handling = True
        try:
            while self._inbox:
                events = self._inbox.popleft()
                effects = self._scheduler.handle(*events, now=self.now())
                self._note(events, effects)
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._is_handling = False
        self._arm()
        waiting, self._waiting = self._waiting, []
        for handled in waiting:
            if not handled.done():
                handled.set_result(None)

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return once something is true; it is looked at after every event."""
        while not holds():
            handled = asyncio.get_running_loop().create_future()
            self._waiting.append(handled)
            await handled

    def stop(self) -> None:
        """Wake up no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _arm(self) -> None:
        """Set the one timer to the scheduler's next deadline, if that changed."""
        deadline = self._scheduler.next_deadline()
        if deadline == self._timer_at_ns and (deadline is None) == (self._timer is None):
            return
        self.stop()
        self._timer_at_ns = deadline
        if deadline is not None:
            delay_s = max(deadline - time.monotonic_ns(), 0) / SECOND
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake, deadline)

    def _wake(self, deadline: int) -> None:
        self._timer = None
        # A loop's clock may tick a little before the monotonic one; the deadline counts as met.
        self._now_ns = max(self._now_ns, deadline)
        self.report(TimePassed())
