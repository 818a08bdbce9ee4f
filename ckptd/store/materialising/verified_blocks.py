"""Reads units of held versions by the byte: each block is compared with its digest, and then used.

What is compared lies in memory, so a file that changes afterwards changes nothing. Blocks that were
used last are kept: tensors do not end where blocks do, and of a chain many units are read beside
each other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged
from ckptd.limits import MIB
from ckptd.model.ids import Digest
from ckptd.store.published.block_checks import check_block
from ckptd.store.published.checking import ROT
from ckptd.store.published.serving import ServedVersion

_KEPT_BYTES_MAX: Final = 128 * MIB
"""A block of each of 64 deltas of 2 GiB, and as much again."""


class VerifiedBlocks:
    """The blocks that were read last, of any version. Any thread may use it.

    Args:
        kept_bytes_max: So much of them is kept, but always the last one.
    """

    def __init__(self, kept_bytes_max: int = _KEPT_BYTES_MAX) -> None:
        self._left_bytes = kept_bytes_max
        self._kept: OrderedDict[tuple[Digest, int], memoryview] = OrderedDict()
        self._lock = threading.Lock()

    def block(self, version: ServedVersion, block: int) -> memoryview:
        """Return a block of a version. Blocks.

        Raises:
            ContentChanged: It is not what was published, or not here any more.
            StorageError: The disk refused.
        """
        key = (version.digest, block)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = _read(version, block)
        with self._lock:
            if key not in self._kept:  # else another thread read it meanwhile
                self._keep(key, content)
        return content

    def _keep(self, key: tuple[Digest, int], content: memoryview) -> None:
        self._left_bytes -= len(content)
        while self._left_bytes < 0 and self._kept:
            self._left_bytes += len(self._kept.popitem(last=False)[1])
        self._kept[key] = content


class VerifiedUnit:
    """One unit of a held version.

    Attributes:
        path: In its version.
        label: The same with its version, for people: all versions of a chain may have that path.
        size_bytes: Its length.

    Args:
        blocks: Reads its blocks.
        version: The version.
        unit: Which unit of it.
    """

    def __init__(self, blocks: VerifiedBlocks, version: ServedVersion, unit: int) -> None:
        facts = version.space.manifest.units[unit]
        self.path, self.size_bytes = facts.path, facts.size_bytes
        self.label = _label(version, facts.path)
        self._blocks = blocks
        self._version = version
        self._first_block = version.space.unit_run(unit)[0]
        self._grain_bytes = facts.block_size_bytes

    def read_into(self, start: int, content: memoryview) -> None:
        """Fill memory with what the unit has from a byte on.

        Raises:
            ContentChanged: It is not what was published, or not here any more.
            StorageError: The disk refused.
        """
        done = 0
        for piece in self._pieces(start, start + len(content)):
            content[done : done + len(piece)] = piece
            done += len(piece)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes ``start`` … ``end - 1``; raises as :meth:`read_into`."""
        return b"".join(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> Iterator[memoryview]:
        while start < end:
            number, inside = divmod(start, self._grain_bytes)
            block = self._blocks.block(self._version, self._first_block + number)
            piece = block[inside : inside + end - start]
            yield piece
            start += len(piece)


def _read(version: ServedVersion, block: int) -> memoryview:
    (place,) = version.space.places((block, block + 1))
    start = version.space.block_start(block)
    end = start + place.size_bytes
    if not version.holds(start, end):
        path = version.space.manifest.units[place.unit].path
        raise ContentChanged(
            f"unit {_label(version, path)}",
            "is not here any more, or not what was published",
            "Once more what is missing is fetched, if a peer has it; else publish it again.",
        )
    content = page_buffer(place.size_bytes)
    check_block(version.pieces(start, end), content, place.digest, reason=ROT)
    return content


def _label(version: ServedVersion, path: str) -> str:
    manifest = version.space.manifest
    return f"{path[:200]} of {manifest.checkpoint}@{manifest.version}"
