"""The sums by which a tensor is checked once deltas are applied to it.

They find mistakes, and no attackers: those are kept out by the signatures and digests of manifests.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import xxhash

from ckptd.chains.delta_index import ADLER32, BLAKE3, XXH3_128
from ckptd.store.files.hashing import ContentHasher, content_hasher


class _Adler32:
    def __init__(self) -> None:
        self._value = zlib.adler32(b"")

    def update(self, content: memoryview, /) -> None:
        self._value = zlib.adler32(content, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


SUMS: Final[Mapping[str, Callable[[], ContentHasher]]] = {
    XXH3_128: xxhash.xxh3_128,
    BLAKE3: content_hasher,
    ADLER32: _Adler32,
}
"""What sums up, by its name in the index of a delta version."""
