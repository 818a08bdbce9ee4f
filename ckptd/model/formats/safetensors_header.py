"""The header of a safetensors file: eight bytes with its length, then JSON, then the values.

What the reference library refuses is refused here: tensors that overlap, leave holes, end elsewhere
than the file does, or have another length than their shape says; names that come twice.

Source: "Format" in the README of safetensors, and ``Metadata::validate`` of its library.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, NoReturn

import msgspec

from ckptd.errors import InvalidFormat
from ckptd.limits import MIB
from ckptd.model.formats.tensors import RANK_MAX, TENSORS_MAX, Tensor, invalid
from ckptd.model.words import TensorContent

PREFIX_BYTES: Final = 8
HEADER_BYTES_MAX: Final = 32 * MIB
"""A tensor takes some hundred bytes. The format permits 100 MB."""
_HEADER_BYTES_MIN: Final = 2
_VALUES_MAX: Final = 2**21
"""Lists, objects and commas in a header, counted before any value is made; a tensor has about ten,
and a value takes a hundred bytes or two."""
_ELEMENTS_MAX: Final = 2**64
_METADATA: Final = "__metadata__"

_BITS: Final = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Of an element. One that is not here is newer than this, and its length is believed."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Entry(msgspec.Struct, frozen=True):
    """What the header has under a name."""

    dtype: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    shape: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=RANK_MAX)]
    data_offsets: tuple[_Number, _Number]


def values_start(prefix: bytes, unit: str, unit_bytes: int) -> int:
    """Return where the header ends and the values begin.

    Args:
        prefix: The first eight bytes, or as many as there are.
        unit: Path of the file, for errors.
        unit_bytes: Its length.

    Raises:
        InvalidFormat: This is no header, or one that is too long.
    """
    if len(prefix) < PREFIX_BYTES:
        raise _broken(unit, f"it has {unit_bytes} bytes")
    header_bytes = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if not _HEADER_BYTES_MIN <= header_bytes <= unit_bytes - PREFIX_BYTES:
        raise _broken(unit, f"{header_bytes} bytes of header in {unit_bytes} bytes")
    if header_bytes > HEADER_BYTES_MAX:
        raise _broken(unit, f"its header has {header_bytes} bytes, more than {HEADER_BYTES_MAX}")
    return PREFIX_BYTES + header_bytes


def decode_header(header: bytes, unit: str, unit_bytes: int) -> tuple[Tensor, ...]:
    """Return the tensors of a file, in the order in which they lie in it.

    Args:
        header: What stands between the first eight bytes and the values.
        unit: Path of the file.
        unit_bytes: Its length.

    Raises:
        InvalidFormat: The header is none, or says what cannot be.
    """
    # Each value but the first of its list or object has a comma before it.
    if sum(map(header.count, (b",", b"[", b"{"))) > _VALUES_MAX:
        raise _broken(unit, f"its header has more than {_VALUES_MAX} values")
    if not header.startswith(b"{"):
        raise _broken(unit, "its header does not begin with '{'")
    try:
        document: object = json.loads(
            header.decode(), object_pairs_hook=_object, parse_constant=_no_number
        )
        if not isinstance(document, dict):
            raise _broken(unit, "its header is no object")
        msgspec.convert(document.pop(_METADATA, {}), dict[str, str])
        entries = msgspec.convert(document, dict[str, _Entry])
        for name in entries:
            name.encode()  # JSON can write halves of characters
    except (ValueError, RecursionError) as error:
        # msgspec and json report by children of it; it is nested without end otherwise.
        raise _broken(unit, f"its header cannot be read: {str(error)[:200]}") from error
    if len(entries) > TENSORS_MAX:
        raise _broken(unit, f"it has more than {TENSORS_MAX} tensors")
    start = PREFIX_BYTES + len(header)
    return _laid_out(entries, unit, start, unit_bytes)


def _laid_out(
    entries: dict[str, _Entry], unit: str, values_at: int, unit_bytes: int
) -> tuple[Tensor, ...]:
    """Return the tensors behind a header, each of which begins where the one before it ends."""
    tensors: list[Tensor] = []
    at = values_at
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, end = (values_at + offset for offset in entry.data_offsets)
        shown = f"tensor {name[:200]!r}"
        if start != at or end < start:
            raise _broken(unit, f"{shown} does not begin where the one before it ends")
        if end > unit_bytes:
            raise _broken(unit, f"{shown} ends behind the file")
        bits = _size_bits(entry)
        if bits is not None and bits != 8 * (end - start):
            raise _broken(unit, f"{shown} has another length than its shape")
        tensors.append(
            Tensor(name, entry.dtype, entry.shape, unit, start, end, TensorContent.VALUES)
        )
        at = end
    if at != unit_bytes:
        raise _broken(unit, f"its tensors end {unit_bytes - at} bytes before it does")
    return tuple(tensors)


def _size_bits(entry: _Entry) -> int | None:
    """Return how long a tensor is by its shape; ``None`` if its type is not known."""
    count = 1
    for length in entry.shape:
        count *= length
        if count >= _ELEMENTS_MAX:
            return -1  # the library refuses it too, if it has no element in the end
    bits = _BITS.get(entry.dtype)
    return None if bits is None else count * bits


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name comes twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _broken(unit: str, problem: str) -> InvalidFormat:
    return invalid(f"{unit[:200]!r}", f"is no safetensors file: {problem}")
