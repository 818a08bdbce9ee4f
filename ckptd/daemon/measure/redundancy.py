"""How many copies there are of what this node holds, on all nodes that answer.

What peers say counts; of names in ``[copies]`` only what they have shown within the day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from ckptd.daemon.doctor.copies import ScarceVersion
from ckptd.daemon.measure.under_replicated import (
    PARTS_COUNTED_MAX,
    Counts,
    SaidByNode,
    levels_of,
)
from ckptd.errors import CkptdError
from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality, PlaceState
from ckptd.observe.metrics import MetricRow, gauge
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion

_PART_COPIES_MAX: Final = 3
"""More copies than this in parts make no difference to anybody; 2 is what the alert asks for."""


_COPIES_WANTED: Final = 2
"""What the alert asks for as well: with one, the next loss is the last one."""


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
        "Fewest copies, on live nodes, of any required unit of a newest version held here; of what "
        "[copies] lists only if there is none.",
        lambda copies: copies.required,
    ),
    gauge(
        "critical_unit_sources_min",
        "Fewest live nodes that have all critical units of a newest version held here.",
        lambda copies: copies.critical,
    ),
)


class _WatchedVersion(NamedTuple):
    facts: Holding
    required: BlockSet
    critical: BlockSet


class Redundancy:
    """Knows which blocks must not be lost of the newest version of each checkpoint held here.

    What a node cannot serve is no copy: of a unit that is suspect, changed or gone it offers no
    blocks.

    A version that goes from here without anybody having asked for that is watched on until a newer
    one of its checkpoint is whole somewhere: else the alert for the last copy would end at the
    moment at which that copy is lost. A restart ends that as well.

    Of what ``[copies]`` lists somebody said how many copies there are to be, and that is counted
    class by class in :mod:`ckptd.daemon.measure.under_replicated`. Here it is only looked whether
    anything is left of that.

    Args:
        catalog: What this node holds.
        of_peers: Returns what each live peer holds.
        counts: Tells whether that counts as a copy.
        lists: Tells whether ``[copies]`` lists a checkpoint.
    """

    def __init__(
        self,
        catalog: Catalog,
        of_peers: Callable[[], SaidByNode],
        counts: Counts = lambda node, holding: True,
        lists: Callable[[CheckpointName], bool] = lambda name: False,
    ) -> None:
        self._catalog = catalog
        self._of_peers = of_peers
        self._counts = counts
        self._lists = lists
        self._watched: dict[Digest, _WatchedVersion] = {}

    async def refresh(self) -> None:
        """Look at new versions now; forget those that are not the newest any more."""
        held = [held.holding for held in self._catalog.versions() if _is_wanted(held)]
        newest = {holding.digest: holding for holding in _newest(held)}
        known = {holding.digest for holding in held}
        lost = [watched.facts for digest, watched in self._watched.items() if digest not in known]
        missed = self._without_successor(lost, held) if lost else set()
        self._watched = {
            digest: watched
            for digest, watched in self._watched.items()
            if digest in newest or digest in missed
        }
        for digest, facts in newest.items():
            if digest not in self._watched and len(self._watched) < CHECKPOINTS_WATCHED_MAX:
                try:
                    manifest = await self._catalog.manifest(digest)
                    watched = await asyncio.to_thread(_watched_of, facts, manifest)
                except CkptdError:
                    continue  # removed or damaged in the meantime; whoever serves it says so
                if _is_wanted(self._catalog.held(digest)):
                    self._watched[digest] = watched

    def let_go(self, digest: Digest) -> None:
        """Stop watching a version that somebody wanted to go from here."""
        self._watched.pop(digest, None)

    def _without_successor(self, lost: Iterable[Holding], held: Iterable[Holding]) -> set[Digest]:
        """Return those versions of which no newer one is whole somewhere."""
        wanted = {holding.checkpoint: holding.version for holding in lost}
        for node, holdings in ((None, held), *self._of_peers()):
            for holding in holdings:
                version = wanted.get(holding.checkpoint)
                is_newer = version is not None and holding.version > version and holding.is_whole
                if is_newer and (node is None or self._counts(node, holding)):
                    del wanted[holding.checkpoint]
        return {holding.digest for holding in lost if holding.checkpoint in wanted}

    def copies(self) -> Copies:
        """Return the fewest copies there are."""
        counted = list(self._count())
        required = [
            copies.required
            for watched, copies in counted
            if copies.required is not None
            and (not copies.required or not self._lists(watched.facts.checkpoint))
        ]
        critical = [copies.critical for _, copies in counted if copies.critical is not None]
        return Copies(min(required, default=None), min(critical, default=None))

    def scarce(self) -> list[ScarceVersion]:
        """Return the versions of which there are fewer copies than two; of listed ones, none."""
        return [
            ScarceVersion(
                watched.facts,
                copies.required,
                is_here=self._catalog.held(watched.facts.digest) is not None,
            )
            for watched, copies in self._count()
            if copies.required is not None
            and copies.required < (1 if self._lists(watched.facts.checkpoint) else _COPIES_WANTED)
        ]

    def _count(self) -> Iterator[tuple[_WatchedVersion, Copies]]:
        """Yield how many copies there are of each version that is watched.

        Cost: O(holdings), and a comparison of sets for each of a watched version; those in part
            are bounded.
        """
        offers: dict[Digest, list[BlockSet]] = {digest: [] for digest in self._watched}
        for node, holdings in ((None, self._catalog.holdings()), *self._of_peers()):
            for holding in holdings:
                if holding.digest in offers and (node is None or self._counts(node, holding)):
                    offers[holding.digest].append(holding.blocks)
        room = PARTS_COUNTED_MAX
        for digest, watched in self._watched.items():
            whole = [watched.required.issubset(blocks) for blocks in offers[digest]]
            parts = [
                blocks
                for blocks, is_whole in zip(offers[digest], whole, strict=True)
                if blocks and not is_whole
            ][:room]
            room -= len(parts)
            required = sum(whole) + _copies_in_parts(watched.required, parts)
            critical = sum(map(watched.critical.issubset, offers[digest]))
            yield watched, Copies(required, critical if watched.critical else None)


def _is_wanted(held: HeldVersion | None) -> bool:
    """Return whether a version is here and nobody took all of it off offer.

    Of one that was not looked at yet it is not known whether it is a copy.
    """
    return held is not None and any(
        place.state not in {PlaceState.WITHDRAWN, PlaceState.UNSEEN} for place in held.places
    )


def _copies_in_parts(required: BlockSet, parts: Iterable[BlockSet]) -> int:
    """Return how often each of some blocks is there at least, in holdings in part."""
    return sum(map(required.issubset, levels_of(required, parts, _PART_COPIES_MAX)))


def _newest(holdings: Iterable[Holding]) -> list[Holding]:
    """Return every content of the newest version of each checkpoint, the first ones if many."""
    newest: dict[CheckpointName, list[Holding]] = {}
    for holding in holdings:
        known = newest.setdefault(holding.checkpoint, [])
        if known and holding.version > known[0].version:
            known.clear()
        if not known or holding.version == known[0].version:
            known.append(holding)
    return list(chain.from_iterable(newest.values()))[:CHECKPOINTS_WATCHED_MAX]


def _watched_of(facts: Holding, manifest: Manifest) -> _WatchedVersion:
    space = AddressSpace(manifest)
    required = BlockSet.full(space.block_count) - space.optional_blocks()
    return _WatchedVersion(facts, required, space.of_criticality(Criticality.CRITICAL))
