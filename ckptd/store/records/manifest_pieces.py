"""Long manifests in pieces: SQLite and Python copy a value three times on its way to the disk.

A manifest of up to a megabyte is one value of its row. A longer one is a row for each of its
pieces, shared by the version and the recoveries that have its digest. No call works on more than
one piece, so other threads get their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Final, TypeAlias

import zstandard

from ckptd.errors import DamagedState
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.model.ids import Digest
from ckptd.store.records import beside_manifests
from ckptd.store.records.schema import Connection

PIECE_BYTES: Final = 1 * MIB
_TABLE: Final = "manifest_pieces"

PackedManifest: TypeAlias = bytes | tuple[bytes, ...]
"""A compressed manifest: short and whole, or the pieces of a long one, compressed one by one."""


def is_long(manifest: bytes | memoryview) -> bool:
    """Return whether an encoded manifest is kept in pieces."""
    return len(manifest) > PIECE_BYTES


def pack(manifest: bytes | memoryview) -> PackedManifest:
    """Compress an encoded manifest."""
    return tuple(_packed(manifest)) if is_long(manifest) else zstandard.compress(manifest)


def unpack(packed: PackedManifest) -> bytes:
    """Return the encoded manifest.

    Raises:
        DamagedState: It is none, or would be longer than a manifest may be.
    """
    if isinstance(packed, bytes):
        return _unpacked(packed, MANIFEST_BYTES_MAX)
    buffer = BytesIO()  # hands out its own buffer
    for piece in packed:
        if buffer.tell() >= MANIFEST_BYTES_MAX:
            raise _damaged()
        buffer.write(_unpacked(piece, PIECE_BYTES))
    return buffer.getvalue()


def write_pieces(connection: Connection, digest: Digest, manifest: bytes | memoryview) -> None:
    """Write a long manifest, also over one of the same digest that may be damaged."""
    write_packed(connection, digest, _packed(manifest))


def write_packed(connection: Connection, digest: Digest, pieces: Iterable[bytes]) -> None:
    """Write the pieces of a long manifest, compressed already; none remove what is there."""
    beside_manifests.write_pieces(connection, _TABLE, digest, pieces)


def read_packed(connection: Connection, digest: Digest) -> tuple[bytes, ...]:
    """Return the pieces of a long manifest; none if it is not there."""
    return beside_manifests.read_pieces(connection, _TABLE, digest)


def forget_pieces(connection: Connection) -> None:
    """Delete the pieces of manifests that no version and no recovery has any more."""
    beside_manifests.forget_orphans(connection, _TABLE)


def _packed(manifest: bytes | memoryview) -> Iterator[bytes]:
    view = memoryview(manifest)
    for start in range(0, len(view), PIECE_BYTES):
        yield zstandard.compress(view[start : start + PIECE_BYTES])


def _unpacked(packed: bytes, bytes_max: int) -> bytes:
    try:
        if zstandard.frame_content_size(packed) > bytes_max:
            raise _damaged()
        return zstandard.decompress(packed)
    except zstandard.ZstdError as error:
        raise _damaged() from error


def _damaged() -> DamagedState:
    return DamagedState("manifest", "is damaged")
