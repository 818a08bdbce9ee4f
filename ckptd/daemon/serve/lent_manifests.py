"""Manifests that are on their way to peers: each is in memory once, and so are few at a time.

A peer that asks for the longest manifest on each of its connections and reads slowly would else
cost 64 MiB with each of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from ckptd.errors import Shortage
from ckptd.limits import MANIFEST_BYTES_MAX, MIB
from ckptd.model.ids import Digest
from ckptd.net.content_coding import Lent, compressed_off_loop

LENT_BYTES_MAX: Final = 2 * MANIFEST_BYTES_MAX
"""Of all that are on their way; there is room for two of the longest, and for any short one."""
SHORT_BYTES_MAX: Final = 1 * MIB
"""A manifest of up to this is lent whatever else is on its way: connections are capped."""

_REMEMBERED_MAX: Final = 1024
"""Manifests of which it is known that zstd saves nothing: those of large files are digests."""


class LentManifests:
    """Manifests in memory for as long as anybody sends one.

    Args:
        load: Reads an encoded manifest.
    """

    def __init__(self, load: Callable[[Digest], Awaitable[bytes | memoryview]]) -> None:
        self._load = load
        self._lent: WeakValueDictionary[Digest, memoryview] = WeakValueDictionary()
        self._coded: WeakValueDictionary[Digest, memoryview] = WeakValueDictionary()
        self._never_shorter: OrderedDict[Digest, None] = OrderedDict()
        self._loading = asyncio.Lock()

    async def get(self, digest: Digest) -> memoryview:
        """Return an encoded manifest; it counts as long as somebody has this very object.

        Raises:
            Shortage: Too many others are on their way.
            CkptdError: It cannot be read.
        """
        async with self._loading:
            return await self._get(digest)

    async def coded(self, digest: Digest) -> Lent:
        """Return it in zstd, compressed once for all who ask at a time, or as it is.

        As it is where that saves too little, or where there is no room for both.

        Raises:
            Shortage: Too many others are on their way.
            CkptdError: It cannot be read.
        """
        async with self._loading:
            coded = self._coded.get(digest)
            if coded is not None:
                return Lent(coded, is_coded=True)
            lent = await self._get(digest)
            if digest in self._never_shorter:
                return Lent(lent)
            packed = await compressed_off_loop(lent)
            if packed is None:
                self._never_shorter[digest] = None
                if len(self._never_shorter) > _REMEMBERED_MAX:
                    self._never_shorter.popitem(last=False)
            elif self._has_room(packed):
                coded = self._coded[digest] = memoryview(packed)
                return Lent(coded, is_coded=True)
            return Lent(lent)

    async def _get(self, digest: Digest) -> memoryview:
        lent = self._lent.get(digest)
        if lent is None:
            lent = memoryview(await self._load(digest))
            if not self._has_room(lent):
                raise Shortage(f"manifest {digest}", "waits: others are on their way to peers")
            self._lent[digest] = lent
        return lent

    def _has_room(self, body: bytes | memoryview) -> bool:
        return len(body) <= SHORT_BYTES_MAX or self.lent_bytes + len(body) <= LENT_BYTES_MAX

    @property
    def lent_bytes(self) -> int:
        """How long the manifests are that are on their way, in either form, each counted once."""
        return sum(map(len, (*self._lent.values(), *self._coded.values())))
