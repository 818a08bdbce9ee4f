"""Versions of which units are kept compressed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from ckptd.coding.seek_tables import SeekTable
from ckptd.limits import KIB, MIB
from ckptd.store.files.compressed_files import compressed_block
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.compressing import compress_unit, compressible


def half_random(size_bytes: int, seed: int = 1) -> bytes:
    """Return content that zstd makes about half as long."""
    drawn = Random(seed).randbytes(16 * KIB)
    pattern = drawn + bytes(range(256)) * (len(drawn) // 256)
    return (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]


COPIED_CONTENTS = {
    "model": half_random(MIB + 300 * KIB),  # several blocks
    "small": half_random(3000),
    "empty": b"",
    "sub/noise": Random(2).randbytes(MIB),
}
"""Of a copy of which ``model`` is kept compressed."""


def compressed_bytes(blocks: Sequence[bytes]) -> bytes:
    """Return a file that has blocks compressed."""
    frames = [compressed_block(memoryview(block)) for block in blocks]
    lengths = zip(map(len, frames), map(len, blocks), strict=True)
    return b"".join(frames) + SeekTable(lengths).encoded()


def compress(
    root: Root, hashed: HashedDirectory, units: Iterable[int] | None = None, *, leaves: bool = False
) -> HashedDirectory:
    """Compress units of a place, and return what is to be recorded of it then.

    Args:
        root: Where it lies.
        hashed: The place.
        units: Which ones; ``None``: all that get shorter.
        leaves: The files that have them as they were stay.
    """
    files = hashed.files.copied()
    for unit in compressible(hashed) if units is None else units:
        made = compress_unit(root, hashed, unit, lambda _: None)
        if made is not None:
            files[unit] = made
            if not leaves:
                os.unlink(root.absolute(hashed.path_of(unit)))
    return replace(hashed, files=files)


def spoil(path: Path, offset: int) -> None:
    """Change a byte of a file, and let it look as it did but for its ctime."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes((byte[0] ^ 0x40,)))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
