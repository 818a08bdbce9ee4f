"""The attribute documents of manifests that are in the catalog or the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ckptd.errors import DamagedState, NotFound, ProtocolViolation
from ckptd.model.ids import Digest
from ckptd.model.signatures import Signature
from ckptd.store.records.database import Database
from ckptd.store.records.manifest_pieces import pack, unpack
from ckptd.store.records.schema import Connection
from ckptd.wire.attribute_answers import decode_answer, encode_answer


class AttributeShelf:
    """Attribute documents in the database, by the digest of their manifest; durable on return.

    The caller has checked and verified what it puts here: it is served to others as it is.
    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self) -> None:
        """Forget documents of manifests that are not here any more. Once, at the start."""
        await self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM attributes WHERE digest NOT IN (SELECT digest FROM versions UNION"
                " SELECT digest FROM recoveries WHERE digest IS NOT NULL)"
            )
        )

    async def put(self, digest: Digest, document: bytes, signatures: Iterable[Signature]) -> None:
        """Keep a document, in place of one that was kept before."""
        packed = await asyncio.to_thread(pack, encode_answer(document, signatures))
        pieces = (packed,) if isinstance(packed, bytes) else packed

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM attributes WHERE digest = ?", (digest,))
            connection.executemany(
                "INSERT INTO attributes VALUES (?, ?, ?)",
                ((digest, number, piece) for number, piece in enumerate(pieces)),
            )

        await self._database.run(work)

    async def find(self, digest: Digest) -> tuple[bytes, tuple[Signature, ...]] | None:
        """Return the document of a manifest, and its signatures; ``None`` if it has none here.

        Raises:
            DamagedState: What the database has is no such document.
        """
        try:
            return decode_answer(await self.answer(digest))
        except NotFound:
            return None
        except ProtocolViolation as error:
            raise _damaged(digest) from error

    async def answer(self, digest: Digest) -> bytes:
        """Return the document of a manifest behind its signatures, as it travels.

        Raises:
            NotFound: It has none here.
            DamagedState: What the database has is no such document.
        """

        def work(connection: Connection) -> tuple[bytes, ...]:
            rows = connection.execute(
                "SELECT data FROM attributes WHERE digest = ? ORDER BY piece", (digest,)
            )
            return tuple(data for (data,) in rows)

        pieces = await self._database.run(work)
        if not pieces:
            raise NotFound(f"manifest {digest}", "has no attributes here")
        try:
            return await asyncio.to_thread(unpack, pieces)
        except DamagedState as error:
            raise _damaged(digest) from error


def _damaged(digest: Digest) -> DamagedState:
    return DamagedState(f"attributes of {digest} in the state database", "are damaged")
