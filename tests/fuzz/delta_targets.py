"""What can be fuzzed of delta versions: the difference of a tensor, decompressed and applied.

Bytes that are drawn are hardly ever a zstd frame, so mostly their content is drawn.
"""

from __future__ import annotations

from typing import Final, NamedTuple, cast

import numpy

from ckptd.chains.applying import Change, Differing, Overwriting
from ckptd.chains.delta_index import ZSTD
from ckptd.store.materialising.differences import Difference
from ckptd.store.materialising.verified_blocks import VerifiedUnit
from tests.fuzz.coded_targets import framed

TENSOR: Final = bytes(number * number % 253 for number in range(3001))
_SLICE_BYTES: Final = 700
_OVERWRITES, _IS_FRAME = 1, 2


class _Unit(NamedTuple):
    """A file that is in memory."""

    label: str
    content: bytes

    def read(self, start: int, end: int) -> bytes:
        return self.content[start:end]


def read_difference(data: bytes) -> None:
    """Apply a difference; its first byte says how it is encoded, and whether the rest is a frame.

    What it made is taken again: ``overwrite`` changes nothing then, ``xor`` undoes it.
    """
    how = data[0] if data else 0
    frame = data[1:] if how & _IS_FRAME else framed(data[1:])
    unit = cast("VerifiedUnit", _Unit("model.safetensors", frame))
    difference = Difference(unit, 0, len(frame), ZSTD)
    once = _applied(difference, TENSOR, overwrites=bool(how & _OVERWRITES))
    twice = _applied(difference, once, overwrites=bool(how & _OVERWRITES))
    assert twice == (once if how & _OVERWRITES else TENSOR)


def _applied(difference: Difference, tensor: bytes, *, overwrites: bool) -> bytes:
    opened = difference.opened()
    change: Change = Differing(opened.read, "w")
    if overwrites:
        change = Overwriting(opened.read, difference.opened().read, "w", len(tensor))
    content = numpy.frombuffer(bytearray(tensor), numpy.uint8)
    for start in range(0, len(tensor), _SLICE_BYTES):
        change.apply(content[start : start + _SLICE_BYTES].data)
    change.finish()
    return content.tobytes()
