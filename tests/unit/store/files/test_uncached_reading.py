"""Files read past the page cache, where that can be."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged
from ckptd.store.files import uncached_reading
from ckptd.store.files.uncached_reading import UncachedReading, whole_pages
from tests.support.stagings import content_of

PAGE = mmap.PAGESIZE
CONTENT = content_of(5 * PAGE + 7)
PARTS = [(0, PAGE), (PAGE, 3 * PAGE), (4 * PAGE, PAGE + 7), (0, len(CONTENT)), (5, 100)]


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    made = os.open(path, os.O_RDONLY)
    yield made
    os.close(made)


def check_all(fd: int) -> None:
    reading = UncachedReading(fd)
    for offset, size_bytes in PARTS:
        room = page_buffer(whole_pages(size_bytes))
        data = reading.read_exactly(offset, size_bytes, room)
        assert bytes(data) == CONTENT[offset : offset + size_bytes], (offset, size_bytes)


def test_what_was_asked_for_is_read(fd: int) -> None:
    check_all(fd)


def test_a_file_that_is_shorter_is_another(fd: int) -> None:
    with pytest.raises(ContentChanged):
        UncachedReading(fd).read_exactly(4 * PAGE, 2 * PAGE, page_buffer(2 * PAGE))


def test_where_it_cannot_be_files_are_read_as_usual(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, *, is_direct: bool) -> None:
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(uncached_reading, "set_direct", refuse)
    check_all(fd)


def test_a_disk_that_asks_for_more_than_pages_is_read_as_usual(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv

    def read(file: int, room: Sequence[memoryview], offset: int) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no")
        return preadv(file, room, offset)

    monkeypatch.setattr(os, "preadv", read)
    check_all(fd)


def test_another_refusal_is_an_error(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> int:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "preadv", read)
    with pytest.raises(OSError, match="no"):
        UncachedReading(fd).read_exactly(0, PAGE, page_buffer(PAGE))


def test_what_is_read_in_parts_is_read_to_its_end(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    preadv = os.preadv

    def read(file: int, room: Sequence[memoryview], offset: int) -> int:
        return preadv(file, [room[0][:PAGE]], offset)

    monkeypatch.setattr(os, "preadv", read)
    check_all(fd)
