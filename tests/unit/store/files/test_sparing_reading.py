"""Files read once, by somebody for whom nothing else is to leave the page cache."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged
from ckptd.store.files import sparing_reading
from ckptd.store.files.sparing_reading import SparingReading
from tests.support.stagings import content_of

PAGE = mmap.PAGESIZE
CONTENT = content_of(5 * PAGE + 7)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    made = os.open(path, os.O_RDONLY)
    yield made
    os.close(made)


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    dropped: list[tuple[int, int]] = []
    monkeypatch.setattr(
        sparing_reading, "drop_cached", lambda _, start, size: dropped.append((start, size))
    )
    return dropped


def only_in_memory(
    monkeypatch: pytest.MonkeyPatch, pages: set[int], *, code: int = errno.EAGAIN
) -> None:
    """Have the kernel say that only some pages are in memory."""
    read = os.preadv

    def preadv(fd: int, rooms: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if not flags:
            return read(fd, rooms, offset)
        assert flags == os.RWF_NOWAIT
        (room,) = rooms
        count = 0
        while offset // PAGE + count in pages and count * PAGE < len(room):
            count += 1
        if not count:
            raise OSError(code, os.strerror(code))
        return read(fd, [room[: count * PAGE]], offset)

    monkeypatch.setattr(os, "preadv", preadv)


def read_all(fd: int) -> bytes:
    """Read two pages at a time."""
    reading, room, content = SparingReading(fd, lambda _: None), page_buffer(2 * PAGE), b""
    for offset in range(0, len(CONTENT), 2 * PAGE):
        size_bytes = min(2 * PAGE, len(CONTENT) - offset)
        content += reading.read_exactly(offset, size_bytes, room)
    return content


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ({0, 1, 2, 3, 4, 5}, []),
        (set(), [(0, 2 * PAGE), (2 * PAGE, 2 * PAGE), (4 * PAGE, PAGE + 7)]),
        # What was there before what had to be read stays; what is there behind it came with it.
        ({0, 1, 2}, [(3 * PAGE, PAGE), (4 * PAGE, PAGE + 7)]),
        ({2, 4, 5}, [(0, 2 * PAGE), (2 * PAGE, 2 * PAGE)]),
    ],
)
def test_only_what_had_to_be_read_leaves_the_cache(
    fd: int,
    dropped: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
    pages: set[int],
    expected: list[tuple[int, int]],
) -> None:
    only_in_memory(monkeypatch, pages)
    assert read_all(fd) == CONTENT
    assert dropped == expected


def test_where_nobody_knows_what_is_in_memory_nothing_is_dropped(
    fd: int, dropped: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in_memory(monkeypatch, set(), code=errno.EOPNOTSUPP)
    assert read_all(fd) == CONTENT
    assert dropped == []


def test_what_a_disk_cannot_read_is_said(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    only_in_memory(monkeypatch, set(), code=errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        read_all(fd)


def test_a_file_that_is_shorter_is_another(fd: int) -> None:
    with pytest.raises(ContentChanged):
        SparingReading(fd, lambda _: None).read_exactly(4 * PAGE, 2 * PAGE, page_buffer(2 * PAGE))


def test_others_come_in_between_what_is_read_from_the_disk(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparing_reading, "_STEP_BYTES", 2 * PAGE)
    only_in_memory(monkeypatch, {0})
    breaths: list[int] = []
    room = page_buffer(6 * PAGE)
    read = SparingReading(fd, breaths.append).read_exactly(0, len(CONTENT), room)
    assert bytes(read) == CONTENT
    assert breaths == [2 * PAGE, 2 * PAGE, 7]
