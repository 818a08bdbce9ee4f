from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from random import Random

import msgspec
import pytest
import zstandard

from ckptd.errors import DamagedState
from ckptd.limits import MANIFEST_BYTES_MAX
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.records.manifest_pieces import PIECE_BYTES, pack, read_packed
from ckptd.store.records.packed_files import pack_files, unpack_files
from ckptd.store.records.schema import Connection, bring_up_to_date
from ckptd.store.records.version_rows import (
    StoredPlace,
    StoredVersion,
    VersionRow,
    delete_place,
    list_versions,
    pack_version,
    read_version,
    renew_files,
    unpack_manifest,
    unpack_place,
    unpack_version,
    write_place,
    write_version,
)

PLACE = "/var/lib/ckptd/ckptd.db"


@pytest.fixture
def row(hashed: HashedDirectory) -> VersionRow:
    return pack_version(hashed, AddressSpace(hashed.manifest))


@pytest.fixture
def place(hashed: HashedDirectory) -> StoredPlace:
    files = pack_files(hashed.files)
    return StoredPlace(0, hashed.digest, "data", "v1", 1, 0, files, 5.0, 6.0, 0)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        bring_up_to_date(made, 0)
        made.execute("PRAGMA foreign_keys = ON")
        yield made


def unpacked(row: VersionRow, place: StoredPlace) -> HashedDirectory:
    return unpack_place(place, unpack_version(row, PLACE), PLACE)


def test_a_row_has_what_questions_are_about(row: VersionRow, hashed: HashedDirectory) -> None:
    assert row[:5] == (hashed.digest, "llama/rank-0", 100, 562_146, 4)
    assert isinstance(row.manifest, bytes)
    assert zstandard.decompress(row.manifest) == hashed.encoded


