"""The newest version of each checkpoint that was ever published or recovered here.

It is kept when the versions are removed, so that a node does not take an old version for the
newest because its peers withhold the newer ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class NewestVersions:
    """The table ``newest``, and the same in memory; one row for each checkpoint ever held here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: dict[CheckpointName, tuple[Version, Digest | None]] = {}

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT checkpoint, version, digest FROM newest"
            ).fetchall()
        )
        self._newest = {checkpoint: (version, digest) for checkpoint, version, digest in rows}

    def of(self, checkpoint: CheckpointName) -> Version | None:
        """Return the newest; ``None`` if there never was one."""
        known = self._newest.get(checkpoint)
        return None if known is None else known[0]

    def all(self) -> Iterator[tuple[CheckpointName, Version]]:
        """Yield each checkpoint that there ever was, with its newest version."""
        return ((name, version) for name, (version, _) in self._newest.items())

    def digest_of(self, checkpoint: CheckpointName) -> Digest | None:
        """Return the identity of the newest; ``None`` if an older ckptd did not keep it."""
        known = self._newest.get(checkpoint)
        return None if known is None else known[1]

    def note(
        self, connection: Connection, checkpoint: CheckpointName, version: Version, digest: Digest
    ) -> None:
        """Take note of a version, in the transaction that records it.

        Called in the database's thread. Should that transaction fail, memory is ahead of the
        table until the daemon restarts; that refuses more, never less.

        Args:
            connection: In that transaction.
            checkpoint: Of which checkpoint.
            version: Which version; it was whole.
            digest: Its identity; of several contents of one version the last one counts.
        """
        connection.execute(
            "INSERT INTO newest (checkpoint, version, digest) VALUES (?, ?, ?)"
            " ON CONFLICT (checkpoint) DO UPDATE"
            " SET version = excluded.version, digest = excluded.digest"
            " WHERE excluded.version >= version",
            (checkpoint, version, digest),
        )
        known = self.of(checkpoint)
        if known is None or version >= known:
            self._newest[checkpoint] = (version, digest)
