"""Manifests that are on their way to peers: each is in memory once, and so are few at a time.

A peer that asks for the longest manifest on each of its connections and reads slowly would else
cost 64 MiB with each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from ckptd.errors import Shortage
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.model.ids import Digest

LENT_BYTES_MAX: Final = 2 * MANIFEST_BYTES_MAX
"""Of all that are on their way; there is room for two of the longest, and for any short one."""
SHORT_BYTES_MAX: Final = 1 * MIB
"""A manifest of up to this is lent whatever else is on its way: connections are capped."""


class LentManifests:
    """Manifests in memory for as long as anybody sends one.

    Args:
        load: Reads an encoded manifest.
    """

    def __init__(self, load: Callable[[Digest], Awaitable[bytes]]) -> None:
        self._load = load
        self._lent: WeakValueDictionary[Digest, memoryview] = WeakValueDictionary()
        self._loading = asyncio.Lock()

    async def get(self, digest: Digest) -> memoryview:
        """Return an encoded manifest; it counts as long as somebody has this very object.

        Raises:
            Shortage: Too many others are on their way.
            CkptdError: It cannot be read.
        """
        async with self._loading:
            lent = self._lent.get(digest)
            if lent is None:
                lent = memoryview(await self._load(digest))
                if len(lent) > SHORT_BYTES_MAX and self.lent_bytes + len(lent) > LENT_BYTES_MAX:
                    raise Shortage(f"manifest {digest}", "waits: others are on their way to peers")
                self._lent[digest] = lent
            return lent

    @property
    def lent_bytes(self) -> int:
        """How long the manifests are that are on their way, each counted once."""
        return sum(map(len, self._lent.values()))
