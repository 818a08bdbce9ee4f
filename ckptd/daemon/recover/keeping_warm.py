"""Lets what was just recovered stay in the page cache, up to ``[recovery] keep_warm``.

Which units those are is decided in :mod:`ckptd.store.staging.warmth`; here is how much that may be,
and what has to go of versions that were placed before. Used by the staging orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ckptd.config.sections import RecoverySection
from ckptd.daemon.host.memory_limits import memory_bytes
from ckptd.daemon.parts import Storage
from ckptd.errors import CkptdError
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace
from ckptd.model.words import WriteMode
from ckptd.observe.metrics import MetricRow, gauge
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.staging.area import Staging
from ckptd.store.staging.warmth import WarmBlocks, Warmth, drop_files

_SHARE: Final = 0.5
"""Of memory, unless the configuration says how much: a job copies what it loads into memory of its
own, for which the kernel would drop pages that it has not read yet, were there more."""


def warm_bound(recovery: RecoverySection) -> int:
    """Return how many bytes may stay in the page cache."""
    if recovery.keep_warm_bytes != "auto":
        return recovery.keep_warm_bytes
    if recovery.drop_written or recovery.write_mode is WriteMode.DIRECT:
        return 0  # a job beside the daemon needs the cache
    return int(memory_bytes() * _SHARE)


class KeepingWarm:
    """Knows what stays of versions that were placed, and drops what does not.

    Args:
        storage: Where they stand.
        warmth: Decides.
    """

    def __init__(self, storage: Storage, warmth: Warmth) -> None:
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._warmth = warmth

    @property
    def kept_bytes(self) -> int:
        """How much of what this life of the daemon placed it did not drop."""
        return self._warmth.count(lambda number: self._catalog.place(number) is not None)

    async def note_placed(self, digest: Digest, root: str, directory: str, staging: Staging) -> int:
        """A version is in the catalog: drop what has to give way to it.

        Args:
            digest: Which version.
            root: Name of the root in which it stands.
            directory: Where in it.
            staging: Of its recovery.

        Returns:
            How many bytes of it stay.
        """
        held = self._catalog.held(digest)
        place = None if held is None else held.at(root, directory)
        if place is not None:
            staging.warm.place = place.number
        await self.let_go()
        return staging.warm.size_bytes

    async def let_go(self) -> None:
        """Drop what newer recoveries do not let stay. What cannot be dropped counts no more."""
        for warm in self._warmth.cut():
            try:
                hashed = await self._catalog.hashed(warm.place)
                await asyncio.to_thread(self._drop, warm, hashed)
            except CkptdError:
                self._warmth.end(warm.recovery)

    def _drop(self, warm: WarmBlocks, hashed: HashedDirectory) -> None:
        space = AddressSpace(hashed.manifest)
        lost = space.units_of(self._warmth.settle(warm, space))
        drop_files(self._roots[hashed.root], map(hashed.path_of, lost))


WARM_METRICS: Final[Sequence[MetricRow[int]]] = (
    gauge(
        "kept_warm_bytes",
        "Bytes of recovered units that were not dropped from the page cache, since the start; the "
        "kernel may have evicted them.",
        lambda kept_bytes: kept_bytes,
    ),
)
