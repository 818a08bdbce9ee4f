"""Who reads a version keeps it here, for a while and over restarts."""

from __future__ import annotations

import pytest

from ckptd.daemon.retain.leases import LEASE_S, Leases
from ckptd.errors import StorageError
from ckptd.model.ids import Digest
from ckptd.store.records.database import Database
from ckptd.store.records.retention_records import ReadDirectory, RetentionRecords

HERE, THERE = ReadDirectory("data", "llama/1"), ReadDirectory("data", "llama/2")
DIGEST = Digest("0a" * 32)


class Clock:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(database: Database, clock: Clock) -> Leases:
    return Leases(RetentionRecords(database), clock)


async def test_a_lease_ends_by_itself_so_long_after_its_last_use(
    leases: Leases, clock: Clock
) -> None:
    assert not leases.is_read(HERE)
    await leases.take(HERE)
    clock.now_s += LEASE_S - 1
    assert leases.is_read(HERE)
    assert not leases.is_read(THERE)
    await leases.take(HERE)
    clock.now_s += LEASE_S - 1
    assert leases.is_read(HERE)
    clock.now_s += 1
    assert not leases.is_read(HERE)


async def test_as_long_as_an_answer_is_under_way_a_lease_does_not_end(
    leases: Leases, clock: Clock
) -> None:
    await leases.take(HERE)
    with leases.reading(HERE), leases.reading(HERE):
        clock.now_s += 10 * LEASE_S
        assert leases.is_read(HERE)
        await leases.end_old()
        assert leases.is_read(HERE)
    assert leases.is_read(HERE)
    clock.now_s += LEASE_S
    assert not leases.is_read(HERE)


async def test_a_restart_gives_each_lease_its_whole_time_again(
    leases: Leases, clock: Clock, database: Database
) -> None:
    await leases.take(HERE)
    clock.now_s += LEASE_S - 1
    next_life = Leases(RetentionRecords(database), clock)
    await next_life.load()
    clock.now_s += LEASE_S - 1
    assert next_life.is_read(HERE)
    clock.now_s += 1
    await next_life.end_old()
    last_life = Leases(RetentionRecords(database), clock)
    await last_life.load()
    assert not last_life.is_read(HERE)


async def test_what_a_peer_asks_for_is_remembered_for_a_while(leases: Leases, clock: Clock) -> None:
    leases.note_asked(DIGEST)
    clock.now_s += LEASE_S - 1
    assert leases.is_asked_for(DIGEST)
    clock.now_s += 1
    assert not leases.is_asked_for(DIGEST)
    await leases.end_old()
    assert not leases.is_asked_for(DIGEST)


async def test_one_block_alone_may_be_an_audit_and_is_no_reading(
    leases: Leases, clock: Clock
) -> None:
    leases.note_sent(DIGEST, "b", 1)
    leases.note_sent(DIGEST, "c", 1)
    assert not leases.is_asked_for(DIGEST)
    clock.now_s += LEASE_S
    leases.note_sent(DIGEST, "b", 1)
    assert not leases.is_asked_for(DIGEST)
    clock.now_s += LEASE_S - 1
    leases.note_sent(DIGEST, "b", 1)
    assert leases.is_asked_for(DIGEST), "the second one within ten minutes"


async def test_several_blocks_at_once_are_reading(leases: Leases) -> None:
    leases.note_sent(DIGEST, "b", 2)
    assert leases.is_asked_for(DIGEST)


async def test_a_lease_counts_also_if_it_cannot_be_written_down(
    leases: Leases, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise StorageError("database", "is read-only")

    monkeypatch.setattr(database, "run", refuse)
    await leases.take(HERE)
    assert leases.is_read(HERE)
