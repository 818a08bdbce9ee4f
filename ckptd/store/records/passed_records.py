"""Which places have files that are read through descriptors that their owner passed."""

from __future__ import annotations

from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class PassedRecords:
    """The table ``passed``: places that a restart takes off offer unless the descriptors stay.

    Args:
        database: Where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def places(self) -> frozenset[int]:
        """Return the numbers of all such places.

        Raises:
            StorageError: The database cannot be read.
        """

        def read(connection: Connection) -> frozenset[int]:
            return frozenset(number for (number,) in connection.execute("SELECT place FROM passed"))

        return await self._database.run(read)

    async def note(self, number: int, *, is_passed: bool) -> None:
        """Take note of whether a place has such files; durable.

        Args:
            number: Which place.
            is_passed: It has.

        Raises:
            StorageError: The disk refused.
        """
        statement = (
            "INSERT OR IGNORE INTO passed SELECT place FROM places WHERE place = ?"
            if is_passed
            else "DELETE FROM passed WHERE place = ?"
        )
        await self._database.run(lambda connection: connection.execute(statement, (number,)))
