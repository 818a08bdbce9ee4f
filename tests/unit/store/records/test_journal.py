import asyncio
import tracemalloc
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from ckptd.errors import StorageError
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, NodeId, RecoveryId, Version
from ckptd.store.records import journal as journal_module
from ckptd.store.records.database import Database
from ckptd.store.records.journal import ENDED_MAX, Journal, JournaledRecovery
from ckptd.store.records.manifest_pieces import read_packed
from tests.support.stores import ended, journaled

FIRST = RecoveryId("r1")
SECOND = RecoveryId("r2")
DIGEST = Digest("ab" * 32)
OTHER_DIGEST = Digest("cd" * 32)


def make_recovery(recovery: RecoveryId = FIRST, *, started_at_s: float = 5.5) -> JournaledRecovery:
    return journaled(recovery, target="llama/100", started_at_s=started_at_s)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


async def test_an_empty_journal_has_nothing(journal: Journal) -> None:
    assert await journal.unfinished() == ()
    assert await journal.ended() == ()
    assert await journal.blocks(FIRST) == BlockSet()
    assert await journal.manifest(FIRST) is None


async def test_a_recovery_is_found_again_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "ckptd.db")
    recovery = replace(
        make_recovery(),
        version=Version(7),
        patience_ns=10**9,
        is_paused=True,
        is_background=True,
        digest_prefix="0a0a0a0a",
        from_node=NodeId("n"),
        is_named=False,
        is_overwriting=True,
        is_repair=True,
        allow_partial=True,
        is_name_awaited=True,
        shards="3,7",
        choice="some",
        rest_follows=True,
        is_on_demand=True,
    )
    database = Database(path)
    await database.open()
    journal = Journal(database)
    await journal.begin(recovery)
    await journal.choose(FIRST, Version(7), DIGEST, b"manifest")
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, 3), (8, 9)]))
    await database.close()

    database = Database(path)
    await database.open()
    journal = Journal(database)
    assert await journal.unfinished() == (replace(recovery, digest=DIGEST),)
    assert await journal.manifest(FIRST) == b"manifest"
    assert await journal.blocks(FIRST) == BlockSet([(0, 3), (8, 9)])
    await database.close()


async def test_unfinished_recoveries_come_in_their_order_whatever_the_wall_clock_said(
    journal: Journal,
) -> None:
    await journal.begin(make_recovery(FIRST, started_at_s=9.0))
    await journal.begin(make_recovery(SECOND, started_at_s=3.0))
    assert [each.recovery for each in await journal.unfinished()] == [FIRST, SECOND]


async def test_several_are_recorded_or_none(journal: Journal) -> None:
    await journal.begin(make_recovery(SECOND))
    with pytest.raises(StorageError):
        await journal.begin(make_recovery(FIRST), make_recovery(SECOND))
    assert [each.recovery for each in await journal.unfinished()] == [SECOND]


async def test_appended_blocks_add_up(journal: Journal) -> None:
    await journal.begin(make_recovery())
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, 4)]))
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(2, 6), (9, 10)]))
    await asyncio.to_thread(journal.append, FIRST, BlockSet())
    assert await journal.blocks(FIRST) == BlockSet([(0, 6), (9, 10)])


async def test_recoveries_do_not_mix(journal: Journal) -> None:
    await journal.begin(make_recovery(FIRST))
    await journal.begin(make_recovery(SECOND))
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, 4)]))
    await asyncio.to_thread(journal.append, SECOND, BlockSet([(7, 8)]))
    await journal.end(ended(FIRST))
    assert await journal.blocks(FIRST) == BlockSet()
    assert await journal.blocks(SECOND) == BlockSet([(7, 8)])


async def test_pausing_is_kept(journal: Journal) -> None:
    await journal.begin(make_recovery())
    for is_paused in (True, False):
        await journal.set_paused(FIRST, is_paused=is_paused)
        (recovery,) = await journal.unfinished()
        assert recovery.is_paused is is_paused


async def test_a_wider_choice_is_kept(journal: Journal) -> None:
    for name in (FIRST, SECOND):
        await journal.begin(replace(make_recovery(name), choice="some", rest_follows=True))
    await journal.widen(FIRST, "", rest_follows=False)
    kept = {each.recovery: (each.choice, each.rest_follows) for each in await journal.unfinished()}
    assert kept == {FIRST: ("", False), SECOND: ("some", True)}


async def test_what_follows_is_there_when_the_first_one_is_not_any_more(journal: Journal) -> None:
    await journal.begin(make_recovery(FIRST))
    follower = replace(make_recovery(SECOND), is_background=True)
    await journal.end(ended(FIRST), follower)
    assert await journal.unfinished() == (follower,)
    await journal.forget(SECOND)
    assert await journal.unfinished() == ()
    assert [each.recovery for each in await journal.ended()] == [FIRST]


async def test_leaving_the_background_is_kept(journal: Journal) -> None:
    for name in (FIRST, SECOND):
        await journal.begin(replace(make_recovery(name), is_background=True))
    await journal.promote(FIRST)
    kept = {each.recovery: each.is_background for each in await journal.unfinished()}
    assert kept == {FIRST: False, SECOND: True}


async def test_the_rest_of_a_recovery_on_demand_may_be_wanted_later(journal: Journal) -> None:
    await journal.begin(replace(make_recovery(FIRST), is_on_demand=True))
    await journal.begin(replace(make_recovery(SECOND), is_on_demand=True))
    await journal.want_rest(FIRST, is_background=True)
    kept = [(each.is_on_demand, each.is_background) for each in await journal.unfinished()]
    assert kept == [(False, True), (True, False)]


