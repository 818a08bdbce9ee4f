"""The outline of a manifest: where each unit lies in its bytes, and everything else it says.

Found before anything is made of them. Manifests come from whoever has the right digest, and a few
bytes can become very large values: 64 MiB of annotations take a gigabyte as a dictionary. So
what a manifest says beside its units is bounded, and so is what a unit says beside its digests.

Bytes are looked at in windows, so that the interpreter is never kept from other threads for long.
"""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

import msgspec

from ckptd.errors import InvalidManifest
from ckptd.limits import (
    BARE_NAMES_BYTES_MAX,
    KIB,
    MANIFEST_DIRECTORIES_MAX,
    MANIFEST_LINKS_MAX,
    MANIFEST_UNITS_MAX,
    MANIFEST_WORDS_BYTES_MAX,
    UNIT_WORDS_BYTES_MAX,
)
from ckptd.model.bare_names import DIRECTORIES, LINKS
from ckptd.model.encoded.values import array_at, byte_string_end, map_at, value_end

WINDOW_BYTES: Final = 64 * KIB
"""What is handed to a decoder in one call: a few milliseconds, whatever is in it."""

_UNITS: Final = "units"
_BARE_NAMES: Final = {LINKS: MANIFEST_LINKS_MAX, DIRECTORIES: MANIFEST_DIRECTORIES_MAX}
"""How many there may be of each kind; each has room of its own beside the other words, once."""
_KEY_BYTES_MAX: Final = 16
_BLOCK_DIGESTS: Final = msgspec.msgpack.encode("block_digests")
_KEY: Final = msgspec.msgpack.Decoder(str)
_RAWS: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Outline(NamedTuple):
    """What a manifest consists of.

    Attributes:
        words: Everything but the units, an encoded map.
        starts: Where each unit begins, and where the last one ends; ``None`` if there is no list
            of units.
    """

    words: bytes
    starts: array[int] | None


class _Words:
    """What was found so far but the units, and how much more of it there may be."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self._count = 0
        self._pairs = bytearray()

    def add(self, pair: memoryview, *, room_bytes: int) -> None:
        self._pairs += pair
        self._count += 1
        self.room_bytes = room_bytes

    def as_map(self) -> bytes:
        return b"\xdf" + self._count.to_bytes(4, "big") + self._pairs


def outline_of(data: memoryview) -> Outline:
    """Find out what lies where in an encoded manifest.

    Raises:
        InvalidManifest: It is no map, it goes on behind its end, or something in it is too large.

    Cost: O(bytes); memory for each unit, four bytes.
    """
    everything = map_at(data, 0)
    if everything is None:
        raise _invalid("cannot be decoded: it is no map")
    at = everything.at
    words, bare = _Words(MANIFEST_WORDS_BYTES_MAX), dict.fromkeys(_BARE_NAMES, BARE_NAMES_BYTES_MAX)
    starts: array[int] | None = None
    for _ in range(everything.length):
        start = at
        at = value_end(data, at, start + words.room_bytes)
        key = _key(data[start:at])
        units = array_at(data, at) if key == _UNITS else None
        if key in bare:
            at = _bare_names_end(data, at, key, bare.pop(key))
            words.add(data[start:at], room_bytes=words.room_bytes)
        elif units is None:
            at = value_end(data, at, start + words.room_bytes)
            words.add(data[start:at], room_bytes=words.room_bytes - (at - start))
        elif starts is not None:
            raise _invalid("has two lists of units")
        elif units.length > MANIFEST_UNITS_MAX:
            raise _invalid(f"has {units.length} units, more than {MANIFEST_UNITS_MAX}")
        else:
            starts = _unit_starts(data, units.at, units.length)
            at = starts[-1]
    if at != len(data):
        raise _invalid(f"cannot be decoded: it goes on behind its end (byte {at})")
    return Outline(words.as_map(), starts)


def array_of(count: int, elements: memoryview | bytes) -> bytes:
    """Return some encoded values as an array of them."""
    return b"".join((b"\xdd", count.to_bytes(4, "big"), elements))


def _unit_starts(data: memoryview, at: int, count: int) -> array[int]:
    """Return where units begin, and where the last one ends.

    Units of one writer all begin with the same key. Where it occurs in a window a unit probably
    begins; whether all in between are whole values is then found out in one call.
    """
    starts = array("I", (at,))
    key = _first_key(data, at) if count else b""
    while (left := count + 1 - len(starts)) > 0:
        window = bytes(data[at : at + WINDOW_BYTES])
        cut = window.rfind(key) - 1 if key else 0
        ends = _ends(window[:cut], window.count(key, 0, cut), at) if cut > 0 else None
        if ends is None or len(ends) > left:
            ends = _ends_one_by_one(data, at, at + max(cut, 1), left)
        starts.extend(ends)
        at = starts[-1]
    return starts


def _ends(piece: bytes, count: int, at: int) -> array[int] | None:
    """Return where each of so many units ends; ``None`` if these are not that, or long ones."""
    try:
        raws = _RAWS.decode(array_of(count, piece))
    except (msgspec.DecodeError, RecursionError):
        return None
    ends = array("I")
    for raw in raws:
        size = memoryview(raw).nbytes
        if size > UNIT_WORDS_BYTES_MAX:
            return None
        at += size
        ends.append(at)
    return ends


def _ends_one_by_one(data: memoryview, at: int, until: int, count_max: int) -> array[int]:
    ends = array("I")
    while at < until and len(ends) < count_max:
        at = _unit_end(data, at)
        ends.append(at)
    return ends


def _unit_end(data: memoryview, at: int) -> int:
    """Return where a unit ends.

    Raises:
        InvalidManifest: It is no map, or it says too much beside the digests of its blocks.
    """
    pairs = map_at(data, at)
    if pairs is None:
        raise _invalid("cannot be decoded: it lists a unit that is no map")
    limit = at + UNIT_WORDS_BYTES_MAX
    at = pairs.at
    for _ in range(pairs.length):
        start = at
        at = value_end(data, at, limit)
        end = byte_string_end(data, at) if data[start:at] == _BLOCK_DIGESTS else None
        if end is None:
            at = value_end(data, at, limit)
        else:
            limit += end - at
            at = end
    return at


def _first_key(data: memoryview, at: int) -> bytes:
    """Return the key with which a unit begins, if it is written in the shortest way."""
    pairs = map_at(data, at)
    if pairs is None or not pairs.length or pairs.at != at + 1:
        return b""
    return bytes(data[pairs.at : value_end(data, pairs.at, pairs.at + UNIT_WORDS_BYTES_MAX)])


def _bare_names_end(data: memoryview, at: int, kind: str, bytes_max: int) -> int:
    """Return where the links or the empty directories end.

    Raises:
        InvalidManifest: There are too many, or they are too long.
    """
    found, count_max = array_at(data, at), _BARE_NAMES[kind]
    if found is not None and found.length > count_max:
        raise _invalid(f"has {found.length} {kind}, more than {count_max}")
    return value_end(data, at, at + bytes_max)


def _key(encoded: memoryview) -> str:
    """Return a key of a manifest; empty if it is none that means something here."""
    if len(encoded) > _KEY_BYTES_MAX:
        return ""
    try:
        return _KEY.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _invalid(problem: str) -> InvalidManifest:
    return InvalidManifest("manifest", problem)
