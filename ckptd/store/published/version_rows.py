"""A version as the table ``versions`` has it: manifest compressed, files encoded, both checked."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import zstandard

from ckptd.errors import DamagedState
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import HashedDirectory, UnitFile
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.records.schema import Connection

_encoder: Final = msgspec.msgpack.Encoder()
_files_decoder: Final = msgspec.msgpack.Decoder(tuple[UnitFile | None, ...])


class VersionRow(NamedTuple):
    """A row of the table ``versions``, columns in its order."""

    digest: Digest
    checkpoint: CheckpointName
    version: Version
    root: str
    directory: str
    is_published: int
    size_bytes: int
    block_count: int
    manifest: bytes
    files: bytes


def pack_version(hashed: HashedDirectory, space: AddressSpace, *, is_published: bool) -> VersionRow:
    """Return the row of a version.

    Args:
        hashed: The version.
        space: That of its manifest.
        is_published: It was published here, and not recovered.

    Cost: compresses the manifest; not for the event loop.
    """
    return VersionRow(
        digest=hashed.digest,
        checkpoint=CheckpointName(hashed.manifest.checkpoint),
        version=Version(hashed.manifest.version),
        root=hashed.root,
        directory=hashed.directory,
        is_published=is_published,
        size_bytes=space.size_bytes,
        block_count=space.block_count,
        manifest=zstandard.compress(hashed.encoded),
        files=_encoder.encode(hashed.files),
    )


def unpack_version(row: VersionRow, database: str) -> HashedDirectory:
    """Return the version that a row is about.

    Args:
        row: Which row.
        database: Path of the database, for messages.

    Raises:
        DamagedState: What the row has is not that version.
    """
    encoded = unpack_manifest(row, database)
    try:
        # The rules of manifests were checked before it was added.
        manifest = msgspec.msgpack.decode(encoded, type=Manifest)
        files = _files_decoder.decode(row.files)
    except msgspec.DecodeError as error:
        raise _damaged(row, database) from error
    if len(files) != len(manifest.units):
        raise _damaged(row, database)
    return HashedDirectory(
        root=row.root,
        directory=row.directory,
        manifest=manifest,
        encoded=encoded,
        digest=row.digest,
        files=files,
    )


def unpack_manifest(row: VersionRow, database: str) -> bytes:
    """Return an encoded manifest, compared with its digest: SQLite has no checksums.

    Raises:
        DamagedState: It is not the one that the digest is of.
    """
    try:
        if zstandard.frame_content_size(row.manifest) > MANIFEST_BYTES_MAX:
            raise _damaged(row, database)
        encoded = zstandard.decompress(row.manifest)
    except zstandard.ZstdError as error:
        raise _damaged(row, database) from error
    if hexdigest_of(encoded) != row.digest:
        raise _damaged(row, database)
    return encoded


def _damaged(row: VersionRow, database: str) -> DamagedState:
    return DamagedState(
        f"manifest of {row.checkpoint}@{row.version} in {database}",
        "is damaged",
        "Publish the version again.",
    )


def insert_version(connection: Connection, row: VersionRow) -> None:
    """Write a row in the place of one with the same digest, or checkpoint and version."""
    connection.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
