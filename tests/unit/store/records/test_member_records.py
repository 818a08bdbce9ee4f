"""What a recovery of a job joins is known after a restart, until it ends."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.errors import DamagedState
from ckptd.limits import MIB
from ckptd.model.ids import Digest, RecoveryId, Version
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.manifest_pieces import PIECE_BYTES
from tests.support.stores import ended, journaled

FIRST, SECOND = RecoveryId("r-1"), RecoveryId("r-2")
A, B, JOINED = Digest("aa" * 32), Digest("bb" * 32), Digest("cc" * 32)
LONG = Random(7).randbytes(3 * MIB + 5)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


async def choose(journal: Journal, members: dict[Digest, bytes]) -> None:
    await journal.choose(FIRST, Version(7), JOINED, b"joined", members)


async def test_members_are_found_as_they_were_joined(journal: Journal) -> None:
    assert len(LONG) > PIECE_BYTES
    await journal.begin(journaled(FIRST))
    await journal.begin(journaled(SECOND))
    await choose(journal, {B: LONG, A: b"short"})
    assert await journal.members(FIRST) == (B, A), "in the order of the shards"
    assert await journal.member(FIRST, A) == b"short"
    assert await journal.member(FIRST, B) == LONG
    assert await journal.manifest(FIRST) == b"joined"
    assert await journal.members(SECOND) == ()
    assert await journal.member(SECOND, A) is None


async def test_others_take_the_place_of_those_before(journal: Journal) -> None:
    await journal.begin(journaled(FIRST))
    await choose(journal, {A: b"one", B: b"two"})
    await choose(journal, {A: b"another"})
    assert await journal.members(FIRST) == (A,)
    assert await journal.member(FIRST, A) == b"another"


async def test_members_go_with_their_recovery(journal: Journal) -> None:
    await journal.begin(journaled(FIRST))
    await choose(journal, {A: b"one"})
    await journal.end(ended(FIRST))
    assert await journal.members(FIRST) == ()
    await choose(journal, {A: b"late"})
    assert await journal.members(FIRST) == ()


async def test_a_damaged_member_is_no_manifest(journal: Journal, database: Database) -> None:
    await journal.begin(journaled(FIRST))
    await choose(journal, {A: b"one"})
    await database.run(lambda connection: connection.execute("UPDATE members SET data = x'00'"))
    assert await journal.members(FIRST) == (A,)
    with pytest.raises(DamagedState):
        await journal.member(FIRST, A)
