"""Which units recoveries put where nothing was before: what a cancelled one takes away again.

Written down before the first of them appears, so no crash leaves a file of which nobody knows whose
it is. What a recovery replaced is not among them: it stays right where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class PlacedUnitRecords:
    """The table ``placed_units``. All methods raise what :meth:`Database.run` raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, recovery: RecoveryId, units: Iterable[int], *, makes_target: bool) -> None:
        """Write down that a recovery is about to put units where nothing is. Durable.

        Args:
            recovery: Which recovery; of one that is not in the journal nothing is written.
            units: Which units of its version.
            makes_target: Also their directory is not there yet.
        """
        runs = list(BlockSet((unit, unit + 1) for unit in units).runs())

        def work(connection: Connection) -> None:
            before = _units(connection, recovery)
            new = BlockSet(runs) - before
            connection.executemany(
                "INSERT INTO placed_units SELECT recovery, ?, ? FROM recoveries WHERE recovery = ?",
                [(start, end, recovery) for start, end in new.runs()],
            )
            if makes_target:
                connection.execute(
                    "UPDATE recoveries SET is_target_made = 1 WHERE recovery = ?", (recovery,)
                )

        await self._database.run(work)

    async def units(self, recovery: RecoveryId) -> BlockSet:
        """Return the units that a recovery put where nothing was, or was about to."""
        return await self._database.run(lambda connection: _units(connection, recovery))

    async def is_any(self, recovery: RecoveryId) -> bool:
        """Return whether a recovery put anything at its target, or was about to."""
        return bool(await self.units(recovery)) or await self.is_target_made(recovery)

    async def is_target_made(self, recovery: RecoveryId) -> bool:
        """Return whether a recovery made the directory of its version, or was about to."""
        row: tuple[int] | None = await self._database.run(
            lambda connection: connection.execute(
                "SELECT is_target_made FROM recoveries WHERE recovery = ?", (recovery,)
            ).fetchone()
        )
        return row is not None and bool(row[0])


def _units(connection: Connection, recovery: RecoveryId) -> BlockSet:
    rows: Iterable[tuple[int, int]] = connection.execute(
        "SELECT start, end FROM placed_units WHERE recovery = ?", (recovery,)
    )
    return BlockSet(rows)
