"""Finds the unit that a caller of ``need`` means: of a recovery under way, or one that is here."""

from __future__ import annotations

import asyncio
import posixpath
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.errors import CkptdError, Conflict, ContentChanged, NotFound, UsageError
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.model.unit_names import UnitName, split_unit_name
from ckptd.store.files.layout import inside
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion, Place
from ckptd.store.records.retention_records import ReadDirectory

_NEAREST_MAX: Final = 5
"""How many similar names an error suggests."""

_COMPARED_MAX: Final = 2000
"""How many paths a name is compared with for that; each takes up to a tenth of a millisecond."""

_SEEN_MAX: Final = 256
"""Units that were found last: of one that is read range by range the manifest is read once."""


class UnitUnderWay(NamedTuple):
    """A unit of a recovery that has not ended."""

    recovery: OpenRecovery
    unit: str


class UnitHere(NamedTuple):
    """A unit that stands here, all of it.

    Attributes:
        digest: Of which version.
        unit: Its path there.
        root: Where it stands.
        path: Relative to the root.
        is_compressed: It is kept compressed, in a copy: at that path there is no file.
    """

    digest: Digest
    unit: str
    root: Root
    path: str
    is_compressed: bool = False


def directory_of(found: UnitUnderWay | UnitHere) -> ReadDirectory:
    """Return in which directory the version of a unit stands, or will."""
    if isinstance(found, UnitUnderWay):
        return ReadDirectory(found.recovery.root.name, found.recovery.target)
    return ReadDirectory(found.root.name, found.path[: -len(found.unit)].rstrip("/"))


class NeededUnits:
    """Finds units by what callers call them.

    Args:
        book: Recoveries that are under way.
        catalog: What stands here.
        roots: Where.
    """

    def __init__(self, book: RecoveryBook, catalog: Catalog, roots: Roots) -> None:
        self._book = book
        self._catalog = catalog
        self._roots = roots
        self._seen: OrderedDict[str, tuple[UnitHere, Place]] = OrderedDict()

    async def find(self, text: str) -> UnitUnderWay | UnitHere:
        """Return which unit is meant.

        Args:
            text: An absolute path, ``NAME:UNIT`` or ``NAME@VERSION:UNIT``, or the path of a unit.

        Raises:
            NotFound: It is nowhere, or nobody knows yet.
            UsageError: More than one is meant.
            Conflict: It is hashed again first.
            ContentChanged: It is not what was published.
        """
        if text.startswith("/"):
            return await self._find_by_path(text)
        named = split_unit_name(text)
        if named is not None:
            found = await self._find_by_name(named)
            if found is not None:
                return found
        return await asyncio.to_thread(_find_by_unit, list(self._book), text)

    async def _find_by_path(self, path: str) -> UnitUnderWay | UnitHere:
        root, relative = self._roots.locate(path)
        for recovery in self._book:
            if recovery.root is root and recovery.target and _is_below(relative, recovery.target):
                return UnitUnderWay(recovery, relative.removeprefix(f"{recovery.target}/"))
        seen = self._seen.get(path)
        if seen is not None and self._is_as_it_was(seen[1]):
            return seen[0]
        places = (
            (held, place, relative.removeprefix(f"{place.directory}/"))
            for held, place in self._catalog.places_of(root.name)
            if _is_below(relative, place.directory)
        )
        found = await self._first_held(places)
        if found is None:
            raise NotFound(
                f"path {path}",
                "is no unit of a version that is here or being recovered",
                "See ckptctl recoveries for the targets, or begin with: ckptctl recover",
            )
        return found

    async def _find_by_name(self, named: UnitName) -> UnitUnderWay | UnitHere | None:
        """Return a unit of a checkpoint; ``None`` if nothing of that name is here or under way."""
        recoveries = [
            each
            for each in self._book
            if each.record.checkpoint == named.checkpoint
            and named.version in {None, _version_of(each)}
        ]
        if len(recoveries) == 1:
            return UnitUnderWay(recoveries[0], named.unit)
        if recoveries:
            raise _ambiguous(named.unit, recoveries)
        held = self._held(named.checkpoint, named.version)
        if not held:
            return None
        places = ((each, place, named.unit) for each in held for place in each.places)
        found = await self._first_held(places)
        if found is None:
            version = held[0].holding.version
            raise NotFound(
                f"unit {named.unit!r}",
                f"is not in {named.checkpoint}@{version}, or is not here",
                "See ckptctl recoveries, or begin with: ckptctl recover",
            )
        return found

    def _held(self, checkpoint: CheckpointName, version: Version | None) -> list[HeldVersion]:
        """Return what is here of a checkpoint: of one version, the newest if none is named."""
        held = [each for each in self._catalog.versions() if each.holding.checkpoint == checkpoint]
        newest = max((each.holding.version for each in held), default=None)
        wanted = newest if version is None else version
        return [each for each in held if each.holding.version == wanted]

    async def _first_held(
        self, places: Iterable[tuple[HeldVersion, Place, str]]
    ) -> UnitHere | None:
        """Return the first place that has all of a unit; ``None`` if none is known to have it.

        One where units are kept compressed comes last.

        Raises:
            Conflict: It is hashed again first.
            ContentChanged: It is not what was published.
        """
        obstacle: CkptdError | None = None
        for held, place, unit in sorted(places, key=lambda each: each[1].saved_bytes > 0):
            is_held, why_not = await self._look_at(held, place, unit)
            if is_held:
                here = UnitHere(
                    held.holding.digest,
                    unit,
                    self._roots[place.root],
                    inside(place.directory, unit),
                    is_compressed=await self._is_compressed(place, unit),
                )
                self._remember(here, place)
                return here
            obstacle = obstacle or why_not
        if obstacle is not None:
            raise obstacle
        return None

    async def _is_compressed(self, place: Place, unit: str) -> bool:
        if not place.saved_bytes:
            return False
        hashed = await self._catalog.hashed(place.number)
        index = await asyncio.to_thread(index_of, hashed.manifest, unit)
        return index is not None and hashed.files.is_compressed(index)

    def _remember(self, here: UnitHere, place: Place) -> None:
        """Find a unit again without its manifest, as long as nothing is known against its place."""
        path = here.root.absolute(here.path)
        self._seen[path] = (here, place)
        self._seen.move_to_end(path)
        while len(self._seen) > _SEEN_MAX:
            self._seen.popitem(last=False)

    def _is_as_it_was(self, place: Place) -> bool:
        known = self._catalog.place(place.number)
        return known is not None and known[1] is place

    async def _look_at(
        self, held: HeldVersion, place: Place, name: str
    ) -> tuple[bool, CkptdError | None]:
        """Tell whether a unit is at a place, all of it; and if not, why not, if that is known."""
        manifest = await self._catalog.manifest(held.holding.digest)

        def look() -> tuple[bool, CkptdError | None]:
            space = AddressSpace(manifest)
            unit = index_of(space.manifest, name)
            if unit is None:
                return False, None
            is_held = BlockSet.of_run(space.unit_run(unit)).issubset(place.servable(space))
            return is_held, None if is_held else _obstacle(place, unit, name)

        return await asyncio.to_thread(look)


