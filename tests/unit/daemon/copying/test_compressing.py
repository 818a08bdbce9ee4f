"""Copies that are compressed where they stand, while everything else goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.config.copy_values import CheckpointCopies, CopiesSection
from ckptd.daemon.copying import compressing as compressing_module
from ckptd.daemon.copying.compressing import Compressing, HalfCore
from ckptd.daemon.copying.room import copy_bytes, room_bytes
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.compressing import compress_unit
from ckptd.store.published.hash_runs import Cancelled
from ckptd.store.published.places import Place
from ckptd.store.records.database import Database
from tests.support.compressing import COPIED_CONTENTS, spoil
from tests.support.stores import publish, read_served, write_files

NAME = "llama/rank-0"
DIRECTORY = f"{NAME}/100"


class Copied:
    """A node with one copy, and what compresses it."""

    def __init__(self, catalog: Catalog, roots: Roots, copies: Root) -> None:
        self.catalog = catalog
        self.roots = roots
        self.directory = Path(copies.path, DIRECTORY)
        self.seen = CopyingSeen()
        self.book: list[OpenRecovery] = []
        self.now = 0
        self.threads = ThreadPoolExecutor(1)
        self.compressing = self.made(CopiesSection(names=("llama*",), compress=True))

    def made(self, section: CopiesSection) -> Compressing:
        return Compressing(
            section,
            self.catalog,
            self.roots,
            book=self.book,
            seen=self.seen,
            now=lambda: self.now,
            hold_s=0.0,
        )

    @property
    def place(self) -> Place:
        ((place,),) = (held.places for held in self.catalog.versions())
        return place

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    async def look(self) -> int | None:
        """Do what there is to do next; return at which place."""
        number = self.compressing._next()
        if number is not None:
            await self.compressing.look_at(number, self.threads)
        return number

    async def content(self) -> bytes:
        (held,) = self.catalog.versions()
        served = await self.catalog.open_version(held.holding.digest)
        return await asyncio.to_thread(read_served, served, 0, served.size_bytes)


@pytest.fixture
async def copied(tmp_path: Path, database: Database) -> AsyncIterator[Copied]:
    for name in ("main", "copies"):
        (tmp_path / name).mkdir()
    main, copies = (Root.open(name, str(tmp_path / name)) for name in ("main", "copies"))
    with closing(main), closing(copies):
        roots = Roots([main, copies], for_copies="copies")
        catalog = Catalog(database, roots)
        await catalog.load()
        write_files(Path(copies.path, DIRECTORY), COPIED_CONTENTS)
        await catalog.add(publish(copies, DIRECTORY), is_published=False)
        made = Copied(catalog, roots, copies)
        yield made
        made.threads.shutdown()


COMPRESSED = ["empty", "model.zst", "small", "sub"]
PLAIN = ["empty", "model", "small", "sub"]


async def test_a_copy_is_compressed_and_then_left_alone(copied: Copied) -> None:
    before = await copied.content()
    assert await copied.look() == copied.place.number
    assert copied.names() == COMPRESSED
    assert copied.place.saved_bytes > 0
    assert copied.seen.compressed_bytes == len(COPIED_CONTENTS["model"])
    assert await copied.content() == before
    assert await copied.look() is None


async def test_less_of_the_quota_is_taken(copied: Copied) -> None:
    (held,) = copied.catalog.versions()
    assert room_bytes(held, held.places[0]) == copy_bytes(held, held.places[0])
    await copied.look()
    (held,) = copied.catalog.versions()
    assert room_bytes(held, copied.place) == held.holding.size_bytes - copied.place.saved_bytes


async def test_who_does_not_want_it_has_nothing_compressed(copied: Copied) -> None:
    for section in (
        CopiesSection(names=("llama*",)),
        CopiesSection(names=("other*",), compress=True),
        CopiesSection(
            names=("llama*",),
            compress=True,
            checkpoints={"llama/*": CheckpointCopies(critical=1, normal=1, deferred=1, keep=1)},
        ),
    ):
        copied.compressing = copied.made(section)
        assert not section.compresses(CheckpointName(NAME))
        await copied.look()
        assert copied.names() == PLAIN
        assert await copied.look() is None


async def test_what_was_left_goes_also_where_nothing_is_compressed_any_more(
    copied: Copied,
) -> None:
    hashed = await copied.catalog.hashed(copied.place.number)
    model = next(i for i, unit in enumerate(hashed.manifest.units) if unit.path == "model")
    compress_unit(copied.roots["copies"], hashed, model, lambda _: None)
    assert copied.names() == sorted([*PLAIN, "model.zst"])
    copied.compressing = copied.made(CopiesSection(names=("llama*",)))
    await copied.look()
    assert copied.names() == PLAIN


async def test_where_something_else_goes_on_nothing_is_touched(copied: Copied) -> None:
    def of_a_recovery() -> None:
        root, record = copied.roots["copies"], SimpleNamespace(is_background=True)
        opened = SimpleNamespace(root=root, target=DIRECTORY, record=record)
        copied.book.append(cast("OpenRecovery", opened))

    number = copied.place.number
    for begin, end in (
        (of_a_recovery, copied.book.clear),
        (
            lambda: copied.catalog.hold_back(number),
            lambda: copied.catalog.release(number),
        ),
    ):
        begin()
        assert await copied.look() is None
        await copied.compressing.look_at(number, copied.threads)
        assert copied.names() == PLAIN
        end()
        copied.now += 10 * SECOND
    copied.catalog.mark_suspect(number, [0], "it looks different")
    assert await copied.look() is None


async def test_what_readers_find_by_a_link_stays(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied.catalog.active, "is_active", lambda *place: True)
    assert await copied.look() is None
    await copied.compressing.look_at(copied.place.number, copied.threads)
    assert copied.names() == PLAIN


async def test_a_directory_of_several_versions_stays(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    places_of = copied.catalog.places_of
    monkeypatch.setattr(copied.catalog, "places_of", lambda root: places_of(root) * 2)
    assert await copied.look() is None
    await copied.compressing.look_at(copied.place.number, copied.threads)
    assert copied.names() == PLAIN


async def test_what_is_no_copy_stays(copied: Copied, tmp_path: Path) -> None:
    write_files(tmp_path / "main/own", COPIED_CONTENTS)
    own = publish(copied.roots["main"], "own", version=101)
    (place,) = (await copied.catalog.add(own)).places
    await copied.look()
    assert await copied.look() is None
    await copied.compressing.look_at(place.number, copied.threads)
    assert sorted(path.name for path in (tmp_path / "main/own").iterdir()) == PLAIN


class Meanwhile:
    """Does something when a unit was compressed, or was not worth it, and is not recorded yet."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], None], *, after: int = 1
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._do = do
        self._left = after
        monkeypatch.setattr(compressing_module, "compress_unit", self)

    def __call__(self, *asked: object) -> object:
        made = compress_unit(*asked)  # type: ignore[arg-type]
        self._left -= 1
        if self._left:
            return made
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._do)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(60)
        return made


