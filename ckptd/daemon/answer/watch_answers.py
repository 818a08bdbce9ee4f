"""What the daemon says of itself to those who watch it: events, log lines, health, findings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

from ckptd.control.messages.observation import (
    DoctorMessage,
    EventMessage,
    EventRecord,
    FollowQuery,
    HealthView,
    Idle,
    LevelRequest,
    LevelView,
    LineMessage,
    LineRecord,
    Lost,
)
from ckptd.daemon.doctor.findings import Doctor
from ckptd.daemon.settings.verbosity import Verbosity
from ckptd.observe.logs import Log, LoggedEvent, LoggedLine
from ckptd.observe.ring import Numbered, Ring

IDLE_S: Final = 10.0
"""How often a stream says that there is nothing new; a client waits for 30 s."""

_BATCH: Final = 100
"""Entries taken at once; a reader that is slower than the ring turns loses whole batches."""

_Entry = TypeVar("_Entry")
_Message = TypeVar("_Message")


class WatchAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about the daemon itself.

    Args:
        log: The log of this process.
        verbosity: Changes how much it says.
        doctor: Looks for what could be in the way.
        obstacle: Says why the daemon is not ready; empty if it is.
        components: Says of each part of the daemon what is wrong with it; empty if nothing is.
    """

    def __init__(
        self,
        log: Log,
        verbosity: Verbosity,
        doctor: Doctor,
        *,
        obstacle: Callable[[], str],
        components: Callable[[], dict[str, str]],
    ) -> None:
        self._log = log
        self._verbosity = verbosity
        self._doctor = doctor
        self._obstacle = obstacle
        self._components = components

    def health(self) -> HealthView:
        """Return whether the daemon can be relied on."""
        obstacle = self._obstacle()
        return HealthView(is_ready=not obstacle, obstacle=obstacle, components=self._components())

    def log_level(self) -> LevelView:
        """Return the level of the log."""
        return self._verbosity.view()

    def set_log_level(self, request: LevelRequest) -> LevelView:
        """Change the level of the log; a time that was set before is forgotten."""
        return self._verbosity.change(request)

    async def events(self, query: FollowQuery) -> AsyncGenerator[EventMessage, None]:
        """Yield events."""
        async for message in _read(self._log.events, query, _event_record):
            yield message

    async def lines(self, query: FollowQuery) -> AsyncGenerator[LineMessage, None]:
        """Yield lines of the log."""
        async for message in _read(self._log.lines, query, _line_record):
            yield message

    def examine(self) -> AsyncGenerator[DoctorMessage, None]:
        """Look at everything that could be in the way."""
        return self._doctor.examine()


async def _read(
    ring: Ring[_Entry], query: FollowQuery, record: Callable[[Numbered[_Entry]], _Message]
) -> AsyncGenerator[_Message | Lost | Idle, None]:
    # Ids begin again with the daemon: who has more of them has read another life of it.
    seen = query.since if query.since <= ring.last_id else 0
    end = ring.last_id
    while True:
        lost, entries = ring.after(seen, at_most=_BATCH)
        if lost:
            yield Lost(count=lost)
        for entry in entries:
            if not query.follow and entry.id > end:
                break
            yield record(entry)
        seen = entries[-1].id if entries else seen + lost
        if entries and (query.follow or seen < end):
            continue
        yield Idle(last_id=seen)
        if not query.follow:
            return
        try:
            async with asyncio.timeout(IDLE_S):
                await ring.wait(seen)
        except TimeoutError:
            continue


def _event_record(numbered: Numbered[LoggedEvent]) -> EventRecord:
    entry = numbered.entry
    facts = {
        name: fact if isinstance(fact, str | int | float | None) else str(fact)
        for name, fact in entry.facts.items()
    }
    return EventRecord(
        id=numbered.id, at_s=round(entry.at_s, 3), level=entry.level, event=entry.event, facts=facts
    )


def _line_record(numbered: Numbered[LoggedLine]) -> LineRecord:
    entry = numbered.entry
    return LineRecord(id=numbered.id, at_s=round(entry.at_s, 3), level=entry.level, text=entry.text)
