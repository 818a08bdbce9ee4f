"""Which places have files that were passed is known after a restart."""

from __future__ import annotations

from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.passed_records import PassedRecords


async def test_a_place_is_known_until_it_is_forgotten_or_needs_nobody(
    database: Database, root: Root, hashed: HashedDirectory
) -> None:
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    number = (await catalog.add(hashed)).places[0].number
    records = PassedRecords(database)
    for _ in range(2):
        await records.note(number, is_passed=True)
    await records.note(number + 1, is_passed=True)  # there is none
    assert await records.places() == {number}
    await records.note(number, is_passed=False)
    assert await records.places() == set()
    await records.note(number, is_passed=True)
    await catalog.forget(number)
    assert await records.places() == set()
