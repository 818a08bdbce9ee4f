"""Rates over restarts, with a real database and clocks that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ckptd.core.events import RateLearned
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.core.state.learned import LearnedRates
from ckptd.daemon.measure.rate_memory import RateMemory
from ckptd.errors import OutOfSpace
from ckptd.limits import DAY_S, MS, SECOND
from ckptd.model.ids import NodeId, PathId
from ckptd.model.words import RateOrigin
from ckptd.store.records.database import Database
from ckptd.store.records.link_records import LinkRecord, LinkRecords

A, B = NodeId("a"), NodeId("b")
RECOVERY, DOCTOR = RateOrigin


class Life:
    """One life of a daemon: its clock begins at 0, that of the world goes on."""

    def __init__(
        self, records: LinkRecords, now_s: float, *, boot: str = "", now_ns: int = 0
    ) -> None:
        self.now_ns = now_ns
        self.now_s = now_s
        self.known = LearnedRates()
        self.heard: list[RateLearned] = []
        self.addresses: dict[PathId, str] = {}
        self.kept: list[tuple[NodeId, str]] = []
        self.memory = RateMemory(
            records,
            learned=lambda: self.known.best((), now=self.now_ns),
            paths=self,
            report=self._hear,
            now=lambda: self.now_ns,
            boot=boot,
            wall_clock=lambda: self.now_s,
        )

    def address_of(self, path: PathId) -> str:
        return self.addresses.get(path, "")

    def keep_first(self, node: NodeId, address: str) -> None:
        self.kept.append((node, address))

    def _hear(self, event: RateLearned) -> None:
        self.heard.append(event)
        rate = LearnedRate(
            event.bytes_per_s, event.latency_ns, self.now_ns - event.age_ns, event.origin
        )
        self.known.note(event.path, rate, now=self.now_ns)

    def learn(self, node: NodeId, bytes_per_s: float, origin: RateOrigin = RECOVERY) -> None:
        rate = LearnedRate(bytes_per_s, 2 * MS, self.now_ns, origin)
        self.known.note(node, rate, now=self.now_ns)

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)
        self.now_s += seconds


class CountingRecords(LinkRecords):
    """Counts what is written, and refuses when the disk is full."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.written: list[list[LinkRecord]] = []
        self.is_full = False

    async def write(self, records: list[LinkRecord]) -> None:  # type: ignore[override]
        if self.is_full:
            raise OutOfSpace("state database", "no room")
        self.written.append(records)
        await super().write(records)


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[CountingRecords]:
    database = Database(str(tmp_path / "ckptd.db"))
    await database.open()
    yield CountingRecords(database)
    await database.close()


async def test_a_rate_is_known_after_a_restart_with_its_whole_age(
    records: CountingRecords,
) -> None:
    first = Life(records, now_s=1e9)
    first.learn(A, 900.0)
    first.wait(30)
    first.learn(B, 5.0, DOCTOR)
    await first.memory.write()

    second = Life(records, now_s=1e9 + 3600)
    await second.memory.load()
    assert second.heard == [
        RateLearned(A, 900.0, 2 * MS, 3600 * SECOND, RECOVERY),
        RateLearned(B, 5.0, 2 * MS, 3570 * SECOND, DOCTOR),
    ]


async def test_a_path_is_known_by_its_address_after_a_restart(records: CountingRecords) -> None:
    first, via = Life(records, now_s=1e9), PathId("a via y:1")
    first.addresses = {A: "a@x:1", via: "y:1"}
    first.known.note(via, LearnedRate(5.0, MS, 0, RECOVERY), now=0)
    first.learn(A, 900.0)
    first.learn(B, 900.0)
    await first.memory.write()
    second = Life(records, now_s=1e9 + 3600)
    await second.memory.load()
    assert {event.path for event in second.heard} == {A, B, via}
    assert second.kept == [(A, "a@x:1")]


async def test_only_what_is_new_is_written(records: CountingRecords) -> None:
    first = Life(records, now_s=1e9)
    first.learn(A, 900.0)
    await first.memory.write()
    first.wait(60)
    await first.memory.write()
    first.learn(B, 5.0)
    await first.memory.write()
    second = Life(records, now_s=1e9 + 3600)
    await second.memory.load()
    await second.memory.write()
    assert [[record.path for record in each] for each in records.written] == [[A], [B]]


async def test_what_a_few_bytes_showed_is_not_kept(records: CountingRecords) -> None:
    life = Life(records, now_s=1e9)
    life.known.note(A, LearnedRate(900.0, MS, 0, RECOVERY, is_sound=False), now=0)
    await life.memory.write()
    assert records.written == []


async def test_a_disk_that_refuses_ends_nothing_and_is_tried_again(
    records: CountingRecords,
) -> None:
    life = Life(records, now_s=1e9)
    life.learn(A, 900.0)
    records.is_full = True
    await life.memory.write()
    records.is_full = False
    await life.memory.write()
    assert [record.path for record in await records.load()] == [A]


@pytest.mark.parametrize("set_by_s", [30 * DAY_S, 0, -3650 * DAY_S])
async def test_in_one_boot_a_rate_has_its_age_whatever_the_wall_clock_was_set_to(
    records: CountingRecords, set_by_s: int
) -> None:
    first = Life(records, now_s=1e9, boot="a")
    first.learn(A, 900.0)
    await first.memory.write()
    second = Life(records, now_s=1e9 + set_by_s, boot="a", now_ns=90 * SECOND)
    await second.memory.load()
    assert [event.age_ns for event in second.heard] == [90 * SECOND]


async def test_a_clock_that_was_set_back_a_little_makes_nothing_younger_than_now(
    records: CountingRecords,
) -> None:
    first = Life(records, now_s=1e9)
    first.learn(A, 900.0)
    await first.memory.write()
    second = Life(records, now_s=1e9 - 30)
    await second.memory.load()
    assert [event.age_ns for event in second.heard] == [0]


async def test_of_a_rate_from_the_future_nothing_is_known(records: CountingRecords) -> None:
    first = Life(records, now_s=1e9)
    first.learn(A, 900.0)
    await first.memory.write()
    second = Life(records, now_s=1e9 - DAY_S)
    await second.memory.load()
    assert second.heard == []
