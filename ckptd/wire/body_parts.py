"""Bodies of which nobody knows the length beforehand, in parts (chunked: RFC 9112 section 7.1).

Only coded blocks travel so. A part is one coded block, so whoever reads knows how long a part may
be before it comes; extensions and trailers are never sent and never taken.
"""

from __future__ import annotations

import re
from typing import Final

from ckptd.errors import ProtocolViolation

LINE_BYTES_MAX: Final = 10
"""Eight digits and the end of the line."""
PART_END: Final = b"\r\n"
LAST_PART: Final = b"0\r\n\r\n"

_LINE: Final = re.compile(rb"([0-9a-f]{1,8})\r\n")


def part_line(size_bytes: int) -> bytes:
    """Return the line before a part of so many bytes."""
    return b"%x\r\n" % size_bytes


def parse_part_line(line: bytes | bytearray) -> int:
    """Return how long the part behind a line is.

    Raises:
        ProtocolViolation: It is no such line.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise ProtocolViolation("part of a body", f"begins with {bytes(line[:16])!r}")
    return int(found[1], 16)
