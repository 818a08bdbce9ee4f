"""The newest version of each checkpoint that was ever published or recovered here.

It is kept when the versions are removed, so that a node does not take an old version for the
newest because its peers withhold the newer ones.
"""

from __future__ import annotations

from ckptd.model.ids import CheckpointName, Version
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class NewestVersions:
    """The table ``newest``, and the same in memory; one row for each checkpoint ever held here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: dict[CheckpointName, Version] = {}

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        self._newest = await self._database.run(
            lambda connection: dict(connection.execute("SELECT checkpoint, version FROM newest"))
        )

    def of(self, checkpoint: CheckpointName) -> Version | None:
        """Return the newest; ``None`` if there never was one."""
        return self._newest.get(checkpoint)

    def note(self, connection: Connection, checkpoint: CheckpointName, version: Version) -> None:
        """Take note of a version, in the transaction that records it.

        Called in the database's thread. Should that transaction fail, memory is ahead of the
        table until the daemon restarts; that refuses more, never less.
        """
        connection.execute(
            "INSERT INTO newest VALUES (?, ?) ON CONFLICT (checkpoint)"
            " DO UPDATE SET version = max(version, excluded.version)",
            (checkpoint, version),
        )
        self._newest[checkpoint] = max(self._newest.get(checkpoint, version), version)
