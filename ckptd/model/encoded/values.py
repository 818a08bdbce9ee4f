"""Where a MessagePack value ends, found without making anything of it.

Every answer is bounded by the bytes that are there: a header that claims billions costs nothing.

Source: the MessagePack specification, the table of formats.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn

from ckptd.errors import InvalidManifest

_FIXMAP: Final = range(0x80, 0x90)
_FIXARRAY: Final = range(0x90, 0xA0)
_FIXSTR: Final = range(0xA0, 0xC0)
_MAP_LENGTH_BYTES: Final = {0xDE: 2, 0xDF: 4}
_ARRAY_LENGTH_BYTES: Final = {0xDC: 2, 0xDD: 4}
_BIN_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_TEXT_LENGTH_BYTES: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXT_LENGTH_BYTES: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_NEGATIVE: Final = range(0xE0, 0x100)
_NEVER_USED: Final = 0xC1

_SIZES: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 1),  # nil, false, true
    0xCA: 5,
    0xCB: 9,  # floats
    0xCC: 2,
    0xCD: 3,
    0xCE: 5,
    0xCF: 9,
    0xD0: 2,
    0xD1: 3,
    0xD2: 5,
    0xD3: 9,  # integers
    0xD4: 3,
    0xD5: 4,
    0xD6: 6,
    0xD7: 10,
    0xD8: 18,  # extensions of a fixed length
}
"""Bytes of the values that always have as many, their first byte among them."""


class Container(NamedTuple):
    """An array or a map.

    Attributes:
        length: How many elements it claims to have; of a map, how many pairs.
        at: Where the first of them begins.
    """

    length: int
    at: int


def array_at(data: memoryview, at: int) -> Container | None:
    """Return the array that begins at a place; ``None`` if something else does.

    Raises:
        InvalidManifest: The bytes end before that.
    """
    return _container(data, at, _FIXARRAY, _ARRAY_LENGTH_BYTES)


def map_at(data: memoryview, at: int) -> Container | None:
    """Return the map that begins at a place; ``None`` if something else does.

    Raises:
        InvalidManifest: The bytes end before that.
    """
    return _container(data, at, _FIXMAP, _MAP_LENGTH_BYTES)


def byte_string_end(data: memoryview, at: int) -> int | None:
    """Return where the byte string ends that begins at a place; ``None``: something else does.

    Raises:
        InvalidManifest: The bytes end before that.
    """
    if at < len(data) and (width := _BIN_LENGTH_BYTES.get(data[at])):
        end = at + 1 + width + _number(data, at + 1, width)
        return end if end <= len(data) else _ends_late(is_cut_off=True)
    return None


def value_end(data: memoryview, at: int, limit: int) -> int:
    """Return where a value ends, with all that is in it.

    Args:
        data: Encoded values.
        at: Where the value begins.
        limit: It may end here at the latest, and never behind the data.

    Raises:
        InvalidManifest: It does not, or it is none.

    Cost: O(values in it), whatever they are.
    """
    end = min(limit, len(data))
    pending = 1
    while pending:
        if at >= end:
            _ends_late(is_cut_off=end == len(data))
        pending -= 1
        kind = data[at]
        if kind < _FIXMAP.start or kind >= _NEGATIVE.start:
            at += 1
        elif kind < _FIXARRAY.start:
            pending += 2 * (kind - _FIXMAP.start)
            at += 1
        elif kind < _FIXSTR.start:
            pending += kind - _FIXARRAY.start
            at += 1
        elif kind < _FIXSTR.stop:
            at += 1 + kind - _FIXSTR.start
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            at, inside = _long(data, at, kind)
            pending += inside
    return at if at <= end else _ends_late(is_cut_off=end == len(data))


def _long(data: memoryview, at: int, kind: int) -> tuple[int, int]:
    """Return where a value with a length of its own goes on, and how many values are in it."""
    if kind == _NEVER_USED:
        raise InvalidManifest("manifest", "cannot be decoded: it has a byte that begins no value")
    for widths, extra in ((_BIN_LENGTH_BYTES, 1), (_TEXT_LENGTH_BYTES, 1), (_EXT_LENGTH_BYTES, 2)):
        if width := widths.get(kind):
            return at + extra + width + _number(data, at + 1, width), 0
    if width := _ARRAY_LENGTH_BYTES.get(kind):
        return at + 1 + width, _number(data, at + 1, width)
    width = _MAP_LENGTH_BYTES[kind]
    return at + 1 + width, 2 * _number(data, at + 1, width)


def _container(data: memoryview, at: int, fixed: range, widths: dict[int, int]) -> Container | None:
    if at >= len(data):
        _ends_late(is_cut_off=True)
    kind = data[at]
    if kind in fixed:
        return Container(kind - fixed.start, at + 1)
    if width := widths.get(kind):
        return Container(_number(data, at + 1, width), at + 1 + width)
    return None


def _number(data: memoryview, at: int, width: int) -> int:
    if at + width > len(data):
        _ends_late(is_cut_off=True)
    return int.from_bytes(data[at : at + width], "big")


def _ends_late(*, is_cut_off: bool) -> NoReturn:
    problem = "is cut off" if is_cut_off else "says more in one place than it may"
    raise InvalidManifest("manifest", f"cannot be decoded: it {problem}")
