"""Encodes manifests unit by unit, so that their units need not all be there as objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from ckptd.model.manifest import Manifest, Unit, encode_manifest

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_NO_UNITS: Final = b"\x90"
_FEW: Final = 2**4
_MANY: Final = 2**16


def encoded_with(words: Manifest, units: Iterable[Unit], count: int) -> memoryview:
    """Return the bytes of a manifest, the same that :func:`encode_manifest` gives.

    Args:
        words: The manifest without its units.
        units: Its units, in urgency order.
        count: How many there are.
    """
    assert not words.units, "they come one by one"
    around, before = encode_manifest(words), _before_units(words)
    assert around[before : before + 1] == _NO_UNITS
    encoded = bytearray(around[:before])
    encoded += _array_head(count)
    for unit in units:
        _ENCODER.encode_into(unit, encoded, -1)
    encoded += around[before + 1 :]
    return memoryview(encoded).toreadonly()


def _before_units(words: Manifest) -> int:
    """Return how many bytes come before the units: what is never left out comes first."""
    names = Manifest.__struct_encode_fields__[: Manifest.__struct_fields__.index("units")]
    head = {name: getattr(words, name) for name in names}
    return len(msgspec.msgpack.encode({**head, "units": msgspec.Raw(b"")}))


def _array_head(count: int) -> bytes:
    """Return how an array of so many values begins, in the shortest way."""
    if count < _FEW:
        return bytes((0x90 | count,))
    if count < _MANY:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
