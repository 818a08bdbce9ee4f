"""What a recovery of a job joins is known after a restart, until it ends."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.errors import DamagedState
from ckptd.limits import MIB
from ckptd.model.ids import Digest, RecoveryId
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.manifest_pieces import PIECE_BYTES
from ckptd.store.records.member_records import MemberRecords
from tests.support.stores import ended, journaled

FIRST, SECOND = RecoveryId("r-1"), RecoveryId("r-2")
A, B = Digest("aa" * 32), Digest("bb" * 32)
LONG = Random(7).randbytes(3 * MIB + 5)


@pytest.fixture
def records(database: Database) -> MemberRecords:
    return MemberRecords(database)


async def test_members_are_found_as_they_were_put(
    database: Database, records: MemberRecords
) -> None:
    assert len(LONG) > PIECE_BYTES
    await Journal(database).begin(journaled(FIRST))
    await Journal(database).begin(journaled(SECOND))
    await records.put(FIRST, [(B, LONG), (A, memoryview(b"short"))])
    assert await records.find(FIRST) == {A: b"short", B: LONG}
    assert await records.manifest(FIRST, A) == b"short"
    assert await records.manifest(FIRST, B) == LONG
    assert await records.find(SECOND) == {}
    assert await records.manifest(SECOND, A) is None


async def test_other_members_take_the_place_of_those_before(
    database: Database, records: MemberRecords
) -> None:
    await Journal(database).begin(journaled(FIRST))
    await records.put(FIRST, [(A, b"one"), (B, b"two")])
    await records.put(FIRST, [(A, b"another")])
    assert await records.find(FIRST) == {A: b"another"}


async def test_members_go_with_their_recovery(database: Database, records: MemberRecords) -> None:
    await Journal(database).begin(journaled(FIRST))
    await records.put(FIRST, [(A, b"one")])
    await Journal(database).end(ended(FIRST))
    assert await records.find(FIRST) == {}
    await records.put(FIRST, [(A, b"late")])
    assert await records.find(FIRST) == {}


async def test_a_damaged_member_is_no_manifest(database: Database, records: MemberRecords) -> None:
    await Journal(database).begin(journaled(FIRST))
    await records.put(FIRST, [(A, b"one")])
    await database.run(lambda connection: connection.execute("UPDATE members SET data = x'00'"))
    with pytest.raises(DamagedState):
        await records.find(FIRST)
