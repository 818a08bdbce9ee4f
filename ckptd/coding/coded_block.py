"""A coded block as its bytes: a head of fixed length, then what its coder made.

======  =====  ==================================================================
offset  bytes  what
======  =====  ==================================================================
0       1      coder
1       1      width of an element in bytes: 1, 2, 4 or 8
2       1      base: an index into the bases that the receiver offered; 255: none
3       1      0
4       4      length of what follows, little-endian
======  =====  ==================================================================

Whoever reads knows how long the block is: nothing here says it, so nothing here can lie about it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ckptd.errors import ProtocolViolation
from ckptd.model.words import Coder

HEAD_BYTES: Final = 8
NO_BASE: Final = 255
WIDTHS: Final = (1, 2, 4, 8)

_HEAD: Final = struct.Struct("<BBBBI")
_NUMBERED: Final = (
    Coder.PLAIN,
    Coder.ZSTD,
    Coder.PLANES,
    Coder.DELTA,
    Coder.SPARSE,
    Coder.NIBBLES,
)
"""By the number that stands for a coder in a head."""


@dataclass(frozen=True, slots=True)
class CodedHead:
    """What is said of a coded block before its bytes.

    Attributes:
        coder: How it is coded.
        width: Bytes of an element.
        base: Which of the bases that were offered; ``NO_BASE``: none.
        coded_bytes: How many bytes follow.
    """

    coder: Coder
    width: int = 1
    base: int = NO_BASE
    coded_bytes: int = 0

    def encoded(self) -> bytes:
        """Return the head as its bytes."""
        return _HEAD.pack(_NUMBERED.index(self.coder), self.width, self.base, 0, self.coded_bytes)


def read_head(head: bytes | bytearray | memoryview, block_bytes: int, bases: int) -> CodedHead:
    """Read a head; what it announces fits the block that was asked for.

    Args:
        head: ``HEAD_BYTES`` bytes.
        block_bytes: How long the block is.
        bases: How many bases were offered.

    Raises:
        ProtocolViolation: It is none, or announces what nobody may send for this block.
    """
    number, width, base, rest, coded_bytes = _HEAD.unpack(head)
    if number >= len(_NUMBERED):
        raise ProtocolViolation("coded block", f"has coder {number}, which is none")
    coder = _NUMBERED[number]
    if width not in WIDTHS or rest:
        raise ProtocolViolation("coded block", f"has elements of {width} bytes, and {rest}")
    if base >= bases if coder.needs_base else base != NO_BASE:
        raise ProtocolViolation("coded block", f"has base {base}, which was not offered")
    if coded_bytes != block_bytes if coder is Coder.PLAIN else coded_bytes >= block_bytes:
        raise ProtocolViolation(
            "coded block", f"has {coded_bytes} bytes for a block of {block_bytes}"
        )
    return CodedHead(coder, width, base, coded_bytes)
