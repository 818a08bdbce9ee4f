import asyncio
import gc
import threading

import pytest

from ckptd.errors import DamagedState, NotFound
from ckptd.model.ids import Digest, Version
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.records import version_records
from ckptd.store.records.database import Database
from ckptd.store.records.packed_files import pack_files
from ckptd.store.records.schema import Connection
from ckptd.store.records.version_records import VersionRecords
from ckptd.store.records.version_rows import (
    StoredPlace,
    VersionRow,
    pack_version,
    unpack_version,
)


@pytest.fixture
def damages() -> list[Digest]:
    return []


@pytest.fixture
def records(database: Database, damages: list[Digest]) -> VersionRecords:
    return VersionRecords(database, lambda places, _: damages.append(places[0].digest))


@pytest.fixture
def row(hashed: HashedDirectory) -> VersionRow:
    return pack_version(hashed, AddressSpace(hashed.manifest))


@pytest.fixture
def place(hashed: HashedDirectory) -> StoredPlace:
    return StoredPlace(0, hashed.digest, "data", "v1", 1, 0, pack_files(hashed.files), 5.0, 6.0, 0)


def note_nothing(connection: Connection) -> None:
    """Write nothing else."""


async def test_what_was_added_is_read(
    records: VersionRecords, row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    (number,) = await records.add([(row, place)], [], note_nothing)
    stored = await records.read(row.digest)
    assert stored.row == row
    assert stored.places == (place._replace(place=number),)
    assert await records.manifest_bytes(row.digest) == hashed.encoded
    assert await records.hashed(row.digest, [number, number + 1]) == {number: hashed}
    await records.delete([number])
    with pytest.raises(NotFound):
        await records.read(row.digest)


async def test_everything_is_listed_the_latest_first_without_what_is_long(
    records: VersionRecords, row: VersionRow, place: StoredPlace
) -> None:
    assert await records.listed() == []
    digests = sorted(hexdigest_of(bytes([number])) for number in range(5))
    for number, digest in enumerate(digests):
        other = row._replace(digest=digest, version=Version(number))
        await records.add([(other, place._replace(digest=digest))], [], note_nothing)
    listed = await records.listed()
    assert [each.stored.row.digest for each in listed] == digests[::-1]
    assert {each.stored.row.manifest for each in listed} == {b""}


async def test_what_takes_the_place_of_others_does_so_at_once_or_not_at_all(
    records: VersionRecords, row: VersionRow, place: StoredPlace
) -> None:
    (first,) = await records.add([(row, place)], [], note_nothing)
    other = row._replace(digest=hexdigest_of(b"other"))

    def refuse(connection: Connection) -> None:
        raise RuntimeError

    added = place._replace(digest=other.digest)
    with pytest.raises(RuntimeError):
        await records.add([(other, added)], [first], refuse)
    assert (await records.read(row.digest)).row == row
    await records.add([(other, added)], [first], note_nothing)
    assert [each.stored.row.digest for each in await records.listed()] == [other.digest]


async def test_places_are_withdrawn_and_scrubbed_and_their_files_renewed(
    records: VersionRecords, row: VersionRow, place: StoredPlace, hashed: HashedDirectory
) -> None:
    (number,) = await records.add([(row, place)], [], note_nothing)
    await records.set_withdrawn([number], is_withdrawn=True)
    await records.note_scrubbed(number, 3, None)
    first = hashed.files[0]
    assert first is not None
    assert await records.renew_files(number, {0: first}, (), 9.0)
    assert not await records.renew_files(number + 1, {0: first}, (), 9.0)
    (found,) = (await records.read(row.digest)).places
    assert found == place._replace(place=number, is_withdrawn=1, scrubbed_units=3, checked_at_s=9.0)


async def test_who_reads_a_damaged_version_hears_of_it_and_so_does_the_catalog(
    records: VersionRecords, row: VersionRow, place: StoredPlace, damages: list[Digest]
) -> None:
    (number,) = await records.add([(row._replace(manifest=b"x"), place)], [], note_nothing)
    with pytest.raises(DamagedState):
        await records.manifest_bytes(row.digest)
    with pytest.raises(DamagedState):
        await records.hashed(row.digest, [number])
    assert damages == [row.digest] * 2


async def test_whoever_uses_a_version_at_a_time_shares_its_manifest(
    records: VersionRecords,
    row: VersionRow,
    place: StoredPlace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (number,) = await records.add([(row, place)], [], note_nothing)
    unpacked: list[Digest] = []

    def unpack(row: VersionRow, database: str) -> Manifest:
        unpacked.append(row.digest)
        return unpack_version(row, database)

    monkeypatch.setattr(version_records, "unpack_version", unpack)

    async def use() -> None:
        first, second, manifest = await asyncio.gather(
            records.hashed(row.digest, [number]),
            records.hashed(row.digest, [number]),
            records.manifest(row.digest),
        )
        assert first[number].manifest is second[number].manifest is manifest
        assert await records.manifest_bytes(row.digest) == first[number].encoded

    await use()
    assert unpacked == [row.digest]
    await asyncio.sleep(0)  # the results of the tasks go
    gc.collect()
    await records.manifest(row.digest)
    assert unpacked == [row.digest] * 2, "nobody used it any more"
    used = await records.hashed(row.digest, [number])
    await records.delete([number])
    with pytest.raises(NotFound):
        await records.hashed(row.digest, list(used))


async def test_a_manifest_in_use_is_had_while_another_is_unpacked(
    records: VersionRecords,
    row: VersionRow,
    place: StoredPlace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = row._replace(digest=hexdigest_of(b"other"), manifest=b"x")
    await records.add(
        [(row, place), (other, place._replace(digest=other.digest))], [], note_nothing
    )
    used = await records.manifest(row.digest)
    goes_on = threading.Event()

    def unpack_late(row: VersionRow, database: str) -> Manifest:
        assert goes_on.wait(60)
        return unpack_version(row, database)

    monkeypatch.setattr(version_records, "unpack_version", unpack_late)
    unpacking = asyncio.create_task(records.manifest(other.digest))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await records.manifest(row.digest) is used
    assert not unpacking.done()
    goes_on.set()
    with pytest.raises(DamagedState):
        await unpacking
