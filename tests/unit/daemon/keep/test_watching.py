import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ckptd.daemon.keep import watching
from ckptd.daemon.keep.watching import Watching
from ckptd.errors import StorageError
from ckptd.store.files.roots import Root
from ckptd.store.files.watches import OVERFLOW, WatchReport
from ckptd.store.published import saved_listing
from ckptd.store.published.checking import Recorded
from tests.support.stores import Everything, open_descriptors, publish, write_files

CONTENTS = {"job/v1/a": b"1", "job/v1/c/d": b"22", "job/v2/a": b"3"}


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    write_files(tmp_path / "root", CONTENTS)
    return tmp_path / "root"


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    yield opened
    opened.close()


@pytest.fixture
def first(root: Root) -> Recorded:
    return Recorded(publish(root, "job/v1"))


@pytest.fixture
def second(root: Root) -> Recorded:
    return Recorded(publish(root, "job/v2", version=2))


class Seen:
    """What was reported so far."""

    def __init__(self) -> None:
        self.places: set[int] = set()
        self._has_more = asyncio.Event()

    def note(self, places: set[int]) -> None:
        self.places |= places
        self._has_more.set()

    async def take(self) -> set[int]:
        async with asyncio.timeout(60):
            await self._has_more.wait()
        self._has_more.clear()
        taken, self.places = self.places, set()
        return taken


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def watched(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    monkeypatch.setattr(watching, "COLLECT_S", 0.0)
    monkeypatch.setattr(saved_listing, "LOCAL_FILE_SYSTEMS", Everything())
    before = open_descriptors()
    made = Watching(seen.note)
    made.open()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        yield made
        running.cancel()
    made.close()
    assert open_descriptors() == before, "a descriptor was left open"


@pytest.mark.parametrize(
    "change",
    [
        lambda job: (job / "v1/a").unlink(),
        lambda job: (job / "v1/a").write_bytes(b"2"),
        lambda job: (job / "v1/c/d").chmod(0o600),
        lambda job: (job / "v1/c/d").rename(job / "elsewhere"),
        lambda job: os.rename(job / "v1/c", job / "c"),
        lambda job: os.rename(job / "v1", job / "v3"),
        lambda job: os.rename(job, job.parent / "work"),
        lambda job: shutil.rmtree(job / "v1"),
    ],
)
async def test_what_happens_at_a_place_is_reported(
    root: Root,
    inside: Path,
    watched: Watching,
    seen: Seen,
    first: Recorded,
    change: Callable[[Path], object],
) -> None:
    await watched.follow(1, root, first)
    assert (watched.directory_count, watched.unwatched_count, watched.obstacle) == (3, 0, "")
    change(inside / "job")
    assert await seen.take() == {1}


async def test_only_the_places_concerned_are_reported(
    root: Root, inside: Path, watched: Watching, seen: Seen, first: Recorded, second: Recorded
) -> None:
    await watched.follow(1, root, first)
    await watched.follow(2, root, second)
    (inside / "job/v1/log").write_bytes(b"what a job writes beside it")
    (inside / "job/v3").mkdir()
    (inside / "job/v2/a").unlink()
    assert await seen.take() == {2}


async def test_places_in_one_directory_share_its_watch(
    root: Root, inside: Path, watched: Watching, seen: Seen, first: Recorded
) -> None:
    await watched.follow(1, root, first)
    await watched.follow(2, root, first)
    assert watched.directory_count == 3
    watched.forget(1)
    assert watched.directory_count == 3
    (inside / "job/v1/a").unlink()
    assert await seen.take() == {2}


async def test_a_place_that_was_forgotten_is_not_watched(
    root: Root, inside: Path, watched: Watching, seen: Seen, first: Recorded, second: Recorded
) -> None:
    await watched.follow(1, root, first)
    await watched.follow(2, root, second)
    watched.forget(1)
    watched.forget(1)
    assert watched.directory_count == 2
    (inside / "job/v1/a").unlink()
    (inside / "job/v2/a").unlink()
    assert await seen.take() == {2}


async def test_other_directories_of_the_same_names_are_watched_once_it_is_asked_again(
    root: Root, inside: Path, watched: Watching, seen: Seen, first: Recorded
) -> None:
    await watched.follow(1, root, first)
    shutil.rmtree(inside / "job/v1")
    assert await seen.take() == {1}
    write_files(inside, CONTENTS)
    await watched.follow(1, root, first)
    assert watched.directory_count == 3
    (inside / "job/v1/c/d").unlink()
    assert await seen.take() == {1}


async def test_a_directory_that_is_missing_is_no_obstacle(
    root: Root, inside: Path, watched: Watching, first: Recorded
) -> None:
    shutil.rmtree(inside / "job/v1")
    await watched.follow(1, root, first)
    assert (watched.directory_count, watched.unwatched_count, watched.obstacle) == (1, 0, "")


async def test_what_cannot_be_watched_is_said_until_it_can(
    root: Root, inside: Path, watched: Watching, first: Recorded
) -> None:
    os.rename(inside / "job/v1/c", inside / "c")
    os.symlink("../../c", inside / "job/v1/c")
    await watched.follow(1, root, first)
    assert watched.unwatched_count == 1
    assert "is a symbolic link or no directory" in watched.obstacle
    (inside / "job/v1/c").unlink()
    os.rename(inside / "c", inside / "job/v1/c")
    await watched.follow(1, root, first)
    assert (watched.unwatched_count, watched.obstacle) == (0, "")


async def test_there_are_only_so_many_watches(
    root: Root, seen: Seen, first: Recorded, second: Recorded
) -> None:
    few = Watching(seen.note, watches_max=4)
    few.open()
    await few.follow(1, root, first)
    await few.follow(2, root, second)
    assert (few.directory_count, few.unwatched_count) == (3, 1)
    assert few.obstacle == "more than 4 directories would have to be watched"
    few.forget(1)
    await few.follow(2, root, second)
    assert (few.directory_count, few.unwatched_count, few.obstacle) == (2, 0, "")
    few.close()


async def test_without_the_kernel_nothing_is_watched(
    root: Root, seen: Seen, first: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise StorageError("inotify", "Too many open files")

    monkeypatch.setattr(watching, "Watches", refuse)
    blind = Watching(seen.note)
    blind.open()
    await blind.run()
    await blind.follow(1, root, first)
    assert (blind.directory_count, blind.unwatched_count) == (0, 1)
    assert blind.obstacle == "inotify: Too many open files"
    blind.forget(1)
    assert (blind.unwatched_count, blind.obstacle) == (0, "inotify: Too many open files")
    blind.close()


async def test_when_reports_were_dropped_everything_is_concerned(
    root: Root, watched: Watching, first: Recorded, second: Recorded
) -> None:
    await watched.follow(1, root, first)
    await watched.follow(2, root, second)
    assert watched._concerned({WatchReport(OVERFLOW, "")}) == {1, 2}


async def test_many_names_are_not_compared_one_by_one(
    root: Root, watched: Watching, first: Recorded
) -> None:
    await watched.follow(1, root, first)
    (watch,) = (
        watch for watch, paths in watched._places[1].directories.items() if "job/v1" in paths
    )
    names = {WatchReport(watch, f"no unit {number}") for number in range(256)}
    assert watched._concerned(names) == set()
    assert watched._concerned({*names, WatchReport(watch, "one more")}) == {1}


async def test_who_listens_learns_the_names_to_which_something_happened(
    root: Root, inside: Path, watched: Watching, seen: Seen, first: Recorded
) -> None:
    heard, has_heard = list[object](), asyncio.Event()

    def note(names: object) -> None:
        heard.append(names)
        has_heard.set()

    async def hear() -> object:
        async with asyncio.timeout(60):
            await has_heard.wait()
        has_heard.clear()
        return heard.pop()

    watch = await watched.listen(root, "job", note)
    assert watch is not None
    await watched.follow(1, root, first)
    assert watched.directory_count == 3
    (inside / "job/v9").mkdir()
    assert await hear() == {"v9"}
    watched._tell({WatchReport(OVERFLOW, "")})
    assert await hear() is None
    watched.forget(1)
    assert watched.directory_count == 1
    (inside / "job/v8").mkdir()
    assert await hear() == {"v8"}
    os.rename(inside / "job", inside / "work")
    assert await hear() is None
    watched.end(watch, note)
    assert watched.directory_count == 0


async def test_where_other_nodes_write_nobody_listens(
    root: Root, watched: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "is_on_local_disk", lambda *_: False)
    assert await watched.listen(root, "job", lambda _: None) is None
    assert watched.directory_count == 0


async def test_a_place_in_a_directory_at_which_somebody_listens_can_go(
    root: Root, inside: Path, watched: Watching, first: Recorded
) -> None:
    has_heard = asyncio.Event()
    await watched.follow(1, root, first)
    watch = await watched.listen(root, "job/v1", lambda _: has_heard.set())
    assert watch is not None
    watched.forget(1)
    (inside / "job/v1/a").unlink()
    async with asyncio.timeout(60):
        await has_heard.wait()