def test_a_version_comes_back_as_it_was(
    row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    assert unpacked(row, place) == hashed
    assert unpack_manifest(row, PLACE) == hashed.encoded


def test_units_that_were_left_out_stay_so(
    row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    files = UnitFiles((None, *hashed.files[1:]))
    assert unpacked(row, place._replace(files=pack_files(files))) == replace(hashed, files=files)


NO_MANIFEST = msgspec.msgpack.encode({"a": 1})


def damaged(row: VersionRow, kind: str) -> VersionRow:
    assert isinstance(row.manifest, bytes)
    encoded = zstandard.decompress(row.manifest)
    return {
        "no zstd": row._replace(manifest=b"x" * 100),
        "cut off": row._replace(manifest=row.manifest[:-4]),
        "another manifest": row._replace(manifest=zstandard.compress(encoded + b"x")),
        "too long": row._replace(manifest=zstandard.compress(bytes(MANIFEST_BYTES_MAX + 1))),
        "no manifest": row._replace(
            manifest=zstandard.compress(NO_MANIFEST), digest=hexdigest_of(NO_MANIFEST)
        ),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["no zstd", "cut off", "another manifest", "too long", "no manifest"]
)
def test_a_damaged_row_is_named(row: VersionRow, kind: str) -> None:
    with pytest.raises(DamagedState, match=rf"llama/rank-0@100 in {PLACE}: is damaged\. Publish"):
        unpack_version(damaged(row, kind), PLACE)


@pytest.mark.parametrize("kind", ["no files", "too few"])
def test_damaged_files_of_a_place_are_named(row: VersionRow, place: StoredPlace, kind: str) -> None:
    files = unpack_files(place.files)
    damage = b"\xc1" if kind == "no files" else pack_files(UnitFiles(files[:-1]))
    with pytest.raises(DamagedState, match=rf"llama/rank-0@100 in {PLACE}: is damaged\. Publish"):
        unpacked(row, place._replace(files=damage))


def test_no_memory_is_spent_on_a_manifest_that_claims_to_be_longer_than_any(
    row: VersionRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = damaged(row, "too long")
    taken: list[bytes] = []
    monkeypatch.setattr(zstandard, "decompress", taken.append)
    with pytest.raises(DamagedState):
        unpack_manifest(long, PLACE)
    assert taken == []


def test_a_version_is_read_with_its_places_in_the_order_in_which_they_came(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    write_version(connection, row)
    first = write_place(connection, place)
    second = write_place(connection, place._replace(directory="a"))
    assert second > first
    expected = StoredVersion(
        row, (place._replace(place=first), place._replace(place=second, directory="a"))
    )
    assert read_version(connection, row.digest) == expected
    [listed] = list_versions(connection)
    without = tuple(each._replace(files=b"") for each in expected.places)
    assert listed.stored == StoredVersion(row._replace(manifest=b""), without)
    assert listed.record_bytes == len(row.manifest) + 2 * len(place.files)


def test_a_directory_is_one_place_of_a_version(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    write_version(connection, row)
    first = write_place(connection, place)
    assert write_place(connection, place._replace(is_published=0)) == first
    stored = read_version(connection, row.digest)
    assert stored is not None
    assert stored.places == (place._replace(place=first, is_published=0),)


def test_a_version_is_written_again_without_losing_its_places(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    write_version(connection, damaged(row, "no zstd"))
    number = write_place(connection, place)
    write_version(connection, row)
    assert read_version(connection, row.digest) == StoredVersion(
        row, (place._replace(place=number),)
    )


def test_several_contents_can_have_one_name_and_version(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    rival = hexdigest_of(b"")
    for digest in (row.digest, rival):
        write_version(connection, row._replace(digest=digest))
        write_place(connection, place._replace(digest=digest))
    assert [each.stored.row.digest for each in list_versions(connection)] == [rival, row.digest]


def test_a_version_goes_with_its_last_place_and_numbers_are_not_used_again(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    write_version(connection, row)
    first = write_place(connection, place)
    second = write_place(connection, place._replace(directory="v2"))
    delete_place(connection, second)
    delete_place(connection, second)
    assert read_version(connection, row.digest) == StoredVersion(
        row, (place._replace(place=first),)
    )
    delete_place(connection, first)
    assert read_version(connection, row.digest) is None
    write_version(connection, row)
    assert write_place(connection, place) > second


def test_signatures_go_with_the_last_place_unless_a_recovery_needs_them(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    def signed() -> list[str]:
        return [digest for (digest,) in connection.execute("SELECT digest FROM signatures")]

    for digest in (row.digest, "other"):
        connection.execute("INSERT INTO signatures VALUES (?, x'00')", (digest,))
    write_version(connection, row)
    numbers = [write_place(connection, place._replace(directory=name)) for name in ("v1", "v2")]
    delete_place(connection, numbers[0])
    assert signed() == [row.digest, "other"]
    connection.execute(
        "INSERT INTO recoveries (recovery, checkpoint, digest, root, target, is_paused,"
        " started_at_s) VALUES ('r', 'a', ?, 'data', '', 0, 0.0)",
        (row.digest,),
    )
    delete_place(connection, numbers[1])
    assert signed() == [row.digest, "other"]
    connection.execute("DELETE FROM recoveries")
    write_version(connection, row)
    delete_place(connection, write_place(connection, place))
    assert signed() == ["other"]


def test_files_of_some_units_are_renewed(
    connection: Connection, row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    write_version(connection, row)
    number = write_place(connection, place)
    first = hashed.files[0]
    assert first is not None
    renewed = first._replace(fingerprint=first.fingerprint._replace(inode=7))
    assert renew_files(connection, number, {0: renewed}, (), None)
    stored = read_version(connection, row.digest)
    assert stored is not None
    expected = place._replace(
        place=number, files=pack_files(UnitFiles((renewed, *hashed.files[1:])))
    )
    assert stored.places == (expected,)
    assert renew_files(connection, number, {0: first}, (), 9.0)
    stored = read_version(connection, row.digest)
    assert stored is not None
    assert stored.places == (place._replace(place=number, checked_at_s=9.0),)
    assert not renew_files(connection, number + 1, {0: first}, (), None)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_units_that_a_place_has_not_are_none_of_its_files(
    connection: Connection,
    row: VersionRow,
    place: StoredPlace,
    hashed: HashedDirectory,
    *,
    is_wrong: bool,
) -> None:
    """What is recorded of its files is of another version, or cut."""
    write_version(connection, row)
    number = write_place(connection, place)
    beyond, file = len(hashed.files), hashed.files[0]
    assert file is not None
    files, wrong = ({}, (beyond,)) if is_wrong else ({0: file, beyond: file}, ())
    with pytest.raises(DamagedState, match=f"place {number}: is damaged"):
        renew_files(connection, number, files, wrong, None)


def test_what_was_found_wrong_is_recorded_until_it_is_right(
    connection: Connection, row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    write_version(connection, row)
    number = write_place(connection, place)
    first = hashed.files[0]
    assert first is not None
    assert renew_files(connection, number, {}, {0}, None)
    stored = read_version(connection, row.digest)
    assert stored is not None
    wrong = pack_files(UnitFiles((first._replace(is_wrong=True), *hashed.files[1:])))
    assert stored.places == (place._replace(place=number, files=wrong),)
    assert renew_files(connection, number, {0: first}, {}, None)
    stored = read_version(connection, row.digest)
    assert stored is not None
    assert stored.places == (place._replace(place=number),)


def test_damaged_files_are_not_renewed(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    write_version(connection, row)
    number = write_place(connection, place._replace(files=b"\xc1"))
    with pytest.raises(DamagedState, match="is damaged"):
        renew_files(connection, number, {}, (), None)


def test_a_version_with_a_long_manifest_comes_back_and_goes_whole(
    connection: Connection, row: VersionRow, place: StoredPlace
) -> None:
    encoded = Random(1).randbytes(PIECE_BYTES + 1)
    digests = [Digest(f"{number}" * 64) for number in range(4)]
    for digest in digests:
        write_version(connection, row._replace(digest=digest))
    long = row._replace(digest=digests[1], manifest=pack(encoded))
    write_version(connection, long)
    number = write_place(connection, place._replace(digest=digests[1]))
    listed = list_versions(connection)
    assert [each.stored.row.digest for each in listed][:1] == digests[1:2], "it has a place"
    pieces = read_packed(connection, digests[1])
    assert listed[0].record_bytes == sum(map(len, pieces)) + len(place.files)
    found = read_version(connection, digests[1])
    assert found is not None
    assert found.row == long
    delete_place(connection, number)
    assert read_version(connection, digests[1]) is None
    assert read_packed(connection, digests[1]) == ()


def test_a_unit_that_is_kept_compressed_stays_so_whatever_was_found_before(
    connection: Connection, row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    write_version(connection, row)
    number = write_place(connection, place)
    first = hashed.files[0]
    assert first is not None
    kept = first._replace(plain_bytes=2 * first.fingerprint.size_bytes)
    found = renew_files(connection, number, {0: kept}, (), None)
    assert found is not None
    assert (found.compressed(), found.saved_bytes) == ([0], first.fingerprint.size_bytes)
    again = kept._replace(fingerprint=kept.fingerprint._replace(ctime_ns=9))
    for file, expected in ((first, kept), (again, again), (first, again)):
        found = renew_files(connection, number, {0: file}, (), None)
        assert found is not None
        assert found[0] == expected


def test_a_unit_that_is_wrong_or_not_there_is_not_kept_compressed(
    connection: Connection, row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    write_version(connection, row)
    first = hashed.files[0]
    assert first is not None
    kept = first._replace(plain_bytes=2 * first.fingerprint.size_bytes)
    for before in (None, first._replace(is_wrong=True)):
        files = pack_files(UnitFiles((before, *hashed.files[1:])))
        number = write_place(connection, place._replace(files=files))
        found = renew_files(connection, number, {0: kept}, (), None)
        assert found is not None
        assert found[0] == before
