"""What retention is removing, and who reads what, is known after a restart."""

from __future__ import annotations

from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.retention_records import ReadDirectory, RetentionRecords

HERE, THERE = ReadDirectory("data", "llama/1"), ReadDirectory("data", "llama/2")


async def test_what_is_being_removed_is_known_until_it_is_gone(
    database: Database, root: Root, hashed: HashedDirectory
) -> None:
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    (place,) = (await catalog.add(hashed)).places
    records = RetentionRecords(database)
    await records.begin_removal([place.number, place.number + 1])
    await records.begin_removal([place.number])
    assert await RetentionRecords(database).removals() == {place.number}
    await catalog.forget(place.number)
    assert await records.removals() == frozenset()


async def test_a_place_that_stays_is_not_removed_any_more(
    database: Database, root: Root, hashed: HashedDirectory
) -> None:
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    (place,) = (await catalog.add(hashed)).places
    records = RetentionRecords(database)
    await records.begin_removal([place.number])
    await records.end_removal([place.number])
    assert await records.removals() == frozenset()


async def test_who_reads_is_known_until_it_ends(database: Database) -> None:
    records = RetentionRecords(database)
    for each in (HERE, THERE, HERE):
        await records.note_lease(each)
    assert await RetentionRecords(database).leases() == {HERE, THERE}
    await records.end_leases([HERE])
    assert await records.leases() == {THERE}
