"""What ``torch.save`` writes, from the outside: which bytes of it are elements of which type.

It is a ZIP archive whose entries are stored as they are. One of them is a pickle; that names the
storages of tensors by persistent ids, with their types, and each storage is an entry of its own.
The pickle is never unpickled. Nothing is read here but what the reading asks for.

Sources: APPNOTE.TXT of ZIP, sections 4.3.7 to 4.3.16 and 4.5.3; ``torch/serialization.py`` and
``caffe2/serialize/inline_container.cc``, PyTorch 1.6 to 2.13.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple, TypeAlias

from ckptd.errors import InvalidFormat
from ckptd.limits import KIB, MIB
from ckptd.model.formats.contents import Wanted
from ckptd.model.formats.element_types import TypedBytes
from ckptd.model.formats.pickled import Name, Unexpected, persistent_ids_of
from ckptd.model.formats.tensors import invalid

TypesReading: TypeAlias = Generator[Wanted, bytes, tuple[TypedBytes, ...]]

DIRECTORY_BYTES_MAX: Final = 4 * MIB
"""An entry takes some 70 bytes."""
PICKLE_BYTES_MAX: Final = 1 * MIB
"""A tensor takes some 150 bytes, and looking at them a second or less."""
STORAGES_READ_MAX: Final = 4096
"""Of whose entries the heads are read."""
_STORAGE_BYTES_MIN: Final = 64 * KIB
"""A shorter storage is few of the bytes of a block."""

_END: Final = struct.Struct("<4s4H2IH")
_LOCATOR: Final = struct.Struct("<4sIQI")
_TAIL_BYTES: Final = _LOCATOR.size + _END.size
_END_64: Final = struct.Struct("<4sQ2H2I4Q")
_ENTRY: Final = struct.Struct("<4s6H3I5H2I")
_HEAD: Final = struct.Struct("<4s5H3I2H")
_EXTRA: Final = struct.Struct("<2H")
_EXTRA_64: Final = 1
_IN_64: Final = 0xFFFFFFFF
_PICKLE: Final = "data.pkl"
_ID_FIELDS_MIN: Final = 3

_TYPES: Final = {
    "BFloat16Storage": "BF16",
    "HalfStorage": "F16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "ComplexFloatStorage": "C64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
"""By the class that the pickle names. Of storages without a type nothing is known."""


class _Entry(NamedTuple):
    """An entry of the archive.

    Attributes:
        head_at: Where its head begins; its content follows that.
        size_bytes: How long its content is.
    """

    head_at: int
    size_bytes: int


def reading_types(unit: str, unit_bytes: int) -> TypesReading:
    """Read of which types the storages of an archive are.

    Args:
        unit: Its path, for errors.
        unit_bytes: Its length.

    Yields:
        What it needs next, and takes the bytes of that.

    Returns:
        Bytes of storages, in their order.

    Raises:
        InvalidFormat: It is no such archive, or one of which too much would have to be read.
    """
    tail = yield Wanted(max(0, unit_bytes - _TAIL_BYTES), unit_bytes)
    found = _end(tail, unit)
    if found is None:
        at = _LOCATOR.unpack(tail[: _LOCATOR.size])[2]
        if at + _END_64.size > unit_bytes:
            raise _broken(unit, "its end lies behind its end")
        end = yield Wanted(at, at + _END_64.size)
        found = _end_64(end, unit)
    start, size_bytes = found
    if size_bytes > DIRECTORY_BYTES_MAX or start + size_bytes > unit_bytes:
        raise _broken(unit, f"its directory has {size_bytes} bytes at {start}")
    directory = yield Wanted(start, start + size_bytes)
    entries = dict(_entries(directory, unit))
    name = next((name for name in entries if name.endswith(f"/{_PICKLE}")), "")
    if not name:
        raise _broken(unit, f"it has no {_PICKLE}")
    pickled = entries[name]
    if pickled.size_bytes > PICKLE_BYTES_MAX:
        raise _broken(unit, f"its pickle has {pickled.size_bytes} bytes")
    at = yield from _content_at(pickled, unit, unit_bytes)
    types = _types((yield Wanted(at, at + pickled.size_bytes)), unit)
    storages = [
        (entry, types[key])
        for path, entry in entries.items()
        if (key := path.removeprefix(f"{name.removesuffix(_PICKLE)}data/")) in types
        and entry.size_bytes >= _STORAGE_BYTES_MIN
    ]
    if len(storages) > STORAGES_READ_MAX:
        raise _broken(unit, f"it has {len(storages)} long storages")
    parts: list[TypedBytes] = []
    for entry, dtype in sorted(storages):
        at = yield from _content_at(entry, unit, unit_bytes)
        parts.append(TypedBytes(at, at + entry.size_bytes, dtype))
    return tuple(parts)


def _end(tail: bytes, unit: str) -> tuple[int, int] | None:
    """Return where the directory is and how long; ``None``: a longer record says it."""
    if len(tail) < _TAIL_BYTES or tail[-_END.size :][:4] != b"PK\5\6":
        raise _broken(unit, "it is no archive, or has a comment")
    *_, size_bytes, start, comment_bytes = _END.unpack(tail[-_END.size :])
    if comment_bytes:
        raise _broken(unit, "it has a comment")
    return None if tail.startswith(b"PK\6\7") else (start, size_bytes)


def _end_64(record: bytes, unit: str) -> tuple[int, int]:
    if not record.startswith(b"PK\6\6"):
        raise _broken(unit, "it has no end")
    *_, size_bytes, start = _END_64.unpack(record)
    return start, size_bytes


def _entries(directory: bytes, unit: str) -> Iterator[tuple[str, _Entry]]:
    """Return the entries by their names."""
    at, seen = 0, set[bytes]()
    while at < len(directory):
        if at + _ENTRY.size > len(directory) or directory[at : at + 4] != b"PK\1\2":
            raise _broken(unit, "its directory ends within an entry")
        fields = _ENTRY.unpack_from(directory, at)
        method, packed_bytes, size_bytes = fields[4], fields[8], fields[9]
        name_bytes, extra_bytes, comment_bytes, head_at = *fields[10:13], fields[16]
        name_at = at + _ENTRY.size
        name = directory[name_at : name_at + name_bytes]
        extra = directory[name_at + name_bytes : name_at + name_bytes + extra_bytes]
        at = name_at + name_bytes + extra_bytes + comment_bytes
        if at > len(directory) or name in seen:
            raise _broken(unit, "its directory ends within an entry, or has one twice")
        seen.add(name)
        longer = iter(_extra_64(extra))
        lengths = [
            next(longer, -1) if value == _IN_64 else value
            for value in (size_bytes, packed_bytes, head_at)
        ]
        if method or min(lengths) < 0 or lengths[0] != lengths[1]:
            raise _broken(unit, "it has an entry that is not stored as it is")
        yield name.decode("utf-8", "replace"), _Entry(lengths[2], lengths[0])


def _extra_64(extra: bytes) -> tuple[int, ...]:
    """Return the numbers that have more than 32 bits, in their order."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _EXTRA_64:
            values = extra[at : at + length]
            return struct.unpack(f"<{len(values) // 8}Q", values[: len(values) // 8 * 8])
        at += length
    return ()


def _content_at(entry: _Entry, unit: str, unit_bytes: int) -> Generator[Wanted, bytes, int]:
    """Return where the content of an entry begins."""
    if entry.head_at + _HEAD.size > unit_bytes:
        raise _broken(unit, "an entry lies behind its end")
    head = yield Wanted(entry.head_at, entry.head_at + _HEAD.size)
    if not head.startswith(b"PK\3\4"):
        raise _broken(unit, "an entry has no head")
    name_bytes, extra_bytes = _HEAD.unpack(head)[-2:]
    start: int = entry.head_at + _HEAD.size + name_bytes + extra_bytes
    if start + entry.size_bytes > unit_bytes:
        raise _broken(unit, "an entry ends behind its end")
    return start


def _types(pickled: bytes, unit: str) -> dict[str, str]:
    """Return the types of storages by their keys; of those that are of several none."""
    try:
        ids = persistent_ids_of(pickled)
    except Unexpected as error:
        raise _broken(unit, f"its pickle cannot be looked at: {error}") from error
    types: dict[str, str] = {}
    for each in ids:
        if not isinstance(each, tuple) or len(each) < _ID_FIELDS_MIN or each[0] != "storage":
            continue
        _, kind, key, *_ = each
        if isinstance(key, str):
            dtype = _TYPES.get(kind.name, "") if isinstance(kind, Name) else ""
            types[key] = dtype if types.get(key, dtype) == dtype else ""
    return types


def _broken(unit: str, problem: str) -> InvalidFormat:
    return invalid(f"{unit[:200]!r}", f"is no archive of PyTorch: {problem}")
