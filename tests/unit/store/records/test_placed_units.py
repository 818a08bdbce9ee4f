"""What a recovery puts where nothing was is known before it appears."""

from __future__ import annotations

from dataclasses import replace

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.words import PlaceMode
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.placed_units import PlacedUnitRecords
from tests.support.stores import ended, journaled

ID = RecoveryId("r-1")


async def test_units_and_their_directory_are_remembered(database: Database) -> None:
    placed = PlacedUnitRecords(database)
    await Journal(database).begin(journaled(ID))
    assert not await placed.units(ID)
    assert not await placed.is_target_made(ID)
    await placed.note(ID, [1, 2, 5], makes_target=True)
    await placed.note(ID, [2, 3], makes_target=False)
    assert await placed.units(ID) == BlockSet([(1, 4), (5, 6)])
    assert await placed.is_target_made(ID)


async def test_they_go_with_their_recovery_and_come_with_none(database: Database) -> None:
    placed, journal = PlacedUnitRecords(database), Journal(database)
    await placed.note(ID, [1], makes_target=True)
    await journal.begin(journaled(ID))
    assert not await placed.units(ID)
    await placed.note(ID, [1], makes_target=True)
    await journal.end(ended(ID))
    assert not await placed.units(ID)
    assert not await placed.is_target_made(ID)


async def test_how_it_becomes_visible_is_in_the_journal(database: Database) -> None:
    journal = Journal(database)
    record = replace(journaled(ID), place=PlaceMode.PROGRESSIVE)
    await journal.begin(record)
    (found,) = await journal.unfinished()
    assert found == record
    assert found.place is PlaceMode.PROGRESSIVE
