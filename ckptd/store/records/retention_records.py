"""What retention must not forget: what it is removing, and which directories have readers.

A removal that a crash interrupts is brought to its end by the next start. A reader that was given a
path reads on while the daemon restarts; how long is not written down, so the next life counts again
from its start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class ReadDirectory(NamedTuple):
    """Where a version stands that somebody reads: name of the root, path below it."""

    root: str
    directory: str


class RetentionRecords:
    """The tables ``removals`` and ``leases``. All methods raise what :meth:`Database.run` raises.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def removals(self) -> frozenset[int]:
        """Return the places whose removal was begun. Those that are gone are forgotten by now."""

        def read(connection: Connection) -> frozenset[int]:
            return frozenset(
                number for (number,) in connection.execute("SELECT place FROM removals")
            )

        return await self._database.run(read)

    async def begin_removal(self, numbers: Iterable[int]) -> None:
        """Write down that places are off offer from here on, and that their files go; durable.

        Those that are not known any more are passed over.
        """
        rows = [(number,) for number in numbers]

        def work(connection: Connection) -> None:
            connection.executemany(
                "INSERT OR IGNORE INTO removals SELECT place FROM places WHERE place = ?", rows
            )

        await self._database.run(work)

    async def end_removal(self, numbers: Iterable[int]) -> None:
        """Write down that places stay after all. Those that are gone need not be named."""
        rows = [(number,) for number in numbers]
        await self._database.run(
            lambda connection: connection.executemany("DELETE FROM removals WHERE place = ?", rows)
        )

    async def leases(self) -> frozenset[ReadDirectory]:
        """Return the directories that have readers, or had when the daemon ended."""

        def read(connection: Connection) -> frozenset[ReadDirectory]:
            rows = connection.execute("SELECT root, directory FROM leases")
            return frozenset(ReadDirectory(*row) for row in rows)

        return await self._database.run(read)

    async def note_lease(self, read: ReadDirectory) -> None:
        """Write down that a directory has a reader; durable."""
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT OR IGNORE INTO leases VALUES (?, ?)", read
            )
        )

    async def end_leases(self, ended: Iterable[ReadDirectory]) -> None:
        """Write down that directories have no readers any more."""
        rows = list(ended)
        await self._database.run(
            lambda connection: connection.executemany(
                "DELETE FROM leases WHERE root = ? AND directory = ?", rows
            )
        )
