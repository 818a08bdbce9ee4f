import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

import pytest

from ckptd.daemon.keep import rechecking
from ckptd.daemon.keep.reads import Reads
from ckptd.daemon.keep.rechecking import Rechecking, first_batch
from ckptd.limits import MIB
from ckptd.model.ids import Digest
from ckptd.model.words import PlaceState, ReadReason
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.published.checking import Checked, Reading, hash_again
from ckptd.store.published.hash_runs import HashRun
from ckptd.store.published.places import HeldVersion, Place
from tests.support.manifests import make_unit
from tests.unit.daemon.keep.conftest import Held

SETTLED = HashRun.settled
UNITS = [make_unit(str(size), b"x" * size) for size in (10, 0, 30, 5)]


@pytest.mark.parametrize(
    ("left", "size_bytes", "batch"),
    [
        ([0, 1, 2, 3], 45, [0, 1, 2, 3]),
        ([0, 1, 2, 3], 44, [0, 1, 2]),
        ([0, 1, 2, 3], 39, [0, 1]),
        ([2, 3], 1, [2]),
        ([3], 0, [3]),
    ],
)
def test_a_batch_has_so_many_bytes_and_at_least_one_unit(
    left: list[int], size_bytes: int, batch: list[int]
) -> None:
    assert first_batch(UNITS, left, size_bytes) == batch


class Run:
    """A service that checks, and how it read."""

    def __init__(self, held: Held, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = held
        self.readings: list[tuple[list[int], Reading]] = []
        self.before: Callable[[Reading], None] = lambda _: None
        self.checking = Rechecking(held.catalog, held.roots, reads, rate_bytes_per_s=64 * MIB)
        held.catalog.on_place = self.checking.suspect

        def read(root: object, hashed: object, units: list[int], reading: Reading) -> object:
            self.readings.append((list(units), reading))
            self.before(reading)
            return hash_again(root, hashed, units, reading)  # type: ignore[arg-type]

        monkeypatch.setattr(rechecking, "hash_again", read)
        self.taken_in = asyncio.Event()
        take_in = reads.take_in

        async def take_in_and_tell(
            reason: ReadReason,
            held: HeldVersion,
            place: Place,
            hashed: HashedDirectory,
            checked: Checked,
        ) -> None:
            await take_in(reason, held, place, hashed, checked)
            self.taken_in.set()

        monkeypatch.setattr(reads, "take_in", take_in_and_tell)

    async def until(self, state: PlaceState) -> None:
        async with asyncio.timeout(60):
            while self.held.place.state is not state:
                await self.taken_in.wait()
                self.taken_in.clear()

    @property
    def workers(self) -> list[int]:
        return [reading.workers for _, reading in self.readings]


@pytest.fixture
async def run(held: Held, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    made = Run(held, reads, monkeypatch)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.checking.run())
        yield made
        running.cancel()


async def test_what_is_suspect_is_hashed_in_the_background(run: Run, reads: Reads) -> None:
    os.utime(run.held.path("weights.bin"))
    run.held.suspect("weights.bin")
    await run.until(PlaceState.HERE)
    assert run.workers == [1]
    assert reads.bytes_by_reason == {ReadReason.SUSPECT: 300_000}


async def test_only_what_is_different_is_lost(run: Run) -> None:
    run.held.write("weights.bin", b"?" * 300_000)
    run.held.suspect("weights.bin", "optimizer/state.bin")
    await run.until(PlaceState.STALE)
    assert run.held.place.changed == {run.held.units["weights.bin"]}
    assert not run.held.place.suspect


async def test_whoever_asks_has_it_hashed_at_once_with_all_cores(run: Run) -> None:
    run.checking.hurry(Digest("ab" * 32))
    run.checking.hurry(run.held.digest)
    run.held.catalog.on_place = lambda _: None
    run.held.suspect("weights.bin")
    run.checking.hurry(run.held.digest)
    await run.until(PlaceState.HERE)
    assert run.workers == [3]


async def test_a_slow_check_makes_way_for_a_fast_one(run: Run) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(reading: Reading) -> None:
        if reading.workers == 1:
            loop.call_soon_threadsafe(begun.set)
            for _ in range(1000):
                if reading.is_cancelled():
                    return
                reading.pace(MIB)

    run.before = wait
    run.held.suspect("weights.bin")
    await begun.wait()
    run.checking.hurry(run.held.digest)
    await run.until(PlaceState.HERE)
    assert run.workers == [1, 3]


async def test_what_somebody_asked_for_lately_is_hurried_when_it_becomes_suspect(
    run: Run,
) -> None:
    run.checking.hurry(run.held.digest)
    run.held.suspect("weights.bin")
    await run.until(PlaceState.HERE)
    assert run.workers == [3]


async def test_units_come_back_one_batch_after_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rechecking, "_BATCH_BYTES", 1)
    monkeypatch.setattr(rechecking, "_BATCHES_MAX", 10**9)
    seen: list[int] = []
    run.before = lambda _: seen.append(len(run.held.place.suspect))
    run.held.suspect("weights.bin", "optimizer/state.bin")
    await run.until(PlaceState.HERE)
    assert seen == [2, 1]
    assert [units for units, _ in run.readings] == sorted(units for units, _ in run.readings)


async def test_what_cannot_be_decided_now_stays_suspect(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.store.published.hash_runs.HashRun.settled", lambda *_: None)
    run.held.suspect("weights.bin")
    async with asyncio.timeout(60):
        await run.taken_in.wait()
    assert run.held.place.state is PlaceState.SUSPECT
    run.held.catalog.on_place = lambda _: None
    run.checking.suspect(run.held.number)  # somebody writes to it: not at once again
    monkeypatch.setattr(run.checking, "_clock", lambda: time.monotonic() + 31)
    monkeypatch.setattr("ckptd.store.published.hash_runs.HashRun.settled", SETTLED)
    run.checking.suspect(run.held.number)
    await run.until(PlaceState.HERE)
    assert len(run.readings) == 2
