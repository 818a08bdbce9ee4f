"""Where few elements changed: which, as one bit for each, and their differences alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy
from numpy.typing import NDArray

from ckptd.coding.differences import Differences
from ckptd.coding.element_planes import Elements, Planes, slice_of
from ckptd.coding.frames import Framing, Readable
from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB

_LENGTH: Final = struct.Struct("<I")
_SHARE_MAX: Final = 1 / 2
"""More changed elements than this take longer and become no shorter than all differences do."""
_SLICE_ELEMENTS_MAX: Final = 64 * KIB
"""So many are worked on at once: each place takes eight bytes, and pieces of memory that are longer
than 128 KiB are given back to the system and taken again each time."""
_FEW_SHARE_MAX: Final = 1 / 4
"""Where more changed it is faster to work on all elements than to pick those that did."""
_BRANCHES_SHARE_MIN: Final = 0.035
_BRANCHES_SHARE_MAX: Final = 0.1
"""Between these shares of changed elements numpy's way to find them is the wrong one."""
_MARGIN: Final = 0.02
"""By so much a slice may have fewer than its block."""


class ChangedElements:
    """Codes what changed of a base. One thread at a time.

    Args:
        width: Bytes of an element.
        framing: Makes and reads frames.
        planes: Makes and reads those of differences.
    """

    def __init__(self, width: int, framing: Framing, planes: Planes) -> None:
        self._framing = framing
        self._differences = Differences(width)
        self._planes = planes
        self._slice, self._values = (slice_of(width)[:_SLICE_ELEMENTS_MAX] for _ in range(2))
        self._flags = numpy.empty(len(self._slice) * 9 // 8, numpy.bool_)
        self._changed = numpy.empty(0, numpy.bool_)

    def coded(self, elements: Elements, base: Elements) -> list[bytes] | None:
        """Return which elements changed, and by how much; ``None``: they are not few."""
        if len(self._changed) < len(elements):
            self._changed = numpy.empty(len(elements), numpy.bool_)
        changed = self._changed[: len(elements)]
        numpy.not_equal(elements, base, out=changed)
        count = int(numpy.count_nonzero(changed))
        if count > len(elements) * _SHARE_MAX:
            return None
        share = count / max(len(elements), 1)
        bits = self._framing.frame_of_plane(numpy.packbits(changed, bitorder="little").data)
        self._planes.room_for(count)
        at = 0
        for start, end in self._slices(len(elements)):
            places = self._places(changed[start:end], share)
            now, was = elements[start:end], base[start:end]
            if share > _FEW_SHARE_MAX:
                self._differences.between(now, was, self._slice[: len(now)])
                values = self._slice.take(places)
            else:
                values = self._values[: len(places)]
                self._differences.between(now.take(places), was.take(places), values)
            self._planes.put(values, at)
            at += len(places)
        return [_LENGTH.pack(len(bits)), bits, *self._planes.coded()]

    def apply(self, coded: Readable, base: Elements, out: Elements) -> int:
        """Write the elements; return how many bytes of the input that took.

        Raises:
            ProtocolViolation: It is nothing of the kind.
        """
        view = memoryview(coded)
        if len(view) < _LENGTH.size:
            raise ProtocolViolation("coded block", "ends before it says what changed")
        length: int = _LENGTH.unpack_from(view)[0]
        end_of_bits = _LENGTH.size + length
        if end_of_bits > len(view):
            raise ProtocolViolation("coded block", f"has {length} bytes of what changed, not there")
        bits = numpy.empty(-(-len(base) // 8), numpy.uint8)
        self._framing.unpack(view[_LENGTH.size : end_of_bits], bits.data)
        count = _set_bits(bits)
        if count > len(base) * _SHARE_MAX:
            raise ProtocolViolation("coded block", f"says that {count} of {len(base)} changed")
        share = count / max(len(base), 1)
        planes, planes_bytes = self._planes.read(view[end_of_bits:], count)
        at = 0
        for start, end in self._slices(len(base)):
            part = bits[start // 8 : -(-end // 8)]
            flags = numpy.unpackbits(part, bitorder="little", count=end - start)
            places = self._places(flags.view(numpy.bool_), share)
            values = self._values[: len(places)]
            self._planes.join(planes, at, values)
            self._differences.unfold(values)
            was, now = base[start:end], out[start:end]
            if share > _FEW_SHARE_MAX:
                spread = self._slice[: end - start]
                spread[:] = 0
                spread[places] = values
                numpy.add(spread, was, out=now)
            else:
                values += was.take(places)
                numpy.copyto(now, was)
                now[places] = values
            at += len(places)
        if at != count:
            raise ProtocolViolation("coded block", "has changes behind its last element")
        return end_of_bits + planes_bytes

    def _slices(self, count: int) -> Iterator[tuple[int, int]]:
        return pairwise([*range(0, count, len(self._slice)), count])

    def _places(self, changed: NDArray[numpy.bool_], share: float) -> NDArray[numpy.intp]:
        """Return which elements of a slice changed; of the block it is about that share.

        Up to a tenth numpy goes from one that is set to the next, and beyond that through all of
        them without a branch, which takes less than half as long as the first way near a tenth. So
        as many are set behind the slice.
        """
        if not _BRANCHES_SHARE_MIN < share <= _BRANCHES_SHARE_MAX:
            return numpy.flatnonzero(changed)
        length = len(changed)
        more = int(length * (_BRANCHES_SHARE_MAX + _MARGIN - share) / (1 - _BRANCHES_SHARE_MAX)) + 1
        flags = self._flags[: length + more]
        flags[:length] = changed
        flags[length:] = True
        return numpy.flatnonzero(flags)[:-more]


def _set_bits(packed: NDArray[numpy.uint8]) -> int:
    """Return how many bits are set: added up within each byte, as two, four and eight of them."""
    bits = packed >> 1
    bits &= 0x55
    numpy.subtract(packed, bits, out=bits)
    more = bits >> 2
    more &= 0x33
    bits &= 0x33
    bits += more
    numpy.right_shift(bits, 4, out=more)
    bits += more
    bits &= 0x0F
    return int(bits.sum(dtype=numpy.uint32))
