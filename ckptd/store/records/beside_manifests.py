"""Tables that keep something beside manifests, by their digest: pieces, signatures, attributes.

A row is of use as long as a version or a recovery has its digest. Names of tables are ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.model.ids import Digest
from ckptd.store.records.schema import Connection

_IS_ORPHAN = (
    "digest NOT IN (SELECT digest FROM versions)"
    " AND digest NOT IN (SELECT digest FROM recoveries WHERE digest IS NOT NULL)"
)


def forget_orphans(connection: Connection, table: str, digest: Digest | None = None) -> None:
    """Delete what no version and no recovery has any more.

    Args:
        connection: In a transaction.
        table: Where.
        digest: Look only at this one; ``None``: at all.
    """
    chosen, values = ("", ()) if digest is None else (" AND digest = ?", (digest,))
    connection.execute(f"DELETE FROM {table} WHERE {_IS_ORPHAN}{chosen}", values)  # noqa: S608


def write_pieces(
    connection: Connection, table: str, digest: Digest, pieces: Iterable[bytes]
) -> None:
    """Write a document in pieces, in place of what is there; none remove that.

    Args:
        connection: In a transaction.
        table: Has a digest, the number of a piece and its data.
        digest: Of which manifest.
        pieces: In their order.
    """
    connection.execute(f"DELETE FROM {table} WHERE digest = ?", (digest,))  # noqa: S608
    connection.executemany(
        f"INSERT INTO {table} VALUES (?, ?, ?)",  # noqa: S608
        ((digest, number, piece) for number, piece in enumerate(pieces)),
    )


def read_pieces(connection: Connection, table: str, digest: Digest) -> tuple[bytes, ...]:
    """Return the pieces of a document in their order; none if it is not there."""
    rows = connection.execute(
        f"SELECT data FROM {table} WHERE digest = ? ORDER BY piece",  # noqa: S608
        (digest,),
    )
    return tuple(data for (data,) in rows)


def has_pieces(connection: Connection, table: str, digest: Digest) -> bool:
    """Return whether a document is there."""
    found = connection.execute(
        f"SELECT 1 FROM {table} WHERE digest = ? LIMIT 1",  # noqa: S608
        (digest,),
    )
    return found.fetchone() is not None
