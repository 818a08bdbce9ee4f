"""Byte ranges: the ``Range`` and ``Content-Range`` fields of RFC 9110, one range at a time."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ckptd.errors import ProtocolViolation

# At most 19 digits: everything below 2⁶³ fits, and no longer number is ever made an integer.
_NUMBER: Final = r"\d{1,19}"
_RANGE: Final = re.compile(rf"(?i:bytes)=(?:({_NUMBER})-({_NUMBER})?|-({_NUMBER}))", re.ASCII)
_CONTENT_RANGE: Final = re.compile(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER})", re.ASCII)


class ByteRange(NamedTuple):
    """The bytes ``start`` … ``end - 1``; never empty."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many bytes, at least 1."""
        return self.end - self.start


def parse_range(value: str | None, size_bytes: int) -> ByteRange | None:
    """Read a ``Range`` field: ``bytes=a-b``, ``bytes=a-`` or ``bytes=-n``.

    Args:
        value: The field; ``None`` if the request has none.
        size_bytes: Length of what the range is taken of. An end beyond it is cut.

    Returns:
        The range, or ``None`` if the request is for everything.

    Raises:
        ProtocolViolation: Status 400: malformed, or more than one range. Status 416: nothing
            of it exists.
    """
    if value is None:
        return None
    shown = f"range {value[:80]!r}"
    match = _RANGE.fullmatch(value)
    if match is None:
        if "," in value:
            raise ProtocolViolation(shown, "is more than one", "Ask for one range per request.")
        raise ProtocolViolation(shown, "is not of the form bytes=a-b, bytes=a- or bytes=-n")
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(size_bytes - int(suffix), 0), size_bytes
    else:
        start, end = int(first), size_bytes
        if last is not None:
            if int(last) < start:
                raise ProtocolViolation(shown, "ends before it begins")
            end = min(int(last) + 1, size_bytes)
    if start >= end:
        raise ProtocolViolation(shown, f"is outside of {size_bytes} bytes", status=416)
    return ByteRange(start, end)


def format_range(byte_range: ByteRange) -> str:
    """Write a ``Range`` field."""
    return f"bytes={byte_range.start}-{byte_range.end - 1}"


def format_content_range(byte_range: ByteRange | None, size_bytes: int) -> str:
    """Write a ``Content-Range`` field; without a range the one of an answer 416."""
    if byte_range is None:
        return f"bytes */{size_bytes}"
    return f"bytes {byte_range.start}-{byte_range.end - 1}/{size_bytes}"


def parse_content_range(value: str | None) -> tuple[ByteRange, int]:
    """Read the ``Content-Range`` field of an answer 206.

    Returns:
        The range and the length of what it is taken of.

    Raises:
        ProtocolViolation: Missing, malformed, or impossible.
    """
    match = _CONTENT_RANGE.fullmatch(value or "")
    if match is None:
        raise ProtocolViolation("content range", f"is {(value or '')[:80]!r}, not bytes a-b/size")
    first, last, size = (int(number) for number in match.groups())
    if not first <= last < size:
        raise ProtocolViolation("content range", f"is {match[0]!r}, which cannot be")
    return ByteRange(first, last + 1), size
