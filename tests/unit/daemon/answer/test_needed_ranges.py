"""Ranges are given out as they come, bounded, never as zeros, and of one content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.control.messages.prioritized import (
    NeedBytes,
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
)
from ckptd.control.server.handing import Handing
from ckptd.core.events import NeedEnded, RangeNeeded
from ckptd.daemon.answer.needed_ranges import NeededRanges
from ckptd.daemon.answer.needed_units import NeededUnits
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import Conflict, ContentChanged, NotFound, UsageError
from ckptd.limits import KIB
from ckptd.model.ids import CheckpointName, RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.model.words import Result, Stage
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.journal import JournaledRecovery
from ckptd.store.records.retention_records import ReadDirectory, RetentionRecords
from ckptd.store.staging.held import HeldBlocks

UNIT = "weights.bin"
BLOCK_BYTES = 256 * KIB
RECOVERY = RecoveryId("r-1")


class Book(list[OpenRecovery]):
    """Recoveries under way, and how one ended."""

    ended: object = None

    def result(self, _: str) -> object:
        return self.ended


class Scene:
    """A recovery of a unit of which some blocks are here, or a version that is."""

    def __init__(
        self, catalog: Catalog, root: Root, hashed: HashedDirectory, leases: Leases
    ) -> None:
        self.leases = leases
        self.book, self.root = Book(), root
        self.reported: list[object] = []
        self.stage = Stage.TRANSFERRING
        self.space = AddressSpace(hashed.manifest)
        self.on_report: Callable[[object], None] = lambda _: None
        roots = Roots([root])
        scheduler = SimpleNamespace(
            stages=lambda: {RECOVERY: self.stage}, recovery=lambda _id, now: None
        )
        runtime = SimpleNamespace(now=lambda: 0, report=self._report)
        recovering = SimpleNamespace(scheduler=scheduler, runtime=runtime, book=self.book)
        storage = SimpleNamespace(catalog=catalog, roots=roots)
        units = NeededUnits(cast("Any", self.book), catalog, roots)
        self.ranges = NeededRanges(cast("Any", recovering), cast("Any", storage), units, leases)

    def _report(self, *events: object) -> None:
        self.reported += events
        for event in events:
            self.on_report(event)

    def begin(self) -> OpenRecovery:
        """Let the version be recovered to where it stands; nothing of it is here yet."""
        record = JournaledRecovery(
            RECOVERY, CheckpointName("llama"), None, None, "data", "v100", None, False, 0.0
        )
        recovery = OpenRecovery(record, self.root, "v100", 0)
        recovery.space = self.space
        held = HeldBlocks("it", self.space)
        path = f"v100/{UNIT}"
        recovery.staging = cast("Any", SimpleNamespace(held=held, path_of=lambda _: path))
        self.book.append(recovery)
        return recovery

    def arrive(self, *blocks: int) -> None:
        """Let some blocks of the unit be here."""
        staging = self.book[0].staging
        assert staging is not None
        first, _ = self.space.unit_run(self.unit)
        for block in blocks:
            staging.held._held[first + block] = 1
        for need in list(self.book[0].readers):
            self.book[0].wake_reader(need)

    @property
    def unit(self) -> int:
        units = self.space.manifest.units
        return next(index for index, unit in enumerate(units) if unit.path == UNIT)

    @property
    def content(self) -> bytes:
        return Path(self.root.path, "v100", UNIT).read_bytes()

    def spoil(self) -> None:
        """Let the first block of the unit rot."""
        with Path(self.root.path, "v100", UNIT).open("r+b") as file:
            file.write(bytes(BLOCK_BYTES))

    def sweep(self) -> None:
        """Remove its file."""
        Path(self.root.path, "v100", UNIT).unlink()

    def read(
        self,
        offset: int,
        length: int | None,
        *,
        uid: int = 7,
        path: str = "",
        digest: str = "",
        with_bytes: bool = True,
    ) -> tuple[AsyncGenerator[NeedEvent, None], Handing]:
        handing = Handing(cast("Any", None))
        request = NeedRequest(
            path=path or self.root.absolute(f"v100/{UNIT}"),
            offset=offset,
            length=length,
            with_bytes=with_bytes,
            reader="me",
            digest=digest,
        )
        return self.ranges.stream(request, uid, handing), handing


@pytest.fixture
async def scene(catalog: Catalog, root: Root, hashed: HashedDirectory, database: Database) -> Scene:
    return Scene(catalog, root, hashed, Leases(RetentionRecords(database)))


async def take(reading: tuple[AsyncGenerator[NeedEvent, None], Handing]) -> tuple[bytes, NeedEvent]:
    """Return the bytes of a stream and its last message."""
    events, handing = reading
    data, last = b"", None
    async for event in events:
        last = event
        if isinstance(event, NeedBytes):
            assert handing._following is not None
            data += bytes(handing._following)
            handing._following = None
    assert last is not None
    return data, last


async def test_what_stands_here_is_read_exactly(
    scene: Scene, catalog: Catalog, hashed: HashedDirectory
) -> None:
    await catalog.add(hashed)
    at = BLOCK_BYTES - 10
    data, last = await take(scene.read(at, 20))
    assert data == scene.content[at : at + 20]
    assert isinstance(last, NeedResult)
    assert (last.unit_bytes, last.is_placed) == (len(scene.content), True)
    data, _ = await take(scene.read(100, None))
    assert data == scene.content[100:]
    assert (await take(scene.read(0, 0)))[0] == b""
    for offset, length in ((-1, 1), (1, -1), (len(scene.content), 1), (2**60, None)):
        with pytest.raises(UsageError):
            await take(scene.read(offset, length))
    with pytest.raises(Conflict, match="is another one by now"):
        await take(scene.read(0, 1, digest="0" * 64))


async def test_each_piece_comes_as_soon_as_its_blocks_are_here(scene: Scene) -> None:
    scene.begin()
    events, handing = scene.read(0, None)
    assert isinstance(await anext(events), NeedProgress), "nothing is here"
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    assert not waiting.done()
    scene.arrive(0, 1)
    piece = await waiting
    assert isinstance(piece, NeedBytes)
    assert handing._following is not None
    assert bytes(handing._following) == scene.content[: piece.size_bytes]
    assert not [event for event in scene.reported if isinstance(event, NeedEnded)]
    await events.aclose()
    assert isinstance(scene.reported[-1], NeedEnded), "nobody waits for it any more"
    assert not scene.book[0].readers


async def test_a_block_that_is_missing_is_never_read(scene: Scene) -> None:
    scene.begin()
    scene.arrive(0)
    data, _ = await take(scene.read(5, 10))
    assert data == scene.content[5:15]
    events, handing = scene.read(BLOCK_BYTES - 5, 10)
    assert await anext(events) == NeedBytes(offset=BLOCK_BYTES - 5, size_bytes=5)
    handing._following = None
    assert isinstance(await anext(events), NeedProgress), "the others are not here"
    await events.aclose()
    [first, *_] = [event for event in scene.reported if isinstance(event, RangeNeeded)]
    assert (first.start, first.end, first.reader) == (5, 15, "me")


async def test_a_needed_block_that_rotted_in_staging_is_refused(scene: Scene) -> None:
    scene.begin()
    scene.arrive(0, 1)
    scene.spoil()
    with pytest.raises(ContentChanged, match="is not what was published"):
        await take(scene.read(0, 10))


async def test_staging_that_is_lost_gives_no_bytes(scene: Scene) -> None:
    scene.begin()
    scene.arrive(0, 1)
    scene.sweep()
    with pytest.raises(NotFound):
        await take(scene.read(0, 10))


async def test_blocks_of_an_earlier_life_do_not_count_before_they_were_hashed(scene: Scene) -> None:
    scene.begin()
    scene.arrive(0, 1)
    scene.stage = Stage.PREPARING
    events, _ = scene.read(0, 10)
    assert isinstance(await anext(events), NeedProgress)
    await events.aclose()


async def test_who_waits_without_bytes_hears_when_all_of_it_is_here(scene: Scene) -> None:
    scene.begin()
    scene.on_report = lambda event: scene.arrive(0, 1) if isinstance(event, RangeNeeded) else None
    data, last = await take(scene.read(0, None, with_bytes=False))
    assert data == b""
    assert isinstance(last, NeedResult)
    assert (last.path, last.is_placed) == ("", False)
    assert last.stands_at == scene.root.absolute(f"v100/{UNIT}")


async def test_reading_goes_on_where_the_version_was_placed(
    scene: Scene, catalog: Catalog, hashed: HashedDirectory
) -> None:
    recovery = scene.begin()
    scene.arrive(0)
    events, handing = scene.read(0, None)
    piece = await anext(events)
    while not isinstance(piece, NeedBytes):
        piece = await anext(events)
    assert handing._following is not None
    data = bytes(handing._following)
    handing._following = None
    await catalog.add(hashed)
    scene.book.clear()
    scene.book.ended = SimpleNamespace(result=Result.COMPLETE, message="")
    recovery.announce_end()
    rest, last = await take((events, handing))
    assert data + rest == scene.content
    assert isinstance(last, NeedResult)
    assert last.is_placed


async def test_who_waits_hears_that_the_recovery_was_given_up(scene: Scene) -> None:
    recovery = scene.begin()
    reading = scene.read(0, 10)
    assert isinstance(await anext(reading[0]), NeedProgress)
    scene.book.clear()
    scene.book.ended = SimpleNamespace(result=Result.CANCELLED, message="")
    recovery.announce_end()
    with pytest.raises(NotFound, match="has ended: cancelled"):
        await take(reading)


async def test_another_content_is_not_mixed_in(scene: Scene, hashed: HashedDirectory) -> None:
    recovery = scene.begin()
    reading = scene.read(0, 10)
    assert isinstance(await anext(reading[0]), NeedProgress)
    recovery.space = AddressSpace(hashed.manifest)
    for need in recovery.readers:
        recovery.wake_reader(need)
    with pytest.raises(Conflict, match="another content was chosen"):
        await take(reading)


async def test_so_many_of_one_user_and_of_all_wait_at_once(scene: Scene) -> None:
    scene.begin()
    readings = [scene.read(0, 10, uid=uid)[0] for uid in (1, 2) for _ in range(8)]
    for reading in readings[:8]:
        await anext(reading)
    with pytest.raises(Conflict, match="are 8 already"):
        await take(scene.read(0, 10, uid=1))
    for reading in readings[8:]:
        await anext(reading)
    with pytest.raises(Conflict, match="are 16 already"):
        await take(scene.read(0, 10, uid=3))
    assert len(scene.book[0].readers) == 16
    for reading in readings:
        await reading.aclose()
    scene.arrive(0)
    assert (await take(scene.read(0, 10, uid=3)))[0] == scene.content[:10]


async def test_who_reads_a_range_has_a_lease_of_its_version(
    scene: Scene, catalog: Catalog, hashed: HashedDirectory
) -> None:
    await catalog.add(hashed)
    read = ReadDirectory(hashed.root, hashed.directory)
    events, _ = scene.read(0, BLOCK_BYTES)
    assert not scene.leases.is_read(read)
    async for _event in events:
        assert scene.leases.is_read(read)
    assert scene.leases.is_read(read)
