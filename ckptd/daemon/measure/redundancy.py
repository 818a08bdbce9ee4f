"""How many copies there are of what this node holds, on all nodes that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

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

_PARTS_COUNTED_MAX: Final = 64
"""Holdings in part that are looked at for one scrape; what the others have counts for nothing.
Sets of a million blocks are compared in some ten microseconds each."""
_PART_COPIES_MAX: Final = 3
"""More copies than this in parts make no difference to anybody; 2 is what the alert asks for."""


class Copies(NamedTuple):
    """The fewest copies of anything in the newest versions held here.

    Attributes:
        required: Of a block of a required unit; ``None``: nothing is held here.
        critical: Nodes with all critical units of a version; ``None``: there is none.
    """

    required: int | None = None
    critical: int | None = None


REDUNDANCY_METRICS: Final[Sequence[MetricRow[Copies]]] = (
    gauge(
        "required_unit_copies_min",
        "Fewest copies, on live nodes, of any required unit of a newest version held here.",
        lambda copies: copies.required,
    ),
    gauge(
        "critical_unit_sources_min",
        "Fewest live nodes that have all critical units of a newest version held here.",
        lambda copies: copies.critical,
    ),
)


class _Watched(NamedTuple):
    required: BlockSet
    critical: BlockSet


class Redundancy:
    """Knows which blocks must not be lost of the newest version of each checkpoint held here.

    What a node cannot serve is no copy: of a unit that is suspect, changed or gone it offers no
    blocks. A version of which nothing is on offer here any more is watched as long as it is the
    newest that the catalog has: whoever lost the last copy is to hear of it.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._watched: dict[Digest, _Watched] = {}

    async def refresh(self) -> None:
        """Look at new versions now; forget those that are not the newest any more."""
        newest = _newest(held.holding for held in self._catalog.versions())
        self._watched = {
            digest: watched for digest, watched in self._watched.items() if digest in newest
        }
        for digest in newest - self._watched.keys():
            try:
                encoded = await self._catalog.manifest_bytes(digest)
                self._watched[digest] = await asyncio.to_thread(_watched_of, encoded)
            except CkptdError:
                continue  # removed or damaged in the meantime; whoever serves it says so

    def copies(self, peers: Iterable[tuple[Holding, ...]]) -> Copies:
        """Return the fewest copies there are.

        Args:
            peers: What each live peer holds.

        Cost: O(holdings), and a comparison of sets for each of a watched version; those in part
            are bounded.
        """
        offers: dict[Digest, list[BlockSet]] = {digest: [] for digest in self._watched}
        for holdings in (self._catalog.holdings(), *peers):
            for holding in holdings:
                if holding.digest in offers:
                    offers[holding.digest].append(holding.blocks)
        room = _PARTS_COUNTED_MAX
        required: list[int] = []
        critical: list[int] = []
        for digest, watched in self._watched.items():
            whole = [watched.required.issubset(blocks) for blocks in offers[digest]]
            parts = [
                blocks
                for blocks, is_whole in zip(offers[digest], whole, strict=True)
                if blocks and not is_whole
            ][:room]
            room -= len(parts)
            required.append(sum(whole) + _copies_in_parts(watched.required, parts))
            if watched.critical:
                critical.append(sum(map(watched.critical.issubset, offers[digest])))
        return Copies(min(required, default=None), min(critical, default=None))


def _copies_in_parts(required: BlockSet, parts: Iterable[BlockSet]) -> int:
    """Return how often each of some blocks is there at least, in holdings in part."""
    levels = [BlockSet() for _ in range(_PART_COPIES_MAX)]
    """What at least one of the holdings so far has, at least two …"""
    for part in parts:
        carried = part & required
        for index, level in enumerate(levels):
            levels[index], carried = level | carried, level & carried
    return sum(required.issubset(level) for level in levels)


def _newest(holdings: Iterable[Holding]) -> set[Digest]:
    """Return the newest version of each checkpoint; holdings come in ascending order."""
    newest: dict[CheckpointName, Digest] = {}
    for holding in holdings:
        newest[holding.checkpoint] = holding.digest
    return set(list(newest.values())[:CHECKPOINTS_WATCHED_MAX])


def _watched_of(encoded: bytes) -> _Watched:
    space = AddressSpace(decode_manifest(encoded))
    required = BlockSet.full(space.block_count)
    return _Watched(required, space.of_criticality(Criticality.CRITICAL))