def index_of(manifest: Manifest, path: str) -> int | None:
    """Return a unit's index; ``None`` if there is none of that path. Long for many."""
    units = enumerate(manifest.units)
    return next((index for index, unit in units if unit.path == path), None)


def find_unit(recovery: OpenRecovery, name: str) -> int:
    """Return a unit's index. Long for many.

    Raises:
        NotFound: The version has no such unit.
    """
    space = recovery.known_space()
    unit = index_of(space.manifest, name)
    if unit is None:
        raise no_such_unit(recovery.id, space, name)
    return unit


def no_such_unit(recovery: RecoveryId, space: AddressSpace, name: str) -> NotFound:
    """Return the error that what a recovery brings has no such unit."""
    return NotFound(f"unit {name!r}", f"is not in what {recovery} recovers", nearest(space, name))


def nearest(space: AddressSpace, text: str) -> str:
    """Suggest units with similar names."""
    paths = [unit.path for unit in space.manifest.units[:_COMPARED_MAX]]
    near = get_close_matches(text, paths, _NEAREST_MAX) or paths[:_NEAREST_MAX]
    return f"It has, among others: {', '.join(near)}."


def _find_by_unit(recoveries: Sequence[OpenRecovery], path: str) -> UnitUnderWay:
    """Return the one recovery that has a unit of this path.

    Raises:
        NotFound: None has.
        UsageError: More than one has.
    """
    path = posixpath.normpath(path)
    spaces = [(recovery, recovery.space) for recovery in recoveries if recovery.space is not None]
    found = [recovery for recovery, space in spaces if index_of(space.manifest, path) is not None]
    if not found:
        unknown = len(recoveries) - len(spaces)
        hint = "'ckptctl recoveries' lists what is running."
        if unknown:
            hint = f"{unknown} recoveries do not know their units yet; try again."
        elif len(spaces) == 1:
            hint = nearest(spaces[0][1], path)
        raise NotFound(f"unit {path!r}", "is of no running recovery", hint)
    if len(found) > 1:
        raise _ambiguous(path, found)
    return UnitUnderWay(found[0], path)


def _ambiguous(unit: str, recoveries: Sequence[OpenRecovery]) -> UsageError:
    targets = ", ".join(recovery.target_path for recovery in recoveries[:_NEAREST_MAX])
    return UsageError(
        f"unit {unit!r}",
        f"is of {len(recoveries)} running recoveries",
        f"Name it by where it will stand, below one of {targets}.",
    )


def _version_of(recovery: OpenRecovery) -> int | None:
    """Return which version a recovery is for, as far as that is known."""
    if recovery.space is not None:
        return recovery.space.manifest.version
    return recovery.record.version


def _obstacle(place: Place, unit: int, name: str) -> CkptdError | None:
    """Say why a unit of a place cannot be had from there; ``None`` if it is not known."""
    if place.is_withdrawn:
        return None
    if unit in place.suspect:
        return Conflict(
            f"unit {name!r}",
            "looks different from what was published, and is hashed again first",
            "Try again in a moment; if it stays so, see ckptctl doctor.",
        )
    if unit in place.changed:
        return ContentChanged(
            f"unit {name!r}", "is not what was published", "Recover or publish it again."
        )
    return None


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(f"{directory}/")
