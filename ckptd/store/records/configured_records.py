"""Which recoveries the daemon asked for itself, because its configuration says so.

What is to be asked for once in each boot of the machine is not asked for again by the next life of
the daemon in that boot.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ckptd.model.ids import CheckpointName, RecoveryId
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection

KEPT_MAX: Final = 100
"""Rows kept, as many as records of ended recoveries; of each checkpoint the last one besides."""


class AskedRow(NamedTuple):
    """A recovery that was asked for.

    Attributes:
        checkpoint: Of which checkpoint or job.
        boot: In which boot of the machine; empty: not known, and never the same as another one.
        recovery: Its name.
    """

    checkpoint: CheckpointName
    boot: str
    recovery: RecoveryId


class ConfiguredRecords:
    """The table ``configured_recoveries``, and the same in memory. Of the event loop.

    All that read or write the table raise what :meth:`Database.run` raises.

    Args:
        database: Where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: dict[CheckpointName, AskedRow] = {}
        self._asked: frozenset[str] = frozenset()

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        self._take_in(await self._database.run(_rows))

    async def note(self, row: AskedRow) -> None:
        """Take note of what was asked for; durable on return."""

        def work(connection: Connection) -> list[AskedRow]:
            connection.execute(
                "INSERT INTO configured_recoveries (checkpoint, boot, recovery) VALUES (?, ?, ?)",
                row,
            )
            connection.execute(
                "DELETE FROM configured_recoveries"
                " WHERE number <= (SELECT max(number) FROM configured_recoveries) - ?"
                " AND number NOT IN"
                " (SELECT max(number) FROM configured_recoveries GROUP BY checkpoint)",
                (KEPT_MAX,),
            )
            return _rows(connection)

        self._take_in(await self._database.run(work))

    def last(self, checkpoint: CheckpointName) -> AskedRow | None:
        """Return what was asked for last of a checkpoint; ``None``: nothing ever was."""
        return self._last.get(checkpoint)

    def is_configured(self, recovery: str) -> bool:
        """Return whether the daemon asked for a recovery itself, as far as that is kept."""
        return recovery in self._asked

    def _take_in(self, rows: list[AskedRow]) -> None:
        self._last = {row.checkpoint: row for row in rows}
        self._asked = frozenset(row.recovery for row in rows)


def _rows(connection: Connection) -> list[AskedRow]:
    rows = connection.execute(
        "SELECT checkpoint, boot, recovery FROM configured_recoveries ORDER BY number"
    )
    return [AskedRow(*row) for row in rows]
