"""Elements taken apart into planes: all their lowest bytes, all their second ones, and so on.

What is near zero has planes of zeros, which cost four bytes each, and one plane of few different
bytes, which entropy coding is for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, TypeAlias

import numpy
from numpy.typing import NDArray

from ckptd.coding.frames import Framing
from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB

Elements: TypeAlias = NDArray[numpy.unsignedinteger]
"""Elements of one width, taken as integers without a sign, little-endian."""

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
        self._planes = numpy.empty((width, 0), numpy.uint8)

    def room_for(self, count: int) -> None:
        """Make room for so many elements before they are put."""
        if self._planes.shape[1] != count:
            self._planes = numpy.empty((self._width, count), numpy.uint8)

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
            frame = self._framing.frame(plane.data) if plane.any() else b""
            yield _LENGTH.pack(len(frame))
            yield frame

    def read(self, coded: memoryview, into: Elements) -> int:
        """Put elements together from their planes; return how many bytes those took.

        Raises:
            ProtocolViolation: They are not in the bytes; what was written is nothing.
        """
        into[:] = 0
        at = 0
        for number in range(self._width):
            if len(coded) < at + _LENGTH.size:
                raise ProtocolViolation("coded block", "ends within its planes")
            length: int = _LENGTH.unpack_from(coded, at)[0]
            at += _LENGTH.size
            if length > len(coded) - at:
                raise ProtocolViolation("coded block", f"has a plane of {length} bytes, not there")
            if length:
                content = self._framing.content(coded[at : at + length], len(into))
                self._add(number, numpy.frombuffer(content, numpy.uint8), into)
            at += length
        return at

    def _add(self, number: int, plane: NDArray[numpy.uint8], into: Elements) -> None:
        for start, end in slices(into):
            if number == 0:
                numpy.copyto(into[start:end], plane[start:end])
                continue
            shifted = self._shifted[: end - start]
            numpy.copyto(shifted, plane[start:end])
            numpy.left_shift(shifted, 8 * number, out=shifted)
            numpy.bitwise_or(into[start:end], shifted, out=into[start:end])
