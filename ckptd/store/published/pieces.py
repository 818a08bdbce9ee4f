"""Pieces of files, ready to be sent, each file checked to be what it was when it was hashed.

A file that changed since must not be sent as if it had not: its fingerprint is compared when it is
opened, before each piece and after it. What is kept compressed is decoded, and compared after each
piece was: nobody who sends or reads it knows. If a piece changes while it is sent, the receiver
notices, since it verifies every block; the sender aborts so that it is not blamed.

Descriptors live no longer than a piece of work: opening a file again costs 10 µs, and a
descriptor kept for later would keep a removed checkpoint's room on the disk taken.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged, NotFound, StorageError
from ckptd.limits import KIB, MIB
from ckptd.model.manifest import Unit
from ckptd.model.space import Extent
from ckptd.store.files.compressed_files import CompressedFile
from ckptd.store.files.fingerprints import Fingerprint, is_unchanged
from ckptd.store.files.kernel import drop_cached
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root

PIECE_BYTES_MAX: Final = 64 * MIB
"""A change in a longer stretch of a unit is noticed after at most so much."""

_REPLACED: Final = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
"""Errors of opening where a link, a file or a socket took the place of a directory or file.
Other errors, such as EMFILE, say nothing about the content."""


READ_BYTES_MAX: Final = 64 * KIB
"""Shorter stretches of a file are read, many into one piece: a call of sendfile for each, and a
look at the file before and after it, cost more than a copy of so much."""

_TOGETHER_BYTES: Final = 256 * KIB
"""Most bytes of short stretches in one piece."""


_UNSENT_BYTES: Final = 8 * MIB
"""More than a send buffer has (4 MiB, tcp(7)). What is in it cannot be dropped from the
page cache yet; so with each piece the bytes this far before it are dropped, too."""


class StoredPiece(NamedTuple):
    """Bytes ready to be sent, of one file or of several short ones.

    Attributes:
        fd: The file; good until the next piece is asked for.
        offset: Where they begin in it.
        size_bytes: How many, at least 1.
        data: The bytes, if they were read already and their files checked since; likewise good
            until the next piece is asked for. Then there is no file.
    """

    fd: int
    offset: int
    size_bytes: int
    data: memoryview | None = None


def read_pieces(
    extents: Iterator[Extent],
    open_unit: Callable[[int], int],
    compare: Callable[[int, int], None],
    *,
    drops_used: bool,
    compressed: Callable[[int], Unit | None],
) -> Generator[StoredPiece, None, None]:
    """Yield the pieces of some extents, each file compared after its bytes were used. Blocks.

    Args:
        extents: Which bytes.
        open_unit: Opens the file of a unit.
        compare: Raises ``ContentChanged`` if an open file of a unit is not what was hashed.
        drops_used: Drop bytes from the page cache once they were used.
        compressed: Returns a unit if the file that was just opened has it compressed.

    Raises:
        ContentChanged: A file is not what was hashed, or the disk cannot read it.
        CkptdError: What ``open_unit`` raises.
    """
    together = memoryview(b"")
    filled = 0
    for unit, offset, size_bytes in extents:
        is_short = size_bytes <= READ_BYTES_MAX
        if filled and not (is_short and filled + size_bytes <= len(together)):
            yield StoredPiece(-1, 0, filled, together[:filled])
            filled = 0
        fd = open_unit(unit)
        try:
            expected = compressed(unit)
            if is_short:
                together = together or page_buffer(_TOGETHER_BYTES)
                _read(fd, offset, together[filled : filled + size_bytes], expected)
                filled += size_bytes
                if drops_used and expected is None:
                    _drop(fd, offset, offset + size_bytes)
            elif expected is not None:
                for data in _decoded(fd, expected, offset, size_bytes, drops_used=drops_used):
                    compare(fd, unit)
                    yield StoredPiece(-1, 0, len(data), data)
            else:
                for piece in _split(fd, offset, size_bytes):
                    compare(fd, unit)
                    yield piece
                    if drops_used:
                        _drop(fd, piece.offset - _UNSENT_BYTES, piece.offset + piece.size_bytes)
            compare(fd, unit)
        finally:
            os.close(fd)
    if filled:
        yield StoredPiece(-1, 0, filled, together[:filled])


def _decoded(
    fd: int, unit: Unit, offset: int, size_bytes: int, *, drops_used: bool
) -> Iterator[memoryview]:
    """Yield bytes of a unit that is kept compressed, each piece good until the next.

    Raises:
        ContentChanged: They cannot be decoded, or the disk cannot read them.
    """
    try:
        file = CompressedFile(fd)
        file.check_is_of(unit)
        yield from file.pieces(offset, offset + size_bytes)
    except OSError as error:
        raise ContentChanged("version", "a file of it cannot be read") from error
    if drops_used:
        _drop(fd, *file.table.span(offset, offset + size_bytes))


def _read(fd: int, offset: int, memory: memoryview, compressed: Unit | None) -> None:
    """Fill memory from a file. If the file is too short, the comparison that follows notices.

    Raises:
        ContentChanged: The disk cannot read it, or it cannot be decoded.
    """
    done = 0
    if compressed is not None:
        for data in _decoded(fd, compressed, offset, len(memory), drops_used=False):
            memory[done : done + len(data)] = data
            done += len(data)
        return
    try:
        while done < len(memory):
            count = os.preadv(fd, [memory[done:]], offset + done)
            if not count:
                return
            done += count
    except OSError as error:
        raise ContentChanged("version", "a file of it cannot be read") from error


def _drop(fd: int, start: int, end: int) -> None:
    """Drop bytes of a file from the page cache, except pages that are in use."""
    start = max(start, 0)
    drop_cached(fd, start, end - start)


def _split(fd: int, offset: int, size_bytes: int) -> Iterator[StoredPiece]:
    for start in range(offset, offset + size_bytes, PIECE_BYTES_MAX):
        yield StoredPiece(fd, start, min(PIECE_BYTES_MAX, offset + size_bytes - start))


def open_published(root: Root, names: Names, path: str) -> int:
    """Open a file of a version that stands under its final name.

    Raises:
        ContentChanged: It is gone, or something else took its place.
        StorageError: The file system refused for a reason that says nothing about the content.
    """
    try:
        return names.open_file(path, os.O_RDONLY)
    except NotFound as error:
        raise ContentChanged(f"file {root.absolute(path)}", "was removed") from error
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno not in _REPLACED:
            raise
        raise content_changed(root.absolute(path)) from error


def check_unchanged(fd: int, expected: Fingerprint, path: str) -> None:
    """Check that an open file is what was hashed, and has no second name.

    Raises:
        ContentChanged: It is not.
    """
    if not is_unchanged(os.fstat(fd), expected):
        raise content_changed(path)


def content_changed(path: str) -> ContentChanged:
    """Return the error that a file is not what was published."""
    return ContentChanged(
        f"file {path}", "changed since it was published", "Publish the version again."
    )
