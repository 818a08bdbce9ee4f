from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import msgspec
import pytest
import zstandard

from ckptd.errors import DamagedState
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import Version
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.published.version_rows import (
    VersionRow,
    insert_version,
    pack_version,
    unpack_manifest,
    unpack_version,
)
from ckptd.store.records.schema import Connection, bring_up_to_date

PLACE = "/var/lib/ckptd/ckptd.db"


@pytest.fixture
def row(hashed: HashedDirectory) -> VersionRow:
    return pack_version(hashed, AddressSpace(hashed.manifest), is_published=True)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        bring_up_to_date(made, 0)
        yield made


def test_a_row_has_what_questions_are_about(row: VersionRow, hashed: HashedDirectory) -> None:
    assert row[:8] == (hashed.digest, "llama/rank-0", 100, "data", "v1", True, 562_146, 4)
    assert zstandard.decompress(row.manifest) == hashed.encoded


def test_a_version_comes_back_as_it_was(row: VersionRow, hashed: HashedDirectory) -> None:
    assert unpack_version(row, PLACE) == hashed
    assert unpack_manifest(row, PLACE) == hashed.encoded


def test_units_that_were_left_out_stay_so(hashed: HashedDirectory) -> None:
    partial = replace(hashed, files=(None, *hashed.files[1:]))
    row = pack_version(partial, AddressSpace(hashed.manifest), is_published=False)
    assert not row.is_published
    assert unpack_version(row, PLACE).files == partial.files


NO_MANIFEST = msgspec.msgpack.encode({"a": 1})


def damaged(row: VersionRow, kind: str) -> VersionRow:
    encoded = zstandard.decompress(row.manifest)
    files = msgspec.msgpack.decode(row.files)
    return {
        "no zstd": row._replace(manifest=b"x" * 100),
        "cut off": row._replace(manifest=row.manifest[:-4]),
        "another manifest": row._replace(manifest=zstandard.compress(encoded + b"x")),
        "too long": row._replace(manifest=zstandard.compress(bytes(MANIFEST_BYTES_MAX + 1))),
        "no manifest": row._replace(
            manifest=zstandard.compress(NO_MANIFEST), digest=hexdigest_of(NO_MANIFEST)
        ),
        "no files": row._replace(files=b"\xc1"),
        "too few": row._replace(files=msgspec.msgpack.encode(files[:-1])),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["no zstd", "cut off", "another manifest", "too long", "no manifest", "no files", "too few"],
)
def test_a_damaged_row_is_named(row: VersionRow, kind: str) -> None:
    with pytest.raises(DamagedState, match=rf"llama/rank-0@100 in {PLACE}: is damaged\. Publish"):
        unpack_version(damaged(row, kind), PLACE)


def test_no_memory_is_spent_on_a_manifest_that_claims_to_be_longer_than_any(
    row: VersionRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = damaged(row, "too long")
    unpacked: list[bytes] = []
    monkeypatch.setattr(zstandard, "decompress", unpacked.append)
    with pytest.raises(DamagedState):
        unpack_manifest(long, PLACE)
    assert unpacked == []


def test_a_row_takes_the_place_of_the_same_digest_and_of_the_same_version(
    connection: Connection, row: VersionRow
) -> None:
    def rows() -> list[tuple[str, int, str]]:
        return connection.execute("SELECT digest, version, directory FROM versions").fetchall()

    insert_version(connection, row)
    insert_version(connection, row._replace(directory="v2"))
    assert rows() == [(row.digest, 100, "v2")]
    insert_version(connection, row._replace(digest=hexdigest_of(b"")))
    assert rows() == [(hexdigest_of(b""), 100, "v1")]
    insert_version(connection, row._replace(version=Version(101)))
    assert len(rows()) == 2
