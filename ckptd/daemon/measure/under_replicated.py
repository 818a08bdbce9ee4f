"""Of which units there are fewer copies than ``[copies]`` asks for, on all nodes that answer.

A copy counts if it is proven: this node has it on offer, or a block of it came within the day. So
the number is never too low because somebody says that it has what it has not.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from ckptd.copies.counts import CopyCounts
from ckptd.daemon.audit.timetable import PROVEN_NS
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.observe.metrics import MetricRow, gauges
from ckptd.store.published.catalog import Catalog

PARTS_COUNTED_MAX: Final = 64
"""Holdings in part that are looked at for one scrape; what the others have counts for nothing.
Sets of a million blocks are compared in some ten microseconds each."""
_WATCHED_MAX: Final = 4096
"""So many versions are watched; one takes kilobytes, or megabytes if it has a million units."""
_OPENED_MAX: Final = 16
"""So many manifests are opened in one look; those of listed versions that are not here come from
peers."""

SaidByNode: TypeAlias = Iterable[tuple[NodeId, Iterable[Holding]]]
"""What each live peer says that it has."""
Counts: TypeAlias = Callable[[NodeId, Holding], bool]
"""Tells whether what a peer says counts as a copy."""

UNDER_REPLICATED_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    gauges(
        "units_under_replicated",
        "Required units of newest versions with fewer proven live copies than [copies] asks for.",
        ("criticality",),
        lambda units: units,
    ),
)


class ShortOfCopies(NamedTuple):
    """Units of a version of which there are too few copies.

    Attributes:
        holding: Which version.
        criticality: Of which class.
        asked: How many copies there are to be.
        there: How many there are of the unit with the fewest.
        units: How many units.
    """

    holding: Holding
    criticality: Criticality
    asked: int
    there: int
    units: int


class _UnitsOfClass(NamedTuple):
    """The required units of one class: their blocks, and the first one of each in order."""

    blocks: BlockSet
    starts: array[int]

    def units_with(self, blocks: BlockSet) -> int:
        """Count the units to which some of their blocks belong."""
        count, last = 0, -1
        for run in blocks.runs():
            first = max(bisect_right(self.starts, run.start) - 1, last + 1)
            last = max(bisect_left(self.starts, run.end) - 1, last)
            count += last - first + 1
        return count


class _WatchedVersion(NamedTuple):
    facts: Holding
    classes: Mapping[Criticality, _UnitsOfClass]


class UnderReplicated:
    """Watches the newest version of each checkpoint that this node lists.

    That is the newest one which somebody has whole beyond doubt; where nobody has any, the newest
    that somebody says he has. It is watched until a newer one is, for a day if nobody has anything
    of it, or until somebody lets it go here: else the number would fall at the moment at which the
    last copy is lost. A restart ends that as well.

    Args:
        catalog: What this node holds.
        of_peers: Returns what each live peer holds.
        counts: Tells whether that counts.
        asked: Returns how many copies there are to be of a checkpoint; ``None``: nobody asked.
        space_of: Returns what a version consists of; ``None``: nobody says so.
        now: The moment in nanoseconds, on the monotonic clock.
    """

    def __init__(
        self,
        catalog: Catalog,
        of_peers: Callable[[], SaidByNode],
        counts: Counts,
        asked: Callable[[CheckpointName], CopyCounts | None],
        space_of: Callable[[CheckpointName, Digest], Awaitable[AddressSpace | None]],
        now: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._of_peers = of_peers
        self._counts = counts
        self._asked = asked
        self._space_of = space_of
        self._now = now
        self._watched: dict[Digest, _WatchedVersion] = {}
        self._seen_ns: dict[Digest, int] = {}

    async def refresh(self) -> None:
        """Look at new versions now; forget those of which a newer one is whole."""
        newest = self._newest()
        watched: dict[Digest, _WatchedVersion] = {}
        for digest, known in self._watched.items():
            others = newest.setdefault(known.facts.checkpoint, {})
            version = next((each.version for each in others.values()), -1)
            if version < known.facts.version and self._is_missed(digest):
                others.clear()  # an older one does not take the place of what was lost
                watched[digest] = known
            elif digest in others:
                watched[digest] = known
        missing = [
            each
            for contents in newest.values()
            for each in contents.values()
            if each.digest not in watched
        ]
        for holding in missing[: min(_OPENED_MAX, _WATCHED_MAX - len(watched))]:
            space = await self._space_of(holding.checkpoint, holding.digest)
            if space is not None:
                classes = await asyncio.to_thread(_classes_of, space)
                watched[holding.digest] = _WatchedVersion(holding, classes)
        self._watched = watched

    def let_go(self, digest: Digest) -> None:
        """Stop watching a version that somebody wanted to go from here, unless others have it."""
        self._seen_ns[digest] = self._now() - PROVEN_NS

    def _is_missed(self, digest: Digest) -> bool:
        """Tell whether somebody had some of a version within the last day."""
        return self._now() - self._seen_ns[digest] < PROVEN_NS

    def units(self, *, is_on: bool) -> Mapping[str, int]:
        """Return how many units have too few copies, by criticality; nothing if nobody asked."""
        if not is_on:
            return {}
        units = {each.label: 0 for each in Criticality}
        for short in self.short():
            units[short.criticality.label] += short.units
        return units

    def short(self) -> list[ShortOfCopies]:
        """Return of what there are too few copies.

        Cost: O(holdings), and some comparisons of sets for each watched version.
        """
        offers: dict[Digest, list[BlockSet]] = {digest: [] for digest in self._watched}
        for node, holding in self._all():
            if holding.digest in offers and self._is_there(node, holding):
                offers[holding.digest].append(holding.blocks)
        room = PARTS_COUNTED_MAX
        found: list[ShortOfCopies] = []
        for digest, watched in self._watched.items():
            counts = self._asked(watched.facts.checkpoint)
            if counts is None:
                continue
            for criticality, of_class in watched.classes.items():
                asked = counts.of(criticality)
                parts = _parts(of_class.blocks, offers[digest])[:room]
                whole = sum(map(of_class.blocks.issubset, offers[digest]))
                if whole < asked:
                    room -= len(parts)
                    levels = levels_of(of_class.blocks, parts, asked - whole)
                    short = of_class.blocks - levels[-1]
                    if short:
                        there = whole + sum(map(of_class.blocks.issubset, levels))
                        units = of_class.units_with(short)
                        found.append(ShortOfCopies(watched.facts, criticality, asked, there, units))
        return found

    def _newest(self) -> dict[CheckpointName, dict[Digest, Holding]]:
        """Return all contents of the newest version of each listed checkpoint."""
        now = self._now()
        self._seen_ns = {each: self._seen_ns.get(each, now) for each in self._watched}
        newest: dict[bool, dict[CheckpointName, dict[Digest, Holding]]] = {True: {}, False: {}}
        is_asked: dict[CheckpointName, bool] = {}
        for node, holding in self._all():
            name = holding.checkpoint
            if holding.digest in self._watched:
                self._seen_ns[holding.digest] = now
            if name not in is_asked:
                is_asked[name] = self._asked(name) is not None
            known = next(iter(newest[True].get(name, {}).values()), None)
            is_newest = known is None or holding.version >= known.version
            if is_asked[name] and is_newest and holding.is_whole:
                _note_newest(newest[self._is_there(node, holding)], holding)
        return newest[False] | newest[True]

    def _is_there(self, node: NodeId | None, holding: Holding) -> bool:
        """Tell whether what this node has, or a peer says that it has, counts as a copy."""
        return node is None or self._counts(node, holding)

    def _all(self) -> Iterator[tuple[NodeId | None, Holding]]:
        """Yield what this node has, and what each peer says that it has."""
        for holding in self._catalog.holdings():
            yield None, holding
        for node, holdings in self._of_peers():
            for holding in holdings:
                yield node, holding


def _note_newest(newest: dict[CheckpointName, dict[Digest, Holding]], holding: Holding) -> None:
    """Keep a content if it is of the newest version of its checkpoint that was noted."""
    known = newest.setdefault(holding.checkpoint, {})
    version = next((each.version for each in known.values()), -1)
    if holding.version > version:
        known.clear()
    if holding.version >= version:
        known[holding.digest] = holding


def _parts(blocks: BlockSet, offers: Iterable[BlockSet]) -> list[BlockSet]:
    """Return those of some offers that have some blocks, and not all."""
    return [each for each in offers if each.meets(blocks) and not blocks.issubset(each)]


def levels_of(blocks: BlockSet, parts: Iterable[BlockSet], count: int) -> list[BlockSet]:
    """Return which of some blocks are there at least once, twice and so on in some parts.

    Args:
        blocks: Which.
        parts: What each holding has.
        count: So often at most.
    """
    levels = [BlockSet() for _ in range(count)]
    for part in parts:
        carried = part & blocks
        for index, level in enumerate(levels):
            levels[index], carried = level | carried, level & carried
    return levels


def _classes_of(space: AddressSpace) -> Mapping[Criticality, _UnitsOfClass]:
    optional = space.optional_blocks()
    starts = {each: array("L") for each in Criticality}
    for index, unit in enumerate(space.manifest.units):
        start, end = space.unit_run(index)
        if end > start and not optional.has_run((start, end)):
            starts[unit.criticality].append(start)
    return {
        each: _UnitsOfClass(blocks, starts[each])
        for each in Criticality
        if (blocks := space.of_criticality(each) - optional)
    }
