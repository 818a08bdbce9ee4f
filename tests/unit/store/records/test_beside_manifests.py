import sqlite3
from collections.abc import Iterator

import pytest

from ckptd.model.ids import Digest
from ckptd.store.records.beside_manifests import forget_orphans, read_pieces, write_pieces

HELD, WANTED, ORPHAN, OTHER = (Digest(letter * 64) for letter in "abcd")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:")
    opened.executescript(
        "CREATE TABLE versions (digest TEXT); CREATE TABLE recoveries (digest TEXT);"
        "CREATE TABLE kept (digest TEXT, piece INTEGER, data BLOB)"
    )
    opened.execute("INSERT INTO versions VALUES (?)", (HELD,))
    opened.execute("INSERT INTO recoveries VALUES (?), (NULL)", (WANTED,))
    for digest in (HELD, WANTED, ORPHAN, OTHER):
        write_pieces(opened, "kept", digest, [b"1", b"2"])
    yield opened
    opened.close()


def kept(connection: sqlite3.Connection) -> set[str]:
    return {digest for (digest,) in connection.execute("SELECT DISTINCT digest FROM kept")}


def test_pieces_come_back_in_their_order_and_replace_each_other(
    connection: sqlite3.Connection,
) -> None:
    write_pieces(connection, "kept", HELD, [b"3", b"2", b"1"])
    assert read_pieces(connection, "kept", HELD) == (b"3", b"2", b"1")
    assert read_pieces(connection, "kept", OTHER) == (b"1", b"2")
    write_pieces(connection, "kept", HELD, [])
    assert read_pieces(connection, "kept", HELD) == ()


def test_what_no_version_and_no_recovery_has_is_forgotten(connection: sqlite3.Connection) -> None:
    forget_orphans(connection, "kept", HELD)
    assert kept(connection) == {HELD, WANTED, ORPHAN, OTHER}
    forget_orphans(connection, "kept", ORPHAN)
    assert kept(connection) == {HELD, WANTED, OTHER}
    forget_orphans(connection, "kept")
    assert kept(connection) == {HELD, WANTED}
