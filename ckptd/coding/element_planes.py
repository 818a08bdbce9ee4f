"""Elements taken apart into planes: all their lowest bytes, all their second ones, and so on.

What is near zero has planes of zeros, which cost four bytes each, and one plane of few different
bytes, which entropy coding is for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import numpy
from numpy.typing import NDArray

from ckptd.coding.frames import Framing
from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB

Elements: TypeAlias = NDArray[numpy.unsignedinteger]
"""Elements of one width, taken as integers without a sign, little-endian."""

Plane: TypeAlias = NDArray[numpy.uint8]
"""One byte of each element."""

SLICE_BYTES: Final = 256 * KIB
"""So much of a block is worked on at once: what comes between two steps stays in a processor's
cache, and takes less memory than a block."""

_LENGTH: Final = struct.Struct("<I")


def slices(elements: Elements) -> Iterator[tuple[int, int]]:
    """Return where slices of elements begin and end."""
    count = len(elements)
    yield from pairwise([*range(0, count, SLICE_BYTES // elements.itemsize), count])


def slice_of(width: int) -> Elements:
    """Return memory for a slice of elements of a width."""
    return numpy.empty(SLICE_BYTES // width, numpy.dtype(f"<u{width}"))


class Planes:
    """Makes planes of elements of one width, and reads them. One thread at a time.

    Args:
        width: Bytes of an element.
    """

    def __init__(self, width: int, framing: Framing) -> None:
        self._width = width
        self._framing = framing
        self._shifted = slice_of(width)
        self._memory = numpy.empty(0, numpy.uint8)
        self._planes = self._memory.reshape(width, 0)

    def memory(self, size_bytes: int) -> Plane:
        """Return the memory for planes, for something else; it is kept, and as long at least."""
        if len(self._memory) < size_bytes:
            self._memory = numpy.empty(size_bytes, numpy.uint8)
        return self._memory

    def room_for(self, count: int, memory: Plane | None = None) -> None:
        """Make room for so many elements, in memory for planes of another width or in its own."""
        size_bytes = self._width * count
        room = self.memory(size_bytes) if memory is None else memory
        self._planes = room[:size_bytes].reshape(self._width, count)

    def put(self, elements: Elements, start: int) -> None:
        """Take a slice of elements apart; the first one is the ``start``-th."""
        end = start + len(elements)
        numpy.copyto(self._planes[0, start:end], elements, casting="unsafe")
        shifted = self._shifted[: len(elements)]
        for number in range(1, self._width):
            numpy.right_shift(elements, 8 * number, out=shifted)
            numpy.copyto(self._planes[number, start:end], shifted, casting="unsafe")

    def coded(self) -> Iterator[bytes]:
        """Return what was put: of each plane the length and the frame; one of zeros has none."""
        for plane in self._planes:
            is_zero = plane.max(initial=0) == 0
            frame = b"" if is_zero else self._framing.frame_of_plane(plane.data)
            yield _LENGTH.pack(len(frame))
            yield frame

    def read(
        self, coded: memoryview, count: int, memory: Plane | None = None
    ) -> tuple[list[Plane | None], int]:
        """Return the planes of so many elements, and how many bytes they took; ``None``: zeros.

        They are right until others are put, or read, in the same memory.

        Raises:
            ProtocolViolation: They are not in the bytes.
        """
        self.room_for(count, memory)
        planes: list[Plane | None] = []
        at = 0
        for room in self._planes:
            if len(coded) < at + _LENGTH.size:
                raise ProtocolViolation("coded block", "ends within its planes")
            length: int = _LENGTH.unpack_from(coded, at)[0]
            at += _LENGTH.size
            if length > len(coded) - at:
                raise ProtocolViolation("coded block", f"has a plane of {length} bytes, not there")
            if length:
                self._framing.unpack(coded[at : at + length], room.data)
            planes.append(room if length else None)
            at += length
        return planes, at

    def join(self, planes: Sequence[Plane | None], start: int, into: Elements) -> None:
        """Put a slice of elements together.

        Args:
            planes: All their planes.
            start: Which of all elements is the first of them.
            into: Where they go; as many as a slice at most.
        """
        end = start + len(into)
        shifted = self._shifted[: len(into)]
        is_first = True
        for number, plane in enumerate(planes):
            if plane is None:
                continue
            part = into if is_first else shifted
            numpy.copyto(part, plane[start:end])
            if number:
                numpy.left_shift(part, 8 * number, out=part)
            if not is_first:
                numpy.bitwise_or(into, part, out=into)
            is_first = False
        if is_first:
            into[:] = 0
