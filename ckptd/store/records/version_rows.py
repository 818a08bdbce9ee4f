"""Versions and places as the database has them: manifests packed, everything checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ckptd.errors import DamagedState, InvalidManifest
from ckptd.model.encoded.decoding import encoding_of, read_manifest
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.records.beside_manifests import forget_orphans
from ckptd.store.records.manifest_pieces import (
    PackedManifest,
    forget_pieces,
    pack,
    read_packed,
    unpack,
    write_packed,
)
from ckptd.store.records.packed_files import pack_files, unpack_files
from ckptd.store.records.schema import Connection


class VersionRow(NamedTuple):
    """A row of the table ``versions``, columns in its order."""

    digest: Digest
    checkpoint: CheckpointName
    version: Version
    size_bytes: int
    block_count: int
    manifest: PackedManifest


class StoredPlace(NamedTuple):
    """A row of the table ``places``, columns in its order."""

    place: int
    digest: Digest
    root: str
    directory: str
    is_published: int
    is_withdrawn: int
    files: bytes
    added_at_s: float
    checked_at_s: float
    scrubbed_units: int
    is_by_choice: int = 0


class StoredVersion(NamedTuple):
    """What the database has of a version."""

    row: VersionRow
    places: tuple[StoredPlace, ...]


def pack_version(hashed: HashedDirectory, space: AddressSpace) -> VersionRow:
    """Return the row of a version.

    Args:
        hashed: The version.
        space: That of its manifest.

    Cost: compresses the manifest; not for the event loop.
    """
    return VersionRow(
        digest=hashed.digest,
        checkpoint=CheckpointName(hashed.manifest.checkpoint),
        version=Version(hashed.manifest.version),
        size_bytes=space.size_bytes,
        block_count=space.block_count,
        manifest=pack(hashed.encoded),
    )


def unpack_manifest(row: VersionRow, database: str) -> bytes:
    """Return an encoded manifest, compared with its digest: SQLite has no checksums.

    Raises:
        DamagedState: It is not the one that the digest is of.
    """
    try:
        encoded = unpack(row.manifest)
    except DamagedState as error:
        raise _damaged(row, database) from error
    if hexdigest_of(encoded) != row.digest:
        raise _damaged(row, database)
    return encoded


def unpack_version(row: VersionRow, database: str) -> Manifest:
    """Return the manifest of a version.

    Args:
        row: Which version.
        database: Path of the database, for messages.

    Raises:
        DamagedState: What the row has is not that manifest.
    """
    encoded = unpack_manifest(row, database)
    try:
        # The rules of manifests were checked before it was added.
        return read_manifest(encoded)
    except InvalidManifest as error:
        raise _damaged(row, database) from error


def unpack_place(place: StoredPlace, manifest: Manifest, database: str) -> HashedDirectory:
    """Return a version as it was hashed at a place.

    Args:
        place: Which place of it.
        manifest: The version's.
        database: Path of the database, for messages.

    Raises:
        DamagedState: The place has not one file for each unit.
    """
    try:
        files = unpack_files(place.files)
    except DamagedState as error:
        raise _damaged(manifest, database) from error
    if len(files) != len(manifest.units):
        raise _damaged(manifest, database)
    return HashedDirectory(
        root=place.root,
        directory=place.directory,
        manifest=manifest,
        encoded=encoding_of(manifest),
        digest=place.digest,
        files=files,
    )


def _damaged(row: VersionRow | Manifest, database: str) -> DamagedState:
    return DamagedState(
        f"manifest of {row.checkpoint}@{row.version} in {database}",
        "is damaged",
        "Publish the version again.",
    )


def read_version(connection: Connection, digest: Digest) -> StoredVersion | None:
    """Return a version and its places, in the order in which they were added."""
    row = connection.execute("SELECT * FROM versions WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _whole(connection, VersionRow(*row))


class ListedVersion(NamedTuple):
    """What of a version is read at once for all of them.

    Attributes:
        stored: The version, without its manifest and the files of its places.
        record_bytes: How long these are, compressed.
    """

    stored: StoredVersion
    record_bytes: int


def list_versions(connection: Connection) -> list[ListedVersion]:
    """Return all versions with their places, the one that was added last in front.

    Cost: O(versions); nothing of what is long is read.
    """
    sizes: Counter[Digest] = Counter()
    places: dict[Digest, list[StoredPlace]] = {}
    for digest, size_bytes in connection.execute(
        "SELECT digest, length(manifest) FROM versions UNION ALL"
        " SELECT digest, length(data) FROM manifest_pieces UNION ALL"
        " SELECT digest, length(files) FROM places"
    ):
        sizes[digest] += size_bytes
    columns = ", ".join("x''" if name == "files" else name for name in StoredPlace._fields)
    for row in connection.execute(f"SELECT {columns} FROM places ORDER BY place"):  # noqa: S608
        place = StoredPlace(*row)
        places.setdefault(place.digest, []).append(place)
    found = [
        ListedVersion(StoredVersion(VersionRow(*row), tuple(places.get(row[0], ()))), sizes[row[0]])
        for row in connection.execute(
            "SELECT digest, checkpoint, version, size_bytes, block_count, x'' FROM versions"
        )
    ]
    return sorted(found, key=_last_place, reverse=True)


def _last_place(listed: ListedVersion) -> int:
    return max((row.place for row in listed.stored.places), default=0)


def _whole(connection: Connection, row: VersionRow) -> StoredVersion:
    """Return a version with what other tables have of it."""
    if not row.manifest:
        row = row._replace(manifest=read_packed(connection, row.digest))
    return StoredVersion(row, read_places(connection, row.digest))


def read_places(connection: Connection, digest: Digest) -> tuple[StoredPlace, ...]:
    """Return the places of a version, in the order in which they were added."""
    places = connection.execute("SELECT * FROM places WHERE digest = ? ORDER BY place", (digest,))
    return tuple(StoredPlace(*place) for place in places)


def write_version(connection: Connection, row: VersionRow) -> None:
    """Write a version, also over a row of the same digest that may be damaged."""
    connection.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET"
        " checkpoint = excluded.checkpoint, version = excluded.version,"
        " size_bytes = excluded.size_bytes, block_count = excluded.block_count,"
        " manifest = excluded.manifest",
        row if isinstance(row.manifest, bytes) else row._replace(manifest=b""),
    )
    if not isinstance(row.manifest, bytes):
        write_packed(connection, row.digest, row.manifest)


def write_place(connection: Connection, row: StoredPlace) -> int:
    """Write a place, over the one that the version has in that directory; return its number."""
    (number,) = connection.execute(
        "INSERT INTO places (digest, root, directory, is_published, is_withdrawn, files,"
        " added_at_s, checked_at_s, scrubbed_units, is_by_choice)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (digest, root, directory) DO UPDATE SET"
        " is_published = excluded.is_published, is_withdrawn = excluded.is_withdrawn,"
        " files = excluded.files, added_at_s = excluded.added_at_s,"
        " checked_at_s = excluded.checked_at_s, scrubbed_units = excluded.scrubbed_units,"
        " is_by_choice = excluded.is_by_choice"
        " RETURNING place",
        row[1:],
    ).fetchone()
    return int(number)


def renew_files(
    connection: Connection,
    number: int,
    files: Mapping[int, UnitFile],
    wrong: Collection[int],
    checked_at_s: float | None,
) -> UnitFiles | None:
    """Record other files for some units of a place.

    A file that has a unit as it is does not take the place of one that has it compressed: what it
    was found to be was found before. The reverse it does only where nothing is wrong.

    Args:
        connection: In a transaction.
        number: Which place.
        files: The files, by unit.
        wrong: Units whose files are not what was published.
        checked_at_s: When all of it was found right; ``None``: it was not.

    Returns:
        What is recorded there from now on; ``None``: there is no such place.

    Raises:
        DamagedState: What the place has are no files, or not those of these units.
    """
    row = connection.execute("SELECT files FROM places WHERE place = ?", (number,)).fetchone()
    if row is None:
        return None
    damaged = DamagedState(f"place {number}", "is damaged", "Publish it again.")
    try:
        known = unpack_files(row[0])
    except DamagedState as error:
        raise damaged from error
    if any(unit >= len(known) for unit in (*files, *wrong)):
        raise damaged
    for unit, file in files.items():
        if unit not in wrong and _may_follow(known[unit], file):
            known[unit] = file
    for unit in wrong:
        if before := known[unit]:
            known[unit] = before._replace(is_wrong=True)
    connection.execute(
        "UPDATE places SET files = ?, checked_at_s = coalesce(?, checked_at_s) WHERE place = ?",
        (pack_files(known), checked_at_s, number),
    )
    return known


def _may_follow(known: UnitFile | None, file: UnitFile) -> bool:
    """Return whether a file may be recorded where another one is, or none."""
    if file.is_compressed:
        return known is not None and (known.is_compressed or not known.is_wrong)
    return known is None or not known.is_compressed


def delete_place(connection: Connection, number: int) -> None:
    """Delete a place; if that was the last one, its version and what nobody needs then."""
    row = connection.execute(
        "DELETE FROM places WHERE place = ? RETURNING digest", (number,)
    ).fetchone()
    if row is not None:
        connection.execute(
            "DELETE FROM versions WHERE digest = ?"
            " AND NOT EXISTS (SELECT 1 FROM places WHERE places.digest = versions.digest)",
            row,
        )
        forget_pieces(connection)
        forget_orphans(connection, "signatures", row[0])
