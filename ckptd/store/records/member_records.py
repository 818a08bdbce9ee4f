"""The shards that a recovery of a job joins, with their manifests, for as long as it lasts.

The journal keeps the manifest that they were joined to; with these a restart needs no peer to know
again which block of it stands where in which shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptd.model.ids import Digest, RecoveryId
from ckptd.store.records.manifest_pieces import PackedManifest, pack
from ckptd.store.records.schema import Connection


def pack_members(
    members: Mapping[Digest, bytes | memoryview],
) -> list[tuple[Digest, PackedManifest]]:
    """Compress encoded manifests. Takes a while."""
    return [(digest, pack(manifest)) for digest, manifest in members.items()]


def write_members(
    connection: Connection,
    recovery: RecoveryId,
    members: Iterable[tuple[Digest, PackedManifest]],
) -> None:
    """Record the members of a recovery, in place of others; nothing if it is not in the journal."""
    connection.execute("DELETE FROM members WHERE recovery = ?", (recovery,))
    connection.executemany(
        "INSERT INTO members SELECT recovery, ?, ?, ? FROM recoveries WHERE recovery = ?",
        (
            (digest, piece, data, recovery)
            for digest, packed in members
            for piece, data in enumerate((packed,) if isinstance(packed, bytes) else packed)
        ),
    )


def read_digests(connection: Connection, recovery: RecoveryId) -> tuple[Digest, ...]:
    """Return the identities of a recovery's members, in the order in which they were recorded."""
    rows = connection.execute(
        "SELECT digest FROM members WHERE recovery = ? AND piece = 0 ORDER BY rowid", (recovery,)
    )
    return tuple(digest for (digest,) in rows)


def read_member(connection: Connection, recovery: RecoveryId, digest: Digest) -> tuple[bytes, ...]:
    """Return the compressed manifest of one member, in pieces; empty: it is none."""
    rows = connection.execute(
        "SELECT data FROM members WHERE recovery = ? AND digest = ? ORDER BY piece",
        (recovery, digest),
    )
    return tuple(data for (data,) in rows)
