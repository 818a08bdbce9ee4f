"""One block read and hashed again where it lies, as it would be sent."""

from __future__ import annotations

import os
from collections.abc import Generator

from ckptd.errors import ContentChanged
from ckptd.store.files.hashing import digest_of
from ckptd.store.files.sparing_reading import SparingReading
from ckptd.store.published.pieces import StoredPiece


def check_block(
    pieces: Generator[StoredPiece, None, None],
    content: memoryview,
    digest: bytes,
    *,
    reason: str,
) -> None:
    """Read a block and compare its digest. Blocks.

    What is wrong is thrown into ``pieces``, so that whoever yields them knows which file it is.

    Args:
        pieces: Where the block lies; closed in the end.
        content: Where it is read, as long as it is.
        digest: What it should hash to.
        reason: What is to be said of a file that is not what it should be, for people.

    Raises:
        ContentChanged: It is not what was published, or its file changed meanwhile.
        StorageError: The file system refused.
    """
    filled = 0
    try:
        for piece in pieces:
            is_read = _read(piece, content[filled : filled + piece.size_bytes])
            filled += piece.size_bytes
            if not is_read or (filled == len(content) and digest_of(content) != digest):
                pieces.throw(ContentChanged("file of a version", reason))
    finally:
        pieces.close()


def _read(piece: StoredPiece, memory: memoryview) -> bool:
    """Read a piece; return whether the disk could read all of it."""
    if piece.data is not None:
        memory[:] = piece.data
        return True
    # Who reads single blocks leaves the page cache as it is; what is read ahead would stay in it.
    os.posix_fadvise(piece.fd, 0, 0, os.POSIX_FADV_RANDOM)
    try:
        SparingReading(piece.fd, lambda _: None).read_exactly(
            piece.offset, piece.size_bytes, memory
        )
    except (ContentChanged, OSError):
        return False
    return True
