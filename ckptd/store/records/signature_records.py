"""The signatures of manifests that are in the catalog or the journal."""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.errors import DamagedState, NotFound, ProtocolViolation
from ckptd.limits import SIGNATURES_MAX
from ckptd.model.ids import Digest
from ckptd.model.signatures import Signature
from ckptd.store.records.beside_manifests import forget_orphans
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection
from ckptd.wire.signature_lines import decode_signatures, encode_signatures


class SignatureShelf:
    """Signatures in the database, by the digest of their manifest; durable on return.

    The caller has verified what it adds: signatures are served to others as they are.
    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self) -> None:
        """Forget signatures of manifests that are not here any more. Once, at the start."""
        await self._database.run(lambda connection: forget_orphans(connection, "signatures"))

    async def add(self, digest: Digest, signatures: Iterable[Signature]) -> None:
        """Keep signatures besides those that are kept already.

        The latest one of a key counts; beyond ``SIGNATURES_MAX`` keys the oldest make room.
        """
        added = {signature.key: signature for signature in signatures}
        if not added:
            return

        def work(connection: Connection) -> None:
            kept = [each for each in _read(connection, digest) if each.key not in added]
            document = encode_signatures([*kept, *added.values()][-SIGNATURES_MAX:])
            connection.execute(
                "INSERT OR REPLACE INTO signatures VALUES (?, ?)", (digest, document)
            )

        await self._database.run(work)

    async def find(self, digest: Digest) -> tuple[Signature, ...]:
        """Return the signatures of a manifest; empty if it has none here.

        Raises:
            DamagedState: What the database has is no signature.
        """
        return await self._database.run(lambda connection: _read(connection, digest))

    async def document(self, digest: Digest) -> bytes:
        """Return the signatures of a manifest as they travel.

        Raises:
            NotFound: It has none here.
            DamagedState: What the database has is no signature.
        """
        signatures = await self.find(digest)
        if not signatures:
            raise NotFound(f"manifest {digest}", "has no signature here")
        return encode_signatures(signatures)


def _read(connection: Connection, digest: Digest) -> tuple[Signature, ...]:
    row: tuple[bytes] | None = connection.execute(
        "SELECT document FROM signatures WHERE digest = ?", (digest,)
    ).fetchone()
    try:
        return decode_signatures(row[0]) if row else ()
    except ProtocolViolation as error:
        raise DamagedState(
            f"signatures of {digest} in the state database", "are damaged"
        ) from error
