"""The shards that a recovery of a job joins, with their manifests, for as long as it lasts.

The journal keeps the manifest that they were joined to; with these a restart needs no peer to know
again which block of it stands where in which shard.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.model.ids import Digest, RecoveryId
from ckptd.store.records.database import Database
from ckptd.store.records.manifest_pieces import pack, unpack
from ckptd.store.records.schema import Connection


class MemberRecords:
    """The members of recoveries, in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, recovery: RecoveryId, members: Iterable[tuple[Digest, bytes | memoryview]]
    ) -> None:
        """Record the members of a recovery, in place of others; durable.

        Of a recovery that is not in the journal nothing is recorded.

        Args:
            recovery: Which recovery.
            members: The identity of each, and its encoded manifest.

        Raises:
            StorageError: The disk refused; nothing was changed.
        """

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM members WHERE recovery = ?", (recovery,))
            for digest, manifest in members:
                packed = pack(manifest)
                connection.executemany(
                    "INSERT INTO members SELECT recovery, ?, ?, ? FROM recoveries"
                    " WHERE recovery = ?",
                    (
                        (digest, piece, data, recovery)
                        for piece, data in enumerate(
                            (packed,) if isinstance(packed, bytes) else packed
                        )
                    ),
                )

        await self._database.run(work)

    async def find(self, recovery: RecoveryId) -> dict[Digest, bytes]:
        """Return the manifests of a recovery's members, by identity; none: it joins none.

        Raises:
            DamagedState: What the database has is no manifest.
            StorageError: The disk refused.
        """
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT digest, data FROM members WHERE recovery = ? ORDER BY digest, piece",
                (recovery,),
            ).fetchall()
        )
        packed: dict[Digest, list[bytes]] = {}
        for digest, data in rows:
            packed.setdefault(digest, []).append(data)
        return {digest: unpack(tuple(pieces)) for digest, pieces in packed.items()}

    async def manifest(self, recovery: RecoveryId, digest: Digest) -> bytes | None:
        """Return the manifest of one member; ``None``: it is none.

        Raises:
            DamagedState: What the database has is no manifest.
            StorageError: The disk refused.
        """
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT data FROM members WHERE recovery = ? AND digest = ? ORDER BY piece",
                (recovery, digest),
            ).fetchall()
        )
        return unpack(tuple(data for (data,) in rows)) if rows else None
