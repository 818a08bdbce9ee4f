import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckptd.errors import ContentChanged, StorageError
from ckptd.limits import DIGEST_BYTES, MIB
from ckptd.model.ids import Digest
from ckptd.model.manifest import FORMAT, Manifest, Unit
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.pieces import PIECE_BYTES_MAX, READ_BYTES_MAX, StoredPiece
from ckptd.store.published.serving import ServedVersion
from tests.support.mounts import needs_disk
from tests.support.page_cache import pages_in_memory
from tests.support.stores import (
    SERVED_CONTENTS,
    change_served,
    open_descriptors,
    publish,
    read_served,
    served_from,
    write_files,
)

WHOLE = b"".join(SERVED_CONTENTS.values())


CHANGES = [
    "overwrite", "touch", "remove", "replace", "fifo", "link", "directory link", "move",
]  # fmt: skip


@pytest.mark.parametrize("drops_used", [False, True])
def test_what_was_sent_leaves_memory_if_that_is_wanted(
    root: Root, inside: Path, *, drops_used: bool
) -> None:
    needs_disk(inside)
    contents = {"large": bytes(3 * MIB), "small": bytes(READ_BYTES_MAX)}
    write_files(inside / "v1", contents)
    served = served_from(root, publish(root, "v1"))
    os.sync()  # what is not on the disk yet cannot leave
    for _ in served.pieces(0, served.size_bytes, drops_used=drops_used):
        pass
    for name, content in contents.items():
        kept = pages_in_memory(inside / "v1" / name)
        assert kept == (0 if drops_used else len(content) // mmap.PAGESIZE)


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changed_before_is_not_served(
    root: Root, hashed: HashedDirectory, served: ServedVersion, inside: Path, how: str
) -> None:
    change_served(inside, how)
    for end in (10, READ_BYTES_MAX + 1):
        with pytest.raises(ContentChanged, match="v1/a: "):
            next(iter(served.pieces(0, end)))


@pytest.mark.parametrize("how", ["overwrite", "touch", "remove", "replace"])
def test_a_file_that_changes_while_it_is_sent_is_noticed(
    served: ServedVersion, inside: Path, how: str
) -> None:
    pieces = iter(served.pieces(0, READ_BYTES_MAX + 1))
    next(pieces)
    change_served(inside, how)
    with pytest.raises(ContentChanged, match="v1/a: "):
        next(pieces)


def test_short_units_come_together_and_in_order(root: Root, inside: Path) -> None:
    sizes = [1, 0, READ_BYTES_MAX, READ_BYTES_MAX + 1, *[READ_BYTES_MAX] * 5, 7]
    contents = {f"{n:02}": bytes([n]) * size for n, size in enumerate(sizes)}
    write_files(inside / "v2", contents)
    served = served_from(root, publish(root, "v2"))
    whole = b"".join(contents.values())
    assert read_served(served, 0, len(whole)) == whole
    seen = [(piece.size_bytes, piece.data is None) for piece in served.pieces(0, len(whole))]
    assert seen == [
        (READ_BYTES_MAX + 1, False),
        (READ_BYTES_MAX + 1, True),
        (4 * READ_BYTES_MAX, False),
        (READ_BYTES_MAX + 7, False),
    ]


@pytest.mark.parametrize("how", CHANGES)
def test_of_short_units_none_that_changed_is_sent(root: Root, inside: Path, how: str) -> None:
    write_files(inside, {"v1/a": b"1" * 9, "v1/b": b"2"})
    served = served_from(root, publish(root, "v1"))
    change_served(inside, how)
    with pytest.raises(ContentChanged, match="v1/a: "):
        list(served.pieces(0, 10))


def test_a_short_unit_that_changes_while_it_is_read_is_noticed(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(inside, {"v1/a": b"1" * 9})
    served = served_from(root, publish(root, "v1"))
    read_at = os.preadv

    def read_and_change(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        count = read_at(fd, buffers, offset)
        change_served(inside, "overwrite")
        return count

    monkeypatch.setattr(os, "preadv", read_and_change)
    with pytest.raises(ContentChanged, match="v1/a: "):
        list(served.pieces(0, 9))


def test_a_disk_that_reads_a_little_at_a_time_gives_all_of_it(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(250)) * 16
    write_files(inside, {"v1/a": content})
    served = served_from(root, publish(root, "v1"))
    read_at = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda fd, buffers, offset: read_at(fd, [buffers[0][:1001]], offset)
    )
    (piece,) = ((*piece[:3], bytes(piece.data or b"")) for piece in served.pieces(7, len(content)))
    assert piece == (-1, 0, len(content) - 7, content[7:])


def test_closing_early_gives_the_descriptors_back(served: ServedVersion) -> None:
    before = open_descriptors()
    pieces = served.pieces(0, len(WHOLE))
    next(iter(pieces))
    assert open_descriptors() != before
    pieces.close()
    assert open_descriptors() == before


def test_running_out_of_descriptors_is_no_change_of_content(
    served: ServedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match="no file descriptor left") as caught:
        next(iter(served.pieces(0, 10)))
    assert not isinstance(caught.value, ContentChanged)


def test_long_units_come_in_pieces(root: Root, inside: Path) -> None:
    size = 2 * PIECE_BYTES_MAX + 100
    write_files(inside, {"v1/long": b""})
    os.truncate(inside / "v1/long", size)
    unit = Unit(
        path="long",
        size_bytes=size,
        digest=bytes(DIGEST_BYTES),
        block_size_bytes=16 * MIB,
        block_digests=bytes(9 * DIGEST_BYTES),
    )
    hashed = HashedDirectory(
        root="data",
        directory="v1",
        manifest=Manifest(format=FORMAT, checkpoint="a", version=1, units=(unit,)),
        encoded=b"",
        digest=Digest("00" * 32),
        files=UnitFiles([UnitFile(fingerprint_of(os.stat(inside / "v1/long")))]),
    )
    pieces = [piece[1:3] for piece in served_from(root, hashed).pieces(10, size)]
    assert pieces == [
        (10, PIECE_BYTES_MAX),
        (10 + PIECE_BYTES_MAX, PIECE_BYTES_MAX),
        (10 + 2 * PIECE_BYTES_MAX, 90),
    ]
    assert StoredPiece._fields[1:3] == ("offset", "size_bytes")
