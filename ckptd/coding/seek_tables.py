"""The table at the end of a seekable zstd file: how long its frames are, and what they hold.

The file is frames of zstd one after another, and last a skippable frame, which programs that know
nothing of it pass over: ``zstd -d`` gives the whole content. Integers are little-endian.

======  ====================================================================
bytes   what
======  ====================================================================
4       magic number of a skippable frame, 0x184D2A5E
4       how many bytes follow
8 each  of each frame: its length, and the length of what it holds
4       how many frames there are
1       0: no checksums stand in the table
4       magic number of the table, 0x8F92EAB1
======  ====================================================================

It is the seekable format of zstd's ``contrib/seekable_format``; a table with checksums is refused,
as frames of ckptd's have their own.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ckptd.errors import InvalidFormat
from ckptd.limits import BLOCK_BYTES_MAX, MANIFEST_BLOCKS_MAX

FOOTER_BYTES: Final = 9

_HEAD: Final = struct.Struct("<II")
_ENTRY: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")
_SKIPPABLE: Final = 0x184D2A5E
_SEEKABLE: Final = 0x8F92EAB1
_OVERHEAD_MAX: Final = 1024
"""Content that cannot be compressed gets three bytes longer with each 128 KiB, and by a head."""


class Frame(NamedTuple):
    """A frame in a file.

    Attributes:
        start: Where it begins in the file, in bytes.
        end: The byte behind it.
        plain_start: Where what it holds begins in the content.
        plain_bytes: How long that is.
    """

    start: int
    end: int
    plain_start: int
    plain_bytes: int


class SeekTable:
    """Where the frames of a file are. Any thread may read it.

    Args:
        lengths: Of each frame its length, and that of what it holds; one at least of each.
    """

    def __init__(self, lengths: Iterable[tuple[int, int]]) -> None:
        self._starts, self._plain_starts = array("Q", [0]), array("Q", [0])
        for frame_bytes, plain_bytes in lengths:
            self._starts.append(self._starts[-1] + frame_bytes)
            self._plain_starts.append(self._plain_starts[-1] + plain_bytes)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def frames_bytes(self) -> int:
        """How long the frames are together: where the table begins in the file."""
        return self._starts[-1]

    @property
    def plain_bytes(self) -> int:
        """How long the content is."""
        return self._plain_starts[-1]

    def has_grain(self, grain_bytes: int) -> bool:
        """Return whether each frame holds so many bytes; the last one may hold fewer."""
        last = len(self) - 1
        return all(self._plain_starts[at] == at * grain_bytes for at in range(last + 1)) and (
            last < 0 or self.plain_bytes - self._plain_starts[last] <= grain_bytes
        )

    def frames(self, start: int, end: int) -> Iterator[Frame]:
        """Yield the frames that hold the bytes ``start`` … ``end - 1`` of the content."""
        at = bisect_right(self._plain_starts, start) - 1
        while at < len(self) and self._plain_starts[at] < end:
            yield Frame(
                self._starts[at],
                self._starts[at + 1],
                self._plain_starts[at],
                self._plain_starts[at + 1] - self._plain_starts[at],
            )
            at += 1

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where the frames begin and end in the file that :meth:`frames` yields."""
        frames = list(self.frames(start, end))
        return (frames[0].start, frames[-1].end) if frames else (0, 0)

    def encoded(self) -> bytes:
        """Return the table as its bytes."""
        entries = b"".join(
            _ENTRY.pack(frame.end - frame.start, frame.plain_bytes)
            for frame in self.frames(0, self.plain_bytes)
        )
        footer = _FOOTER.pack(len(self), 0, _SEEKABLE)
        return _HEAD.pack(_SKIPPABLE, len(entries) + len(footer)) + entries + footer


def table_bytes(footer: bytes) -> int:
    """Return how long a table is.

    Args:
        footer: The last ``FOOTER_BYTES`` bytes of the file.

    Raises:
        InvalidFormat: There is none, or it is longer than that of any unit.
    """
    if len(footer) != FOOTER_BYTES:
        raise _invalid("is too short")
    count, descriptor, magic = _FOOTER.unpack(footer)
    if magic != _SEEKABLE or descriptor:
        raise _invalid("does not end with a seek table that ckptd writes")
    if count > MANIFEST_BLOCKS_MAX:
        raise _invalid(f"says that it has {count} frames, more than {MANIFEST_BLOCKS_MAX}")
    return _HEAD.size + int(count) * _ENTRY.size + _FOOTER.size


def read_seek_table(table: bytes, file_bytes: int) -> SeekTable:
    """Read a table; what it says fits the file.

    Args:
        table: The last bytes of the file, as many as :func:`table_bytes` says.
        file_bytes: How long the file is.

    Raises:
        InvalidFormat: It is none, or its frames are not all that is in the file, or one holds
            more than a block, or nothing.
    """
    if len(table) != table_bytes(table[-FOOTER_BYTES:]):
        raise _invalid("is too short")
    magic, length = _HEAD.unpack_from(table)
    if magic != _SKIPPABLE or length != len(table) - _HEAD.size:
        raise _invalid("has a seek table that is no skippable frame of its length")
    entries = table[_HEAD.size : -FOOTER_BYTES]
    total_bytes = len(table)
    for frame_bytes, plain_bytes in _ENTRY.iter_unpack(entries):
        if not 0 < plain_bytes <= BLOCK_BYTES_MAX:
            raise _invalid(f"has a frame of {plain_bytes} bytes of content")
        if not 0 < frame_bytes <= plain_bytes + plain_bytes // 1024 + _OVERHEAD_MAX:
            raise _invalid(f"has a frame of {frame_bytes} bytes")
        total_bytes += frame_bytes
    if total_bytes != file_bytes:
        raise _invalid(f"has {file_bytes} bytes, and its seek table says {total_bytes}")
    return SeekTable(_ENTRY.iter_unpack(entries))


def _invalid(problem: str) -> InvalidFormat:
    return InvalidFormat("compressed file", problem)