async def test_choosing_other_content_forgets_the_blocks(journal: Journal) -> None:
    await journal.begin(make_recovery())
    await journal.choose(FIRST, Version(7), DIGEST, b"7")
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, 4)]))
    await journal.choose(FIRST, Version(7), DIGEST, b"7")
    assert await journal.blocks(FIRST) == BlockSet([(0, 4)])
    await journal.choose(FIRST, Version(8), OTHER_DIGEST, b"8")
    assert await journal.blocks(FIRST) == BlockSet()
    assert await journal.manifest(FIRST) == b"8"


async def test_blocks_of_the_content_before_are_kept_for_when_it_is_chosen_again(
    journal: Journal, database: Database
) -> None:
    await journal.begin(make_recovery())
    assert await journal.digest(FIRST) is None
    third = Digest("0c" * 32)
    for digest, number in ((DIGEST, 4), (OTHER_DIGEST, 5), (third, 6)):
        await journal.choose(FIRST, Version(7), digest, b"7")
        assert await journal.digest(FIRST) == digest
        await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, number)]))
    await journal.choose(FIRST, Version(7), OTHER_DIGEST, b"7")
    assert await journal.blocks(FIRST) == BlockSet([(0, 5)])
    await journal.choose(FIRST, Version(7), third, b"7")
    assert await journal.blocks(FIRST) == BlockSet([(0, 6)])
    await journal.choose(FIRST, Version(7), DIGEST, b"7")
    assert await journal.blocks(FIRST) == BlockSet(), "one content is kept, the last"
    await journal.end(ended(FIRST))
    rows = await database.run(
        lambda connection: connection.execute("SELECT * FROM kept").fetchall()
    )
    assert rows == []


async def count_rows(database: Database) -> int:
    return await database.run(
        lambda connection: int(connection.execute("SELECT count(*) FROM verified").fetchone()[0])
    )


async def test_many_runs_are_merged(
    journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_ROWS_MAX", 16)
    await journal.begin(make_recovery())
    await journal.begin(make_recovery(SECOND))
    await asyncio.to_thread(journal.append, SECOND, BlockSet([(0, 1), (2, 3)]))
    for block in range(17):
        await asyncio.to_thread(journal.append, FIRST, BlockSet.single(block))
    assert await count_rows(database) == 2 + 1
    assert await journal.blocks(FIRST) == BlockSet.full(17)
    assert await journal.blocks(SECOND) == BlockSet([(0, 1), (2, 3)])


async def test_an_ended_recovery_leaves_only_how_it_ended(
    journal: Journal, database: Database
) -> None:
    await journal.begin(make_recovery())
    await journal.choose(FIRST, Version(7), DIGEST, b"manifest")
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, 4)]))
    record = ended(FIRST)
    await journal.end(record)
    assert await journal.unfinished() == ()
    assert await journal.manifest(FIRST) is None
    assert await count_rows(database) == 0
    assert await journal.ended() == (record,)


async def test_blocks_that_come_after_the_end_are_not_kept(
    journal: Journal, database: Database
) -> None:
    await journal.begin(make_recovery())
    await journal.end(ended(FIRST))
    await asyncio.to_thread(journal.append, FIRST, BlockSet([(0, 4)]))
    assert await count_rows(database) == 0


async def test_of_ended_recoveries_only_the_last_are_kept_newest_first(journal: Journal) -> None:
    for number in range(ENDED_MAX + 5):
        await journal.end(ended(RecoveryId(f"r{number}")))
    expected = [f"r{number}" for number in range(ENDED_MAX + 4, 4, -1)]
    assert [record.recovery for record in await journal.ended()] == expected


async def test_a_long_manifest_is_found_again_and_goes_with_its_last_recovery(
    database: Database, journal: Journal
) -> None:
    long = bytes(range(256)) * (MANIFEST_BYTES_MAX // 256)
    for recovery in (FIRST, SECOND):
        await journal.begin(make_recovery(recovery))
        await journal.choose(recovery, Version(7), DIGEST, memoryview(long))
    assert await journal.manifest(SECOND) == long
    await journal.end(ended(FIRST))
    assert await journal.manifest(SECOND) == long
    await journal.choose(SECOND, Version(8), OTHER_DIGEST, b"short")
    assert await journal.manifest(SECOND) == b"short"
    assert await database.run(lambda connection: read_packed(connection, DIGEST)) == ()


async def test_of_a_long_manifest_one_piece_at_a_time_is_copied(journal: Journal) -> None:
    long = Random(1).randbytes(16 * MIB)
    await journal.begin(make_recovery())
    tracemalloc.start()
    try:
        await journal.choose(FIRST, Version(7), DIGEST, memoryview(long))
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()


async def test_what_is_to_become_active_is_kept(journal: Journal) -> None:
    for name in (FIRST, SECOND):
        await journal.begin(make_recovery(name))
    await journal.activate(FIRST)
    kept = {each.recovery: each.is_activating for each in await journal.unfinished()}
    assert kept == {FIRST: True, SECOND: False}
    await journal.end(ended(SECOND), replace(make_recovery(SECOND), is_activating=True))
    assert all(each.is_activating for each in await journal.unfinished())
