"""One block hashed again, as it would be sent."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.block_checks import check_block
from ckptd.store.published.pieces import StoredPiece
from ckptd.store.published.serving import ServedPlace, ServedVersion
from tests.support.stores import rot


def check(served: ServedVersion, block: int) -> None:
    (place,) = served.space.places((block, block + 1))
    start = served.space.block_start(block)
    pieces = served.pieces(start, start + place.size_bytes)
    check_block(pieces, page_buffer(place.size_bytes), place.digest, reason="it rotted")


def test_what_was_published_is_right(served: ServedVersion) -> None:
    for block in range(served.space.block_count):
        check(served, block)


def test_a_byte_that_changed_under_its_fingerprint_is_found_and_nothing_else(
    root: Root, hashed: HashedDirectory
) -> None:
    space = AddressSpace(hashed.manifest)
    for place in space.places((0, space.block_count)):
        last = place.offset + place.size_bytes - 1
        rotten = rot(root, hashed, place.unit, last)
        served = ServedVersion([ServedPlace(1, root, rotten)])
        for other in range(space.block_count):
            if other != place.block:
                check(served, other)
        with pytest.raises(ContentChanged, match="it rotted"):
            check(served, place.block)
        hashed = rot(root, rotten, place.unit, last)  # the same bit: it is right again


def test_who_yields_the_pieces_learns_which_one_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    seen: list[str] = []

    def pieces() -> Generator[StoredPiece, None, None]:
        fd = os.open(tmp_path / "a", os.O_RDONLY)
        try:
            yield StoredPiece(fd, 0, 2)
            yield StoredPiece(-1, 0, 1, memoryview(b"c"))
        except ContentChanged as error:
            seen.append(str(error))
            raise
        finally:
            os.close(fd)

    with pytest.raises(ContentChanged):
        check_block(pieces(), page_buffer(3), bytes(32), reason="it rotted")
    assert seen == ["file of a version: it rotted"]


def test_a_file_that_ends_early_or_cannot_be_read_is_wrong(tmp_path: Path) -> None:
    def pieces(fd: int) -> Generator[StoredPiece, None, None]:
        yield StoredPiece(fd, 0, 3)

    (tmp_path / "a").write_bytes(b"ab")
    short, directory = os.open(tmp_path / "a", os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    try:
        for fd in (short, directory):
            with pytest.raises(ContentChanged):
                check_block(pieces(fd), page_buffer(3), bytes(32), reason="it rotted")
    finally:
        os.close(short)
        os.close(directory)
