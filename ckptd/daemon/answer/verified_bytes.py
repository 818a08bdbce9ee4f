"""Reads blocks of a unit and compares them: what is returned is what was compared.

Nothing else than these bytes in memory goes to whoever asked. So what is missing in a file that is
being fetched is never read as zeros, and what changes afterwards changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.store.files.hashing import digest_of, read_exactly
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.roots import Root
from ckptd.store.published.serving import ServedVersion


def read_staged(root: Root, path: str, places: Sequence[BlockPlace]) -> memoryview:
    """Return blocks of a unit whose file is being fetched, or was placed just now. Blocks.

    Args:
        root: Where it lies.
        path: Its file, relative to the root.
        places: The blocks, one behind the other.

    Raises:
        NotFound: It is not there any more.
        ContentChanged: The bytes are not what the manifest says.
        StorageError: The disk refused.
    """
    fd = root.open_file(path, os.O_RDONLY)
    try:
        buffer = page_buffer(sum(place.size_bytes for place in places))
        with mapping_os_errors(root.absolute(path)):
            data = read_exactly(fd, places[0].offset, len(buffer), buffer)
    finally:
        os.close(fd)
    _compare(data, places, root.absolute(path))
    return data


def read_held(served: ServedVersion, places: Sequence[BlockPlace], path: str) -> memoryview:
    """Return blocks of a unit that stands here, from wherever it does. Blocks.

    Args:
        served: The version.
        places: The blocks, one behind the other.
        path: Of the unit, for people.

    Raises:
        ContentChanged: The bytes are not what was published.
        StorageError: The disk refused.
    """
    start = served.space.block_start(places[0].block)
    data = page_buffer(sum(place.size_bytes for place in places))
    done = 0
    for piece in served.pieces(start, start + len(data)):
        part = data[done : done + piece.size_bytes]
        if piece.data is not None:
            part[:] = piece.data
        else:
            with mapping_os_errors(path):
                read_exactly(piece.fd, piece.offset, piece.size_bytes, part)
        done += piece.size_bytes
    _compare(data, places, path)
    return data


def places_of(space: AddressSpace, start: int, end: int) -> tuple[BlockPlace, ...]:
    """Return where some blocks of one unit lie."""
    return tuple(space.places((start, end)))


def _compare(data: memoryview, places: Sequence[BlockPlace], path: str) -> None:
    """Compare bytes with the digests of their blocks.

    Raises:
        ContentChanged: They are something else.
    """
    first = places[0].offset
    for place in places:
        part = data[place.offset - first : place.offset - first + place.size_bytes]
        if digest_of(part) != place.digest:
            raise ContentChanged(
                f"file {path}", "is not what was published", "Recover or publish it again."
            )
