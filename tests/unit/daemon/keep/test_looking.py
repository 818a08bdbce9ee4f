import asyncio
import os
import shutil
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from ckptd.daemon.keep import watching
from ckptd.daemon.keep.looking import Looking
from ckptd.daemon.keep.reads import Reads
from ckptd.errors import StorageError
from ckptd.model.words import PlaceState
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Differences, Recorded, compare
from tests.unit.daemon.keep.conftest import Held


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queued() -> list[int]:
    """Places that are to be hashed again."""
    return []


@pytest.fixture
def looking(held: Held, reads: Reads, queued: list[int], clock: Clock) -> Looking:
    return Looking(
        held.catalog, held.roots, reads, on_suspect=queued.append, every_s=60.0, clock=clock
    )


async def test_where_nothing_happened_nothing_is_said(
    held: Held, looking: Looking, queued: list[int], reads: Reads
) -> None:
    before = held.place
    for _ in range(2):
        await looking.look_at_all("data")
    assert held.place is before
    assert (queued, reads.changed_units) == ([], 0)


async def test_what_looks_different_is_queued_until_it_was_hashed(
    held: Held, looking: Looking, queued: list[int], reads: Reads
) -> None:
    os.utime(held.path("weights.bin"))
    for _ in range(2):
        await looking.look_at_all("data")
    assert held.place.suspect == {held.units["weights.bin"]}
    assert queued == [held.number] * 2
    assert reads.changed_units == 0


async def test_what_was_hashed_and_is_right_is_not_suspect_again(
    held: Held, looking: Looking, queued: list[int]
) -> None:
    weights = held.units["weights.bin"]
    os.utime(held.path("weights.bin"))
    await looking.look_at_all("data")
    await held.settle_right("weights.bin")
    queued.clear()
    await looking.look_at_all("data")
    assert weights not in held.place.suspect
    assert (held.place.state, queued) == (PlaceState.HERE, [])


async def test_what_cannot_be_the_same_is_changed_at_once_and_counted_once(
    held: Held, looking: Looking, queued: list[int], reads: Reads
) -> None:
    held.remove("weights.bin")
    held.write("optimizer/state.bin", b"short")
    for _ in range(2):
        await looking.look_at_all("data")
    assert held.place.changed == {held.units["weights.bin"], held.units["optimizer/state.bin"]}
    assert (queued, reads.changed_units) == ([], 2)


async def test_what_changed_is_hashed_once_more_when_something_happens_to_it(
    held: Held, looking: Looking, queued: list[int]
) -> None:
    weights = held.units["weights.bin"]
    os.utime(held.path("weights.bin"))
    await looking.look_at_all("data")
    await held.catalog.settle(held.number, {}, {weights: "it is different"})
    queued.clear()
    await looking.look_at_all("data")
    assert held.place.changed == {weights}
    assert queued == []
    os.utime(held.path("weights.bin"), (5, 5))
    await looking.look_at_all("data")
    assert held.place.suspect == {weights}
    assert queued == [held.number]


async def test_what_was_gone_and_is_back_is_hashed(
    held: Held, looking: Looking, queued: list[int]
) -> None:
    os.rename(held.path("weights.bin"), held.path("elsewhere"))
    await looking.look_at_all("data")
    assert held.place.changed == {held.units["weights.bin"]}
    os.rename(held.path("elsewhere"), held.path("weights.bin"))
    await looking.look_at_all("data")
    assert held.place.suspect == {held.units["weights.bin"]}
    assert queued == [held.number]


async def test_what_comes_to_a_directory_after_it_was_published_is_said_once(
    held: Held, looking: Looking, clock: Clock
) -> None:
    held.write("notes", b"was there at the first look")
    with capture_logs() as lines:
        await looking.look_at_all("data")
        assert looking.appeared() == ()
        held.write("late", b"")
        held.write("optimizer/.metadata", b"")
        held.write("train.log", b"")
        for _ in range(2):
            await looking.look_at_all("data")
    late = [str(held.path(name)) for name in ("late", "optimizer/.metadata")]
    assert looking.appeared() == tuple(late)
    [line] = [line for line in lines if line["event"] == "version.appeared"]
    assert all(f"{held.directory.name}/{name}" in line["names"] for name in ("late", "optimizer/"))
    assert held.place.state is PlaceState.HERE
    held.remove("late")
    await looking.look_at_all("data")
    assert looking.appeared() == (late[1],)
    looking.renew(held.number)
    await looking.look_at_all("data")
    assert looking.appeared() == ()


@pytest.mark.parametrize("calls", [1, 2])
async def test_what_is_recorded_otherwise_during_a_look_is_looked_at_again(
    held: Held, looking: Looking, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = calls

    def compare_and_renew(root: Root, recorded: Recorded, about: frozenset[int]) -> Differences:
        nonlocal left
        left -= 1
        if not left:
            looking.renew(held.number)
        return compare(root, recorded, about)

    await looking.look_at(held.number)
    os.utime(held.path("weights.bin"))
    monkeypatch.setattr("ckptd.daemon.keep.looking.compare", compare_and_renew)
    await looking.look_at(held.number)
    assert not held.place.suspect
    monkeypatch.undo()
    await looking.look_at(held.number)
    assert held.place.suspect == {held.units["weights.bin"]}


async def test_a_place_that_was_removed_is_forgotten(held: Held, looking: Looking) -> None:
    await looking.look_at_all("data")
    shutil.rmtree(held.directory)
    await looking.look_at_all("data")
    assert held.catalog.held(held.digest) is None
    assert looking.watching.directory_count == 0
    await looking.look_at_all("data")


@pytest.fixture
async def running(
    held: Held, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.Event]:
    """Look as a service; set when the catalog knows something new."""
    monkeypatch.setattr(watching, "COLLECT_S", 0.0)
    changed = asyncio.Event()
    held.catalog.on_change = changed.set
    looking.watching.open()
    await looking.look_at_all("data")
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(looking.run()), tasks.create_task(looking.watching.run())]
        yield changed
        for task in running:
            task.cancel()
    looking.watching.close()


async def test_what_the_kernel_reports_is_looked_at(held: Held, running: asyncio.Event) -> None:
    held.remove("weights.bin")
    async with asyncio.timeout(60):
        await running.wait()
    assert held.place.changed == {held.units["weights.bin"]}


async def test_a_root_that_does_not_answer_hides_no_other(
    held: Held, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    both = asyncio.Event()

    async def hang(root: str) -> None:
        asked.append(root)
        if len(asked) == 2:
            both.set()
        await asyncio.Event().wait()

    looking._agendas["other"] = looking._agendas["data"]
    monkeypatch.setattr(looking, "look_at_all", hang)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(looking.run())
        async with asyncio.timeout(60):
            await both.wait()
        running.cancel()
    assert sorted(asked) == ["data", "other"]


async def test_what_cannot_be_written_down_ends_nothing(
    held: Held, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: int) -> bool:
        raise StorageError("database", "is full")

    shutil.rmtree(held.directory)
    monkeypatch.setattr(held.catalog, "forget_if_gone", refuse)
    await looking.look_at_all("data")
    monkeypatch.undo()
    await looking.look_at_all("data")
    assert held.catalog.held(held.digest) is None
