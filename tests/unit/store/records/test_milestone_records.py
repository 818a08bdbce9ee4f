from __future__ import annotations

from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.milestones import CRITICAL, Milestone
from ckptd.model.words import MilestoneKind
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.milestone_records import MilestoneRecords
from tests.support.stores import ended, journaled

ID, OTHER = RecoveryId("r1"), RecoveryId("r2")
ONE, ANOTHER = Digest("0a" * 32), Digest("0b" * 32)
FIRST_PHASE = Milestone(MilestoneKind.PHASE, 0)


async def test_what_was_reached_is_known_by_recovery_and_version(database: Database) -> None:
    records, journal = MilestoneRecords(database), Journal(database)
    await journal.begin(journaled(ID))
    await journal.begin(journaled(OTHER))
    await records.write(ID, ONE, CRITICAL, 5)
    await records.write(ID, ONE, FIRST_PHASE, 6)
    await records.write(OTHER, ONE, FIRST_PHASE, 7)
    assert await records.of(ID, ONE) == {CRITICAL: 5, FIRST_PHASE: 6}
    assert await records.of(OTHER, ONE) == {FIRST_PHASE: 7}
    await records.write(ID, ONE, FIRST_PHASE, 9)  # it was lost meanwhile
    assert (await records.of(ID, ONE))[FIRST_PHASE] == 9
    await records.write(ID, ANOTHER, FIRST_PHASE, 11)
    assert await records.of(ID, ANOTHER) == {FIRST_PHASE: 11}
    assert await records.of(ID, ONE) == {CRITICAL: 5}


async def test_nothing_is_kept_of_one_that_ended(database: Database) -> None:
    records, journal = MilestoneRecords(database), Journal(database)
    await journal.begin(journaled(ID))
    await records.write(ID, ONE, CRITICAL, 5)
    await journal.end(ended(ID))
    await records.write(ID, ONE, FIRST_PHASE, 6)
    assert await records.of(ID, ONE) == {}


async def test_a_word_of_a_newer_ckptd_is_passed_over(database: Database) -> None:
    records = MilestoneRecords(database)
    await Journal(database).begin(journaled(ID))
    await database.run(
        lambda connection: connection.execute(
            "INSERT INTO milestones VALUES (?, ?, 'usable', 0, 3)", (ID, ONE)
        )
    )
    assert await records.of(ID, ONE) == {}