@pytest.mark.parametrize("after", [1, 2])
async def test_what_came_to_be_in_use_meanwhile_stays_as_it_is(
    copied: Copied, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    number = copied.place.number
    Meanwhile(monkeypatch, lambda: copied.catalog.hold_back(number), after=after)
    await copied.look()
    assert copied.place.saved_bytes == 0
    assert "model" in copied.names()
    copied.catalog.release(number)
    monkeypatch.undo()
    assert await copied.look() is None, "it is left alone for a while"
    copied.now += 10 * SECOND
    assert await copied.look() == number
    assert copied.names() == COMPRESSED


async def test_the_other_file_stays_where_a_recovery_began_meanwhile(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = copied.catalog.settle

    async def settle_and_recover(*found: object) -> None:
        await settle(*found)  # type: ignore[arg-type]
        opened = SimpleNamespace(
            root=copied.roots["copies"],
            target=DIRECTORY,
            record=SimpleNamespace(is_background=True),
        )
        copied.book.append(cast("OpenRecovery", opened))

    monkeypatch.setattr(copied.catalog, "settle", settle_and_recover)
    await copied.look()
    assert copied.names() == sorted([*PLAIN, "model.zst"])
    copied.book.clear()
    copied.now += 10 * SECOND
    assert await copied.look() == copied.place.number
    assert copied.names() == COMPRESSED


async def test_a_place_that_goes_meanwhile_is_no_harm(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = copied.place.number
    forgetting: list[asyncio.Task[object]] = []

    def forget() -> None:
        forgetting.append(asyncio.ensure_future(copied.catalog.forget(number)))

    Meanwhile(monkeypatch, forget)
    await copied.look()
    await asyncio.gather(*forgetting)
    assert copied.catalog.versions() == ()
    assert await copied.look() is None


async def test_content_that_is_wrong_is_suspect(copied: Copied) -> None:
    spoil(copied.directory / "model", 900_000)
    await copied.look()
    (wrong,) = copied.place.suspect
    hashed = await copied.catalog.hashed(copied.place.number)
    assert hashed.manifest.units[wrong].path == "model"
    assert copied.names() == PLAIN


async def test_a_name_in_the_way_keeps_no_other_unit_back(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied.directory / "model.zst").mkdir()
    await copied.look()
    assert copied.names() == sorted([*PLAIN, "model.zst"])
    assert copied.place.saved_bytes == 0
    assert await copied.look() is None


async def test_without_room_for_both_files_it_is_tried_again_later(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Root, "free_bytes", lambda self: self.size_bytes() // 10)
    number = await copied.look()
    assert copied.names() == PLAIN
    assert await copied.look() is None
    monkeypatch.undo()
    copied.now += 10 * SECOND
    assert await copied.look() == number
    assert copied.names() == COMPRESSED


async def test_units_are_recorded_some_together(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = await copied.catalog.hashed(copied.place.number)
    monkeypatch.setattr(compressing_module, "_TOGETHER_MAX", 2)
    batches = compressing_module._batches(hashed, range(len(hashed.files)))
    assert [len(batch) for batch in batches] == [2, 2]
    monkeypatch.setattr(compressing_module, "_TOGETHER_BYTES", 1)
    batches = compressing_module._batches(hashed, range(len(hashed.files)))
    assert sorted(unit for batch in batches for unit in batch) == [0, 1, 2, 3]


async def test_it_ends_when_the_daemon_does(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, settled = copied.catalog.settle, asyncio.Event()

    async def settle_and_say(*found: object) -> None:
        await settle(*found)  # type: ignore[arg-type]
        settled.set()

    monkeypatch.setattr(copied.catalog, "settle", settle_and_say)
    running = asyncio.ensure_future(copied.compressing.run())
    await settled.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()


class TestHalfACore:
    def test_it_waits_as_long_as_it_computed(self) -> None:
        waits: list[float] = []
        moments = iter([5.0, 5.0, 7.5, 7.5, 8.0, 8.0])
        stopped = cast("threading.Event", SimpleNamespace(wait=waits.append, is_set=lambda: False))
        pace = HalfCore(stopped, clock=lambda: next(moments))
        for _ in range(3):
            pace(1)
        assert waits == [2.5, 0.5]

    def test_while_others_go_first_it_waits(self) -> None:
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            pace.is_waiting = len(waits) < 3

        stopped = cast("threading.Event", SimpleNamespace(wait=wait, is_set=lambda: False))
        pace = HalfCore(stopped, clock=lambda: 0.0)
        pace.is_waiting = True
        pace(1)
        assert len(waits) == 3

    def test_it_ends_when_nobody_wants_it_any_more(self) -> None:
        stopped = threading.Event()
        stopped.set()
        pace = HalfCore(stopped)
        pace.is_waiting = True
        with pytest.raises(Cancelled):
            pace(1)
