"""Manifests of any size that are meant to cost whoever reads them, and those that jobs publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

import msgspec

from ckptd.limits import BLOCK_BYTES_MIN, KIB
from ckptd.model.manifest import DIGEST_OF_NOTHING

encode = msgspec.msgpack.encode

CHECKPOINT: Final = "c"
VERSION: Final = 1

_DIGEST: Final = bytes(range(32))
_SPARE: Final = KIB
"""For everything but what a bomb consists of."""


def _unit(path: str, /, **fields: object) -> bytes:
    empty = {
        "path": path,
        "size_bytes": 0,
        "digest": DIGEST_OF_NOTHING,
        "block_size_bytes": BLOCK_BYTES_MIN,
        "block_digests": b"",
    }
    return encode(empty | fields)


def _with_raw(unit: bytes, name: str, value: bytes) -> bytes:
    """Add a field whose value is encoded already to a unit."""
    return bytes([unit[0] + 1]) + unit[1:] + encode(name) + value


def _manifest(units: bytes, unit_count: int, **words: bytes) -> bytes:
    pairs = {
        "format": encode(1),
        "checkpoint": encode(CHECKPOINT),
        "version": encode(VERSION),
    } | words
    pairs["units"] = b"\xdd" + unit_count.to_bytes(4, "big") + units
    body = b"".join(encode(name) + value for name, value in pairs.items())
    return bytes([0x80 + len(pairs)]) + body


def _filled(size_bytes: int, make: Callable[[int], bytes], **words: bytes) -> bytes:
    """Return a manifest with as many units as fit."""
    units = bytearray()
    for number in count():
        unit = make(number)
        if len(units) + len(unit) > size_bytes - _SPARE:
            return _manifest(bytes(units), number, **words)
        units += unit
    raise AssertionError("there is always one more")


def _array(size_bytes: int, element: bytes) -> bytes:
    length = (size_bytes - _SPARE) // len(element)
    return b"\xdd" + length.to_bytes(4, "big") + element * length


def _map(size_bytes: int) -> bytes:
    some = b"".join(encode(f"{number:07x}") + b"\xa0" for number in range(1000))
    repeats = (size_bytes - _SPARE) // len(some)
    return b"\xdf" + (1000 * repeats).to_bytes(4, "big") + some * repeats


def _text(size_bytes: int) -> bytes:
    length = size_bytes - _SPARE
    return b"\xdb" + length.to_bytes(4, "big") + b"x" * length


def _blocks(number: int, blocks: int) -> bytes:
    size_bytes = blocks * BLOCK_BYTES_MIN
    return _unit(f"{number:07}", size_bytes=size_bytes, block_digests=_DIGEST * blocks)


def _file(number: int) -> bytes:
    path = f"layer/{number:06}"
    return _unit(path, size_bytes=1, digest=_DIGEST, block_digests=_DIGEST)


def _classes(size_bytes: int) -> bytes:
    """Return a manifest with as many classes as there may be, their paths side by side."""
    of_each = size_bytes // (768 * 200)

    def unit(number: int) -> bytes:
        kind = min(number // of_each, 767)
        path = f"{number - kind * of_each:07}/{kind}"
        return _unit(path, phase=kind // 3, criticality=kind % 3)

    return _filled(size_bytes, unit, phases=encode(["p"] * 256))


_SOME_FACTS: Final = encode({f"{number:03x}": "" for number in range(2500)})

HONEST: Final[Mapping[str, Callable[[int], bytes]]] = {
    "many files": lambda size: _filled(size, _file),
    "large files": lambda size: _filled(size, lambda number: _blocks(number, 2048)),
    "one file": lambda size: _manifest(_blocks(0, (size - _SPARE) // 32), 1),
}
"""By what they consist of; each is called with the size that it shall have, a little less."""

BOMBS: Final[Mapping[str, Callable[[int], bytes]]] = {
    **HONEST,
    "empty files": lambda size: _filled(size, lambda number: _unit(f"{number:07}")),
    "deep paths": lambda size: _filled(
        size, lambda number: _unit(f"{number:07}/" + "/".join(f"{number:x}"[:4] for _ in range(63)))
    ),
    "long paths": lambda size: _filled(
        size, lambda number: _unit(f"{number:07}" + ("/" + "x" * 250) * 16)
    ),
    "beginnings of each other": lambda size: _filled(
        size, lambda number: _unit("a" * 200 + f"/{number // 200:07}" + "b" * (number % 200))
    ),
    "many classes": _classes,
    "annotations": lambda size: _manifest(b"", 0, annotations=_map(size)),
    "phases": lambda size: _manifest(b"", 0, phases=_array(size, b"\xa1x")),
    "requires": lambda size: _manifest(b"", 0, requires=_array(size, b"\xa3abc")),
    "run": lambda size: _manifest(b"", 0, run=_text(size)),
    "an unknown word": lambda size: _manifest(b"", 0, other=_array(size, b"\x90")),
    "facts of one unit": lambda size: _manifest(_with_raw(_unit("x"), "facts", _map(size)), 1),
    "after of one unit": lambda size: _manifest(
        _with_raw(_unit("x"), "after", _array(size, b"\x00")), 1
    ),
    "flags of one unit": lambda size: _manifest(
        _with_raw(_unit("x"), "flags", _array(size, b"\xa1x")), 1
    ),
    "a path": lambda size: _manifest(_unit("x" * (size - _SPARE)), 1),
    "a digest": lambda size: _manifest(_unit("x", digest=bytes(size - _SPARE)), 1),
    "facts of each unit": lambda size: _filled(
        size, lambda number: _with_raw(_unit(f"{number:07}"), "facts", _SOME_FACTS)
    ),
    "after of each unit": lambda size: _filled(
        size, lambda number: _unit(f"{number:07}", after=[0] * 15_000)
    ),
    "flags of each unit": lambda size: _filled(
        size, lambda number: _unit(f"{number:07}", flags=["x"] * 7000)
    ),
    "units that are none": lambda size: _manifest(b"\xc0" * (size - _SPARE), 1_000_000),
    "keys that are everywhere": lambda size: _filled(
        size,
        lambda number: encode({"": [""] * 40} | msgspec.msgpack.decode(_unit(f"{number:07}"))),
    ),
}
"""Bytes of any kind that a peer may send under the digest that was asked for."""
