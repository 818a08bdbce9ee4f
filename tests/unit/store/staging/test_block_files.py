from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.words import WriteMode
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.staging import block_files
from ckptd.store.staging.area import Staging
from ckptd.store.staging.block_files import BlockFiles, Writing
from ckptd.store.staging.warmth import Warmth
from tests.support.mounts import needs_disk, tmpfs
from tests.support.page_cache import pages_in_memory
from tests.support.stagings import NOTHING, Site, content_of

DIRECT = Writing(WriteMode.DIRECT, Warmth(0))
DROPPING = Writing(warmth=Warmth(0))
HELD_PAGES_MAX = 64
"""Of 512. The kernel keeps pages that it looks at itself just then, as where memory is short."""
CONTENTS = {
    "even.bin": content_of(2 * MIB, seed=1),
    "odd.bin": content_of(MIB + 4097, seed=2),
    "small.bin": content_of(5 * KIB, seed=3),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, CONTENTS)
    yield made
    made.close()


def fill(site: Site, staging: Staging) -> None:
    """Deliver everything in groups, from memory that begins with a page, as lanes do."""
    staging.prepare(NOTHING)
    with mmap.mmap(-1, 4 * MIB) as memory:
        for start, end in site.everything.runs():
            data = site.data(start, end)
            memory[: len(data)] = bytes(data)
            with memoryview(memory) as buffer, buffer[: len(data)] as part:
                assert staging.deliver(tuple(site.space.places((start, end))), part) == ()
    staging.commit(site.everything)
    staging.release(site.everything)


@pytest.fixture
def disk_site(site: Site) -> Site:
    """A site on a file system that has more than the page cache."""
    needs_disk(site.path)
    return site


@pytest.mark.parametrize(
    "writing", [Writing(), DIRECT, DROPPING], ids=["buffered", "direct", "drop"]
)
def test_a_version_is_the_same_whichever_way_it_was_written(site: Site, writing: Writing) -> None:
    staging = site.staging(writing=writing)
    fill(site, staging)
    staging.place(NOTHING)
    assert site.files() == site.version()


def test_direct_writes_leave_nothing_of_whole_pages_in_memory(disk_site: Site) -> None:
    fill(disk_site, disk_site.staging(writing=DIRECT))
    assert pages_in_memory(disk_site.staged("even.bin")) < HELD_PAGES_MAX


def test_what_is_durable_leaves_memory_if_that_is_wanted(disk_site: Site) -> None:
    fill(disk_site, disk_site.staging(writing=DROPPING))
    assert pages_in_memory(disk_site.staged("even.bin")) < HELD_PAGES_MAX


def test_a_unit_that_comes_whole_leaves_memory_likewise(disk_site: Site) -> None:
    fill(disk_site, disk_site.staging(writing=DROPPING))
    assert pages_in_memory(disk_site.staged("small.bin")) == 0


def test_what_is_to_stay_in_memory_is_not_written_past_it(disk_site: Site) -> None:
    size_bytes = disk_site.space.manifest.units[0].size_bytes
    fill(disk_site, disk_site.staging(writing=Writing(WriteMode.DIRECT, Warmth(size_bytes))))
    assert disk_site.space.manifest.units[0].path == "even.bin"
    assert pages_in_memory(disk_site.staged("even.bin")) == size_bytes // mmap.PAGESIZE
    assert pages_in_memory(disk_site.staged("odd.bin")) == 0


def test_buffered_writes_stay_in_memory_for_who_loads_the_version_next(disk_site: Site) -> None:
    fill(disk_site, disk_site.staging())
    assert pages_in_memory(disk_site.staged("even.bin")) == 2 * MIB // mmap.PAGESIZE


def test_memory_that_begins_elsewhere_takes_the_page_cache(site: Site) -> None:
    staging = site.staging(writing=DIRECT)
    staging.prepare(NOTHING)
    for start, end in site.everything.runs():
        data = memoryview(bytearray(b"?" + bytes(site.data(start, end))))[1:]
        assert staging.deliver(tuple(site.space.places((start, end))), data) == ()
    staging.commit(site.everything)
    staging.place(NOTHING)
    assert site.files() == site.version()


def test_a_file_system_that_knows_no_direct_writes_is_written_all_the_same(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "memory") as path:
        site = Site(path, CONTENTS)
        staging = site.staging(writing=DIRECT)
        fill(site, staging)
        staging.place(NOTHING)
        assert site.files() == site.version()
        site.close()


def test_a_file_that_was_removed_meanwhile_is_named(site: Site) -> None:
    staging = site.staging(writing=DIRECT)
    staging.prepare(NOTHING)
    run = (0, 1)
    assert site.deliver_run(staging, *run) == ()
    os.unlink(site.staged("even.bin"))
    with pytest.raises(StorageError, match=r"even\.bin"):
        staging.commit(BlockSet([run]))


@pytest.fixture
def small_files(tmp_path: Path) -> Iterator[tuple[BlockFiles, list[str]]]:
    """Files of 17 units that come in blocks, all open, and the paths of those that are synced."""
    site = Site(tmp_path, {f"{n:02}": content_of(MIB, seed=n) for n in range(17)})
    opened: list[str] = []

    def open_unit(unit: int, flags: int) -> int:
        path = tmp_path / site.space.manifest.units[unit].path
        opened.append(path.name)
        return os.open(path, flags | os.O_CREAT)

    files = BlockFiles(site.space, open_unit, WriteMode.BUFFERED, BlockSet)
    yield files, opened
    files.close()
    site.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    sync = os.fdatasync

    def note(fd: int) -> None:
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", note)
    return names


