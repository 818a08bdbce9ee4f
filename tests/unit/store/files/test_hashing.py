import errno
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from ckptd.errors import ContentChanged
from ckptd.limits import DIGEST_BYTES
from ckptd.model.manifest import Unit
from ckptd.model.space import BlockPlace
from ckptd.store.files import hashing
from ckptd.store.files.hashing import (
    UnitHasher,
    digest_of,
    hash_unit,
    hexdigest_of,
    matching_blocks,
    unit_digest,
    wrong_blocks,
)
from tests.support.manifests import make_unit
from tests.support.stagings import go_on

BLOCK = 1024
SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 7 * BLOCK, 16 * BLOCK + 5]


def content_of(size_bytes: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in range(size_bytes // 4 + 1))[:size_bytes]


def buffer_of(size_bytes: int) -> memoryview:
    return memoryview(bytearray(size_bytes))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture(params=["sequential", "read ahead"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "read ahead":
        monkeypatch.setattr(hashing, "_ALL_CORES_BYTES_MIN", BLOCK)
    return str(request.param)


def test_digests_are_those_that_b3sum_prints() -> None:
    # The first test vector of the BLAKE3 team.
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert hexdigest_of(b"") == empty
    assert digest_of(memoryview(b"")).hex() == empty


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("buffer_bytes", [BLOCK, 2 * BLOCK, 5 * BLOCK - 1, 64 * BLOCK])
@pytest.mark.parametrize("size", SIZES)
def test_a_unit_and_its_blocks_are_hashed(file: int, size: int, buffer_bytes: int) -> None:
    content = content_of(size)
    os.pwrite(file, content, 0)
    told: list[int] = []
    digest, block_digests = hash_unit(
        file, size, BLOCK, buffer=buffer_of(buffer_bytes), on_progress=told.append
    )
    assert digest == blake3(content).digest()
    blocks = [content[start : start + BLOCK] for start in range(0, size, BLOCK)]
    assert block_digests == b"".join(blake3(block).digest() for block in blocks)
    assert sum(told) == size
    assert unit_digest(file, size, buffer=buffer_of(buffer_bytes), check=go_on) == digest


def test_only_a_file_of_several_blocks_is_read_ahead_by_the_kernel(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    advised: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *advice: advised.append(advice))
    for size in (BLOCK, BLOCK + 1):
        os.pwrite(file, content_of(size), 0)
        hash_unit(file, size, BLOCK, buffer=buffer_of(2 * BLOCK))
    assert advised == [(0, BLOCK + 1, os.POSIX_FADV_SEQUENTIAL)]


@pytest.mark.usefixtures("way")
def test_any_memory_will_do_for_the_digest_of_a_unit(file: int) -> None:
    os.pwrite(file, b"123", 0)
    assert unit_digest(file, 3, buffer=buffer_of(1), check=go_on) == blake3(b"123").digest()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES[1:])
def test_a_file_that_is_too_short_has_changed(file: int, size: int) -> None:
    os.pwrite(file, content_of(size - 1), 0)
    with pytest.raises(ContentChanged, match="ends 1 bytes too early"):
        hash_unit(file, size, BLOCK, buffer=buffer_of(4 * BLOCK))
    with pytest.raises(ContentChanged, match="ends 1 bytes too early"):
        unit_digest(file, size, buffer=buffer_of(4 * BLOCK), check=go_on)


def places_of(content: bytes) -> list[BlockPlace]:
    return [
        BlockPlace(
            block=10 + start // BLOCK,
            unit=0,
            offset=start,
            size_bytes=len(content[start : start + BLOCK]),
            digest=blake3(content[start : start + BLOCK]).digest(),
        )
        for start in range(0, len(content), BLOCK)
    ]


def test_blocks_that_match_are_found_and_others_left_out(file: int) -> None:
    content = content_of(4 * BLOCK + 100)
    os.pwrite(file, content, 0)
    places = places_of(content)
    buffer = buffer_of(BLOCK)
    assert list(matching_blocks(file, places, buffer=buffer, check=go_on)) == [10, 11, 12, 13, 14]
    os.pwrite(file, b"!", BLOCK + 7)
    assert list(matching_blocks(file, places, buffer=buffer, check=go_on)) == [10, 12, 13, 14]
    os.ftruncate(file, 3 * BLOCK + 1)
    assert list(matching_blocks(file, places, buffer=buffer, check=go_on)) == [10, 12]
    os.ftruncate(file, 0)
    assert list(matching_blocks(file, places, buffer=buffer, check=go_on)) == []


class Interrupted(Exception):
    """Ends a hashing."""


@pytest.mark.usefixtures("way")
def test_hashing_ends_where_its_check_says_so(file: int) -> None:
    content = content_of(16 * BLOCK)
    os.pwrite(file, content, 0)
    calls = 0

    def interrupt_the_third() -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Interrupted

    with pytest.raises(Interrupted):
        unit_digest(file, len(content), buffer=buffer_of(2 * BLOCK), check=interrupt_the_third)
    assert calls == 3
    found = matching_blocks(
        file, places_of(content), buffer=buffer_of(BLOCK), check=interrupt_the_third
    )
    assert [next(found), next(found)] == [10, 11]
    with pytest.raises(Interrupted):
        next(found)


def test_a_digest_has_the_length_that_manifests_expect() -> None:
    assert len(digest_of(b"")) == DIGEST_BYTES


def unit_of(content: bytes, grain_bytes: int = BLOCK) -> Unit:
    return make_unit("a", content, block_size_bytes=grain_bytes)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_hurried", [False, True])
@pytest.mark.parametrize("buffer_bytes", [BLOCK, 2 * BLOCK, 5 * BLOCK - 1, 64 * BLOCK])
@pytest.mark.parametrize("size", SIZES)
def test_blocks_that_do_not_have_their_digest_are_found(
    file: int, size: int, buffer_bytes: int, is_hurried: bool
) -> None:
    content = content_of(size)
    os.pwrite(file, content, 0)
    read: list[int] = []

    def wrong() -> list[int]:
        return wrong_blocks(
            file,
            unit_of(content),
            buffer=buffer_of(buffer_bytes),
            on_progress=read.append,
            is_hurried=is_hurried,
        )

    assert wrong() == []
    assert sum(read) == size
    changed = sorted({0, size // BLOCK // 2, (size - 1) // BLOCK}) if size else []
    for block in changed:
        os.pwrite(file, b"\xff", min(block * BLOCK + 7, size - 1))
    assert wrong() == changed


@pytest.mark.parametrize("tail", [0, 1, BLOCK - 1])
@pytest.mark.parametrize(
    "data", [(), (0,), (31,), (3, 4, 17), tuple(range(32))], ids=lambda data: f"{len(data)} blocks"
)
def test_holes_are_not_read_and_count_as_zeros(file: int, data: tuple[int, ...], tail: int) -> None:
    grain = 64 * BLOCK  # holes are as long as pages at least
    size = 32 * grain + tail
    os.ftruncate(file, size)
    content = bytearray(size)
    for block in data:
        content[block * grain : (block + 1) * grain] = b"x" * grain
        os.pwrite(file, b"x" * grain, block * grain)
    unit = unit_of(bytes(content), grain)
    read: list[int] = []

    def wrong() -> list[int]:
        return wrong_blocks(
            file, unit, buffer=buffer_of(4 * grain), on_progress=read.append, is_hurried=False
        )

    assert wrong() == []
    assert sum(read) == len(data) * grain
    if data:
        os.pwrite(file, bytes(grain), data[0] * grain)
        assert wrong() == [data[0]]
    if len(data) < 32:
        hole = next(block for block in range(32) if block not in data)
        os.pwrite(file, b"y", hole * grain + 5)
        assert hole in wrong()


GRAIN = 256 * BLOCK
"""Holes that are found are as long, and begin and end at multiples of it."""


def sparse(file: int, data: tuple[int, ...], size: int) -> bytes:
    """Make a file with data in some grains and holes in between."""
    os.ftruncate(file, size)
    content = bytearray(size)
    for grain in data:
        here = content_of(min(GRAIN, size - grain * GRAIN))
        content[grain * GRAIN : grain * GRAIN + len(here)] = here
        os.pwrite(file, here, grain * GRAIN)
    return bytes(content)


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call read."""
    counts: list[int] = []
    preadv = os.preadv

    def count(fd: int, buffers: list[memoryview], offset: int) -> int:
        counts.append(preadv(fd, buffers, offset))
        return counts[-1]

    monkeypatch.setattr(os, "preadv", count)
    return counts


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("tail", [0, 1, GRAIN - 1])
@pytest.mark.parametrize("data", [(), (0,), (9,), (2, 3, 7), tuple(range(10))])
def test_holes_are_hashed_without_being_read(
    file: int, read_bytes: list[int], data: tuple[int, ...], tail: int
) -> None:
    size = 10 * GRAIN + tail
    content = sparse(file, data, size)
    expected = blake3(content).digest()
    told: list[int] = []
    buffer = buffer_of(4 * GRAIN)
    digest, digests = hash_unit(file, size, GRAIN, buffer=buffer, on_progress=told.append)
    assert digest == expected
    blocks = [content[start : start + GRAIN] for start in range(0, size, GRAIN)]
    assert digests == b"".join(blake3(block).digest() for block in blocks)
    assert sum(told) == size
    assert sum(read_bytes) == len(data) * GRAIN
    assert unit_digest(file, size, buffer=buffer, check=go_on) == expected
    hasher = UnitHasher()
    for end in (5000, 3 * GRAIN + 7, size):
        hasher.advance(file, end, buffer, check=go_on)
    assert hasher.digest() == expected
    places = [
        BlockPlace(at // GRAIN, 0, at, len(block), blake3(block).digest())
        for at, block in zip(range(0, size, GRAIN), blocks, strict=True)
    ]
    del read_bytes[:]
    found = list(matching_blocks(file, places, buffer=buffer, check=go_on))
    assert found == list(range(len(blocks)))
    assert sum(read_bytes) == len(data) * GRAIN


def test_what_lies_beyond_the_end_of_a_file_is_no_hole(file: int) -> None:
    content = sparse(file, (0,), 3 * GRAIN)
    size, buffer = 4 * GRAIN, buffer_of(4 * GRAIN)
    with pytest.raises(ContentChanged):
        hash_unit(file, size, GRAIN, buffer=buffer)
    with pytest.raises(ContentChanged):
        unit_digest(file, size, buffer=buffer, check=go_on)
    with pytest.raises(ContentChanged):
        UnitHasher().advance(file, size, buffer, check=go_on)
    unit = unit_of(content + bytes(GRAIN), GRAIN)
    with pytest.raises(ContentChanged):
        wrong_blocks(file, unit, buffer=buffer, on_progress=lambda _: None, is_hurried=False)
    behind = BlockPlace(3, 0, 3 * GRAIN, GRAIN, blake3(bytes(GRAIN)).digest())
    assert list(matching_blocks(file, [behind], buffer=buffer, check=go_on)) == []


def test_a_long_hole_takes_little_memory(file: int) -> None:
    size = 64 * BLOCK * BLOCK
    os.ftruncate(file, size)
    tracemalloc.start()
    try:
        hash_unit(file, size, BLOCK * BLOCK, buffer=buffer_of(BLOCK * BLOCK))
        assert tracemalloc.get_traced_memory()[1] < 8 * BLOCK * BLOCK
    finally:
        tracemalloc.stop()


def test_where_holes_are_not_known_everything_is_read(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    content = content_of(7 * BLOCK)
    os.pwrite(file, content, 0)
    read: list[int] = []
    assert not wrong_blocks(
        file,
        unit_of(content),
        buffer=buffer_of(2 * BLOCK),
        on_progress=read.append,
        is_hurried=False,
    )
    assert sum(read) == len(content)


def test_a_file_that_ends_too_early_has_changed(file: int) -> None:
    content = content_of(7 * BLOCK)
    os.pwrite(file, content[: 3 * BLOCK + 1], 0)
    with pytest.raises(ContentChanged):
        wrong_blocks(
            file,
            unit_of(content),
            buffer=buffer_of(BLOCK),
            on_progress=lambda _: None,
            is_hurried=False,
        )


def test_a_file_is_hashed_bit_by_bit_as_far_as_it_is_there(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "f").write_bytes(content)
    hasher, pieces = UnitHasher(), []
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        for end in (0, 1000, 1000, 5000, len(content)):
            hasher.advance(fd, end, memoryview(bytearray(700)), check=lambda: pieces.append(1))
            assert hasher.done_bytes == end
        assert hasher.digest() == blake3(content).digest()
        assert len(pieces) == 2 + 6 + 8
        with pytest.raises(ContentChanged):
            hasher.advance(fd, len(content) + 1, memoryview(bytearray(700)), check=lambda: None)
    finally:
        os.close(fd)
