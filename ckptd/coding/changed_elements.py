"""Where few elements changed: which, as one bit for each, and their differences alone."""

from __future__ import annotations

import struct
from typing import Final

import numpy

from ckptd.coding.differences import Differences
from ckptd.coding.element_planes import Elements, Planes, slice_of, slices
from ckptd.coding.frames import Framing, Readable
from ckptd.errors import ProtocolViolation

_LENGTH: Final = struct.Struct("<I")
_SHARE_MAX: Final = 1 / 2
"""More changed elements than this take longer and become no shorter than all differences do."""
_EACH_BYTE: Final = numpy.array([byte.bit_count() for byte in range(256)], numpy.uint8)
"""How many bits of each byte are set."""


class ChangedElements:
    """Codes what changed of a base. One thread at a time.

    Args:
        width: Bytes of an element.
        framing: Makes and reads frames.
    """

    def __init__(self, width: int, framing: Framing) -> None:
        self._framing = framing
        self._differences = Differences(width)
        self._planes = Planes(width, framing)
        self._values = slice_of(width)

    def coded(self, elements: Elements, base: Elements) -> list[bytes] | None:
        """Return which elements changed, and by how much; ``None``: they are not few."""
        changed = elements != base
        count = int(numpy.count_nonzero(changed))
        if count > len(elements) * _SHARE_MAX:
            return None
        bits = self._framing.frame(numpy.packbits(changed, bitorder="little").data)
        self._planes.room_for(count)
        at = 0
        for start, end in slices(elements):
            places = numpy.flatnonzero(changed[start:end])
            values = self._values[: len(places)]
            now, was = elements[start:end].take(places), base[start:end].take(places)
            self._differences.between(now, was, values)
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
        content = self._framing.content(view[_LENGTH.size : end_of_bits], -(-len(base) // 8))
        bits = numpy.frombuffer(content, numpy.uint8)
        count = int(_EACH_BYTE[bits].sum(dtype=numpy.int64))
        if count > len(base) * _SHARE_MAX:
            raise ProtocolViolation("coded block", f"says that {count} of {len(base)} changed")
        values = numpy.empty(count, self._values.dtype)
        planes_bytes = self._planes.read(view[end_of_bits:], values)
        at = 0
        for start, end in slices(base):
            part = bits[start // 8 : -(-end // 8)]
            flags = numpy.unpackbits(part, bitorder="little", count=end - start)
            places = numpy.flatnonzero(flags.view(numpy.bool_))
            changed = values[at : at + len(places)]
            self._differences.apply(changed, base[start:end].take(places), changed)
            numpy.copyto(out[start:end], base[start:end])
            out[start:end][places] = changed
            at += len(places)
        if at != count:
            raise ProtocolViolation("coded block", "has changes behind its last element")
        return end_of_bits + planes_bytes