def test_few_files_are_synced_one_by_one(
    small_files: tuple[BlockFiles, list[str]], synced: list[str]
) -> None:
    files, _ = small_files
    for unit in range(17):
        files.write(unit, 0, memoryview(b"x"))
    assert files.sync(range(16))
    assert synced == [f"{unit:02}" for unit in range(16)]


def test_many_files_are_left_to_a_sync_of_the_file_system(
    small_files: tuple[BlockFiles, list[str]], synced: list[str]
) -> None:
    files, _ = small_files
    for unit in range(17):
        files.write(unit, 0, memoryview(b"x"))
    assert not files.sync(range(17))
    assert synced == []


def test_a_file_that_is_not_open_any_more_is_not_synced_by_itself(
    small_files: tuple[BlockFiles, list[str]], synced: list[str]
) -> None:
    files, opened = small_files
    files.write(0, 0, memoryview(b"x"))
    assert not files.sync([0, 1])
    assert (synced, opened) == ([], ["00"])


def test_nothing_is_opened_again_for_a_write_that_went_through(
    small_files: tuple[BlockFiles, list[str]],
) -> None:
    files, opened = small_files
    for _ in range(2):
        files.write(3, 0, memoryview(b"x" * 4096))
    assert opened == ["03"]


def test_a_direct_write_of_whole_pages_opens_the_file_once(disk_site: Site) -> None:
    opened: list[int] = []

    def open_unit(unit: int, flags: int) -> int:
        opened.append(flags)
        return os.open(disk_site.path / f"unit-{unit}", flags | os.O_CREAT)

    files = BlockFiles(disk_site.space, open_unit, WriteMode.DIRECT, BlockSet)
    with mmap.mmap(-1, MIB) as memory, memoryview(memory) as buffer:
        with buffer[: MIB // 2] as whole:
            files.write(0, 0, whole)
        assert opened == [os.O_WRONLY | os.O_DIRECT]
        with buffer[:4097] as more:
            files.write(0, 0, more)
    files.close()
    assert opened == [os.O_WRONLY | os.O_DIRECT, os.O_WRONLY]


def test_only_a_file_system_that_cannot_write_directly_is_written_otherwise(site: Site) -> None:
    def refuse(unit: int, flags: int) -> int:
        assert flags & os.O_DIRECT, "tried again"
        with mapping_os_errors(f"unit {unit}"):
            raise OSError(errno.EACCES, "Permission denied")

    files = BlockFiles(site.space, refuse, WriteMode.DIRECT, BlockSet)
    with pytest.raises(StorageError, match="may not be accessed"):
        files.write(0, 0, memoryview(b"x"))
    files.close()


def test_a_file_system_that_cannot_write_directly_is_asked_once(site: Site) -> None:
    asked: list[int] = []

    def open_unit(unit: int, flags: int) -> int:
        asked.append(flags)
        with mapping_os_errors(f"unit {unit}"):
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return os.open(site.path / f"unit-{unit}", flags | os.O_CREAT)

    files = BlockFiles(site.space, open_unit, WriteMode.DIRECT, BlockSet)
    for unit in range(2):
        files.write(unit, 0, memoryview(b"x" * 4097))
    files.close()
    assert asked == [os.O_WRONLY | os.O_DIRECT, os.O_WRONLY, os.O_WRONLY]
    assert [(site.path / f"unit-{unit}").stat().st_size for unit in range(2)] == [4097, 4097]


@pytest.mark.parametrize("mode", WriteMode)
@pytest.mark.parametrize("size_bytes", [0, 1, 4095, 4096, 4097, 3 * 4096, 5 * 4096 + 1])
def test_a_disk_that_takes_a_page_at_a_time_gets_all_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch, mode: WriteMode, size_bytes: int
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:4096], offset))
    path = site.path / "unit"
    path.write_bytes(bytes(8192))
    files = BlockFiles(site.space, lambda _, flags: os.open(path, flags), mode, BlockSet)
    with mmap.mmap(-1, MIB) as memory, memoryview(memory) as buffer:
        memory[:size_bytes] = content_of(size_bytes, seed=1)
        with buffer[:size_bytes] as data:
            files.write(0, 8192, data)
    files.close()
    assert path.read_bytes() == bytes(8192) + content_of(size_bytes, seed=1)


def test_no_call_writes_more_than_a_thread_may_keep_the_others_waiting_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = os.pwrite

    def note(fd: int, data: memoryview, offset: int) -> int:
        sizes.append(len(data))
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", note)
    monkeypatch.setattr(block_files, "_WRITE_BYTES_MAX", 1000)
    path = site.path / "unit"
    files = BlockFiles(
        site.space, lambda _, flags: os.open(path, flags | os.O_CREAT), WriteMode.BUFFERED, BlockSet
    )
    files.write(0, 0, memoryview(content_of(2001, seed=1)))
    files.close()
    assert sizes == [1000, 1000, 1]
    assert path.read_bytes() == content_of(2001, seed=1)
