"""The attribute documents of manifests that are in the catalog or the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from ckptd.errors import DamagedState, NotFound, ProtocolViolation
from ckptd.model.ids import Digest
from ckptd.model.signatures import Signature
from ckptd.store.records.beside_manifests import (
    forget_orphans,
    has_pieces,
    read_pieces,
    write_pieces,
)
from ckptd.store.records.database import Database
from ckptd.store.records.manifest_pieces import pack, unpack
from ckptd.wire.attribute_answers import decode_answer, encode_answer

_TABLE: Final = "attributes"


class AttributeShelf:
    """Attribute documents in the database, by the digest of their manifest; durable on return.

    The caller has checked and verified what it puts here: it is served to others as it is.
    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self) -> None:
        """Forget documents of manifests that are not here any more. Once, at the start."""
        await self._database.run(lambda connection: forget_orphans(connection, _TABLE))

    async def put(self, digest: Digest, document: bytes, signatures: Iterable[Signature]) -> None:
        """Keep a document, in place of one that was kept before."""
        packed = await asyncio.to_thread(pack, encode_answer(document, signatures))
        pieces = (packed,) if isinstance(packed, bytes) else packed
        await self._database.run(
            lambda connection: write_pieces(connection, _TABLE, digest, pieces)
        )

    async def has(self, digest: Digest) -> bool:
        """Return whether the document of a manifest is here."""
        return await self._database.run(lambda connection: has_pieces(connection, _TABLE, digest))

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
        pieces = await self._database.run(
            lambda connection: read_pieces(connection, _TABLE, digest)
        )
        if not pieces:
            raise NotFound(f"manifest {digest}", "has no attributes here")
        try:
            return await asyncio.to_thread(unpack, pieces)
        except DamagedState as error:
            raise _damaged(digest) from error


def _damaged(digest: Digest) -> DamagedState:
    return DamagedState(f"attributes of {digest} in the state database", "are damaged")
