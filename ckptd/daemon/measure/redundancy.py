"""How many nodes could give the critical units back if this one were wiped now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from ckptd.errors import CkptdError
from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest
from ckptd.model.manifest import decode_manifest
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.observe.metrics import MetricRow, gauge
from ckptd.store.published.catalog import Catalog

REDUNDANCY_REFRESH_S: Final = 10.0
"""How often new versions are looked at: the scrape interval of deploy/prometheus."""

REDUNDANCY_METRICS: Final[Sequence[MetricRow[int | None]]] = (
    gauge(
        "critical_unit_sources_min",
        "Fewest live nodes that have all critical units of a newest version held here.",
        lambda sources_min: sources_min,
    ),
)


class Redundancy:
    """Knows which blocks are critical in the newest version of each checkpoint held here."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._critical: dict[Digest, BlockSet] = {}

    async def run(self) -> NoReturn:
        """Look at new versions until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REDUNDANCY_REFRESH_S)

    async def refresh(self) -> None:
        """Look at new versions now; forget those that are not the newest any more."""
        newest = _newest(self._catalog.holdings())
        self._critical = {
            digest: blocks for digest, blocks in self._critical.items() if digest in newest
        }
        for digest in newest - self._critical.keys():
            try:
                encoded = await self._catalog.manifest_bytes(digest)
                self._critical[digest] = await asyncio.to_thread(_critical_blocks, encoded)
            except CkptdError:
                continue  # removed or damaged in the meantime; whoever serves it says so

    def sources_min(self, peers: Iterable[tuple[Holding, ...]]) -> int | None:
        """Return the fewest nodes that have all critical units of a version; ``None``: none is.

        Args:
            peers: What each live peer holds.
        """
        counts = {digest: 0 for digest, blocks in self._critical.items() if blocks}
        for holdings in (self._catalog.holdings(), *peers):
            for holding in holdings:
                critical = self._critical.get(holding.digest)
                if critical and critical.issubset(holding.blocks):
                    counts[holding.digest] += 1
        return min(counts.values(), default=None)


def _newest(holdings: Iterable[Holding]) -> set[Digest]:
    """Return the newest version of each checkpoint; holdings come in ascending order."""
    newest: dict[CheckpointName, Digest] = {}
    for holding in holdings:
        newest[holding.checkpoint] = holding.digest
    return set(list(newest.values())[:CHECKPOINTS_WATCHED_MAX])


def _critical_blocks(encoded: bytes) -> BlockSet:
    return AddressSpace(decode_manifest(encoded)).of_criticality(Criticality.CRITICAL)
