"""Lets the next life of the daemon know how long recoveries have been under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

from ckptd.daemon.recover.recoveries import RecoveryBook
from ckptd.errors import CkptdError
from ckptd.model.ids import RecoveryId
from ckptd.observe.logs import get_logger
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.elapsed_times import ElapsedTimes

WRITE_S: Final = 60.0
"""So much of a duration a machine that loses its power forgets, at most."""

_log = get_logger()


class Elapsed:
    """Reads and writes for how long recoveries have been under way.

    Args:
        times: Where that is kept.
        book: All recoveries.
        now: The moment in nanoseconds, on the monotonic clock.
        boot: Names this boot of the machine.
    """

    def __init__(
        self, times: ElapsedTimes, book: RecoveryBook, *, now: Callable[[], int], boot: str
    ) -> None:
        self._times = times
        self._book = book
        self._now = now
        self._boot = boot
        self._has_begun = asyncio.Event()

    async def load(self) -> dict[RecoveryId, int]:
        """Return when each recovery was asked for, on this life's clock; before it, mostly.

        Raises:
            CkptdError: The database refuses.
        """
        now = self._now()
        known = await self._times.load(BootMoment(self._boot, now))
        return {recovery: now - elapsed_ns for recovery, elapsed_ns in known.items()}

    def note_begun(self) -> None:
        """A recovery was begun."""
        self._has_begun.set()

    async def run(self) -> NoReturn:
        """Write at once when one has begun, and else now and then, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(WRITE_S):
                    await self._has_begun.wait()
            except TimeoutError:
                pass
            self._has_begun.clear()
            await self.write()

    async def write(self) -> None:
        """Write it for all that are under way. If the disk refuses, that is logged."""
        now = self._now()
        elapsed_ns = {recovery.id: now - recovery.since_ns for recovery in self._book}
        if not elapsed_ns:
            return
        try:
            await self._times.write(elapsed_ns, BootMoment(self._boot, now))
        except CkptdError as error:
            _log.warning("durations.not_kept", why=str(error))
