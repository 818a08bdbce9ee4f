"""Puts places right in which something is wrong, each by a recovery to where it stands.

Such a recovery is in the journal like any other, and in the background: whoever waits for it asks
for the same version, and it becomes urgent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook, new_recovery_id
from ckptd.errors import CkptdError
from ckptd.model.unit_choice import Choice, format_choice
from ckptd.observe.logs import get_logger
from ckptd.store.published.places import Place
from ckptd.store.records.journal import JournaledRecovery

_SETTLE_S: Final = 1.0
"""After rot was found the rest of its place is looked at for so long, and repaired with it."""

_log = get_logger()


class Repairing:
    """Begins repairs.

    Args:
        storage: Knows what stands where.
        book: All recoveries.
        begin: Hands a recovery to the scheduler.
        wall_clock: Gives Unix time, for dates.
    """

    def __init__(
        self,
        storage: Storage,
        book: RecoveryBook,
        begin: Callable[[OpenRecovery], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._catalog = storage.catalog
        self._journal = storage.journal
        self._roots = storage.roots
        self._book = book
        self._begin = begin
        self._wall_clock = wall_clock
        self._beginning = asyncio.Lock()
        self._rotten: dict[int, None] = {}
        self._is_rotten = asyncio.Event()

    async def repair(self, number: int) -> OpenRecovery | None:
        """Begin to put a place right, unless that is under way.

        Args:
            number: Which place.

        Returns:
            The recovery; ``None`` if nothing is known to be wrong there, or something else is on
            its way to that directory.

        Raises:
            StorageError: The disk refused; nothing was begun.
        """
        async with self._beginning:
            found = self._catalog.place(number)
            if found is None or found[1].root not in self._roots:
                return None
            if not (found[1].changed or found[1].wrong_names):
                return None
            holding, place = found[0].holding, found[1]
            root = self._roots[place.root]
            other = self._book.overlapping(root, place.directory)
            if other is not None:
                is_same = (other.target, other.record.version) == (place.directory, holding.version)
                return other if is_same else None
            record = JournaledRecovery(
                recovery=new_recovery_id(),
                checkpoint=holding.checkpoint,
                version=holding.version,
                digest=None,
                root=place.root,
                target=place.directory,
                patience_ns=None,
                is_paused=False,
                started_at_s=self._wall_clock(),
                is_background=True,
                digest_prefix=holding.digest,
                is_name_awaited=True,
                is_repair=True,
                choice=_what_stands(place),
            )
            await self._journal.begin(record)
            why = f"repair of {root.absolute(place.directory)}"
            recovery = self._book.new(record, root, place.directory, why)
            self._begin(recovery)
            return recovery

    def note_rot(self, number: int) -> None:
        """A unit at a place has rotted: repair it soon."""
        self._rotten[number] = None
        self._is_rotten.set()

    async def run(self) -> None:
        """Repair what has rotted, until cancelled."""
        while True:
            await self._is_rotten.wait()
            self._is_rotten.clear()
            await asyncio.sleep(_SETTLE_S)
            rotten, self._rotten = self._rotten, {}
            for number in rotten:
                try:
                    await self.repair(number)
                except CkptdError as error:
                    _log.warning("version.not_repaired", place=number, why=str(error))


def _what_stands(place: Place) -> str:
    """Return the choice of a repair: what somebody chose stays so, and nothing else is fetched."""
    is_chosen = place.is_by_choice and place.lacking
    return format_choice(Choice(is_what_stands=True) if is_chosen else None)
