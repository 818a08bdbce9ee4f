from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import NotFound, StorageError
from ckptd.limits import DIGEST_BYTES, KIB
from ckptd.model.manifest import Unit
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.trees.finishing import Finish
from ckptd.store.trees.whole_units import RESERVE_BYTES_MIN, is_whole, write_whole
from tests.support.stores import open_descriptors

CONTENT = bytes(range(256)) * 64


def unit(
    size_bytes: int = len(CONTENT), *, path: str = "a/unit", is_executable: bool = False
) -> Unit:
    block_size_bytes = 2**24
    blocks = -(-size_bytes // block_size_bytes)
    return Unit(
        path=path,
        size_bytes=size_bytes,
        digest=bytes(DIGEST_BYTES),
        block_size_bytes=block_size_bytes,
        block_digests=bytes(blocks * DIGEST_BYTES),
        is_executable=is_executable,
    )


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    (tmp_path / "a").mkdir()
    root = Root.open("data", str(tmp_path))
    with Names(root) as found:
        yield found
    root.close()


@pytest.mark.parametrize(
    ("size_bytes", "whole"),
    [(0, False), (1, True), (RESERVE_BYTES_MIN - 1, True), (RESERVE_BYTES_MIN, False)],
)
def test_a_unit_comes_whole_if_it_has_one_block_and_is_short(size_bytes: int, whole: bool) -> None:
    assert is_whole(unit(size_bytes)) is whole


def test_a_short_unit_of_two_blocks_does_not() -> None:
    two = Unit(
        path="a",
        size_bytes=300 * KIB,
        digest=bytes(DIGEST_BYTES),
        block_size_bytes=256 * KIB,
        block_digests=bytes(2 * DIGEST_BYTES),
    )
    assert not is_whole(two)


@pytest.mark.parametrize(
    ("finish", "mode", "mtime_ns"),
    [
        (None, 0o600, None),
        (Finish(0o664, 5), 0o664, 5),
        (Finish(0o755), 0o755, None),
        (Finish(0o440, 6), 0o640, 6),  # it may come once more
    ],
)
def test_its_file_has_the_content_and_what_it_gets_last(
    names: Names, tmp_path: Path, finish: Finish | None, mode: int, mtime_ns: int | None
) -> None:
    mask = os.umask(0o077)
    try:
        before = open_descriptors()
        write_whole(names, unit(), memoryview(CONTENT), finish)
        write_whole(names, unit(), memoryview(CONTENT), finish)
    finally:
        os.umask(mask)
    path = tmp_path / "a/unit"
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o7777 == mode
    assert mtime_ns is None or path.stat().st_mtime_ns == mtime_ns
    assert {each for each in open_descriptors() - before if "unit" in each} == set()


@pytest.mark.parametrize("there", [b"", CONTENT[:7], bytes(len(CONTENT)), CONTENT])
def test_what_an_earlier_try_left_is_written_once_more(
    names: Names, tmp_path: Path, there: bytes
) -> None:
    (tmp_path / "a/unit").write_bytes(there)
    write_whole(names, unit(), memoryview(CONTENT))
    assert (tmp_path / "a/unit").read_bytes() == CONTENT


def test_bytes_that_the_kernel_takes_in_parts_all_arrive(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:1000], offset))
    write_whole(names, unit(), memoryview(CONTENT))
    assert (tmp_path / "a/unit").read_bytes() == CONTENT


@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_a_file_of_somebody_else_is_not_written_to(
    names: Names, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    plant(tmp_path / "a/unit", outside)
    names.find("a/unit")  # keeps the directory open
    before = open_descriptors()
    with pytest.raises(StorageError):
        write_whole(names, unit(), memoryview(CONTENT))
    assert open_descriptors() == before
    assert outside.read_bytes() == b"mine"


def test_without_its_directory_it_is_not_found(names: Names) -> None:
    with pytest.raises(NotFound):
        write_whole(names, unit(path="gone/unit"), memoryview(CONTENT))
