"""Long manifests come back from their pieces, and damage of a piece is damage."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from random import Random

import pytest
import zstandard

from ckptd.errors import DamagedState
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import Digest
from ckptd.store.records.manifest_pieces import (
    PIECE_BYTES,
    forget_pieces,
    is_long,
    pack,
    read_packed,
    unpack,
    write_packed,
    write_pieces,
)
from ckptd.store.records.schema import Connection, bring_up_to_date

DIGEST = Digest("ab" * 32)
OTHER = Digest("cd" * 32)
LONG = Random(7).randbytes(3 * PIECE_BYTES + 5)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        bring_up_to_date(opened, 0)
        yield opened


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5])
def test_a_manifest_comes_back_as_it_was(size: int) -> None:
    packed = pack(memoryview(LONG)[:size])
    assert unpack(packed) == LONG[:size]
    assert isinstance(packed, tuple) is is_long(LONG[:size]) is (size > PIECE_BYTES)
    assert all(len(piece) < 1.01 * PIECE_BYTES for piece in packed if isinstance(piece, bytes))


def test_pieces_are_found_by_their_digest(connection: Connection) -> None:
    write_pieces(connection, OTHER, LONG[::-1])
    write_pieces(connection, DIGEST, LONG[:PIECE_BYTES] * 9)
    write_pieces(connection, DIGEST, LONG)
    assert unpack(read_packed(connection, DIGEST)) == LONG
    write_packed(connection, DIGEST, ())
    assert read_packed(connection, DIGEST) == ()
    assert unpack(read_packed(connection, OTHER)) == LONG[::-1]


def test_pieces_go_with_the_last_that_has_their_digest(connection: Connection) -> None:
    write_pieces(connection, DIGEST, LONG)
    connection.execute(
        "INSERT INTO versions VALUES (?, 'c', 1, 1, 1, ?)",
        (DIGEST, b""),
    )
    forget_pieces(connection)
    assert read_packed(connection, DIGEST)
    connection.execute("DELETE FROM versions")
    forget_pieces(connection)
    assert read_packed(connection, DIGEST) == ()


@pytest.mark.parametrize(
    "packed",
    [
        b"no zstd",
        (b"no zstd",),
        (zstandard.compress(bytes(PIECE_BYTES + 1)),),
        (zstandard.compress(bytes(PIECE_BYTES)),) * (MANIFEST_BYTES_MAX // PIECE_BYTES + 1),
        zstandard.compress(bytes(MANIFEST_BYTES_MAX + 1)),
    ],
    ids=["whole", "piece", "long piece", "too many", "too long"],
)
def test_damage_is_said(packed: bytes | tuple[bytes, ...]) -> None:
    with pytest.raises(DamagedState):
        unpack(packed)
