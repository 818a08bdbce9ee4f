"""Looks at what stands at places of the catalog: when it is read, and when one seems to be gone."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import Final, NamedTuple

from ckptd.errors import CkptdError
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.manifest import FORMAT, Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory, held_blocks
from ckptd.store.files.roots import Root, Roots
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.checking import compare
from ckptd.store.published.places import (
    NO_UNITS,
    Place,
    UnitStarts,
    first_reason,
)
from ckptd.store.records.version_rows import (
    StoredPlace,
    StoredVersion,
    VersionRow,
    unpack_place,
    unpack_version,
)

_NO_MANIFEST: Final = Manifest(format=FORMAT, checkpoint="", version=0, units=())


class Inspected(NamedTuple):
    """A version as it was found.

    Attributes:
        facts: What it is.
        starts: Which blocks its units have.
        places: Where it stands, with what is wrong there.
        seen: Numbers of the places that stand.
        roots: Names of the roots that are certainly in place. A file system that is not mounted
            looks like a directory from which everything was removed; so a place has to stand
            there, or the directory below the root in which one stood.
    """

    facts: Holding
    starts: UnitStarts
    places: tuple[Place, ...]
    seen: frozenset[int]
    roots: frozenset[str]


def facts_of(row: VersionRow, space: AddressSpace | None = None) -> Holding:
    """Return what a version is, without any block; what is optional only with its space."""
    return Holding(
        checkpoint=row.checkpoint,
        version=row.version,
        digest=row.digest,
        size_bytes=row.size_bytes,
        block_count=row.block_count,
        blocks=BlockSet(),
        optional=BlockSet() if space is None else space.optional_blocks(),
    )


def place_of(
    row: StoredPlace, space: AddressSpace, files: UnitFiles, for_copies: str = ""
) -> Place:
    """Return a place at which nothing is known to be wrong.

    Args:
        row: What the database has of it.
        space: What the version consists of.
        files: Which files stand there.
        for_copies: Name of the root in which copies stand.
    """
    absent = files.absent()
    units = space.manifest.units
    return Place(
        number=row.place,
        root=row.root,
        directory=row.directory,
        is_published=bool(row.is_published),
        is_withdrawn=bool(row.is_withdrawn),
        added_at_s=row.added_at_s,
        checked_at_s=row.checked_at_s,
        scrubbed_units=row.scrubbed_units,
        unit_count=len(space.manifest.units),
        blocks=held_blocks(space, files),
        absent=absent,
        lacking=frozenset(unit for unit in absent if not units[unit].is_optional),
        links=len(space.manifest.links),
        empty_directories=len(space.manifest.directories),
        is_by_choice=bool(row.is_by_choice),
        is_copy=row.root == for_copies and not row.is_published,
        saved_bytes=files.saved_bytes,
    )


def unseen(row: StoredPlace, for_copies: str = "") -> Place:
    """Return a place that is to be looked at."""
    nothing = AddressSpace(_NO_MANIFEST)
    return replace(place_of(row, nothing, UnitFiles(), for_copies), is_unseen=True)


def no_starts() -> UnitStarts:
    """Return what is known of the units of a version that is to be looked at."""
    return UnitStarts(AddressSpace(_NO_MANIFEST))


def inspect(stored: StoredVersion, roots: Roots, database: str) -> Inspected:
    """Compare the files of a version at all its places with what was recorded. Blocks.

    Args:
        stored: What the database has.
        roots: Where it stands.
        database: Path of the database, for messages.

    Cost: one ``stat`` for each unit at each place.
    """
    try:
        manifest = unpack_version(stored.row, database)
    except CkptdError as error:
        nothing = AddressSpace(_NO_MANIFEST)
        lost = tuple(
            _unreadable(place_of(row, nothing, UnitFiles(), roots.for_copies), str(error))
            for row in stored.places
        )
        facts = facts_of(stored.row)
        return Inspected(facts, UnitStarts(nothing), lost, frozenset(), frozenset())
    space = AddressSpace(manifest)
    facts = facts_of(stored.row, space)
    places: list[Place] = []
    seen: set[int] = set()
    in_place: set[str] = set()
    for row in stored.places:
        try:
            hashed = unpack_place(row, manifest, database)
        except CkptdError as error:
            no_files = UnitFiles.of_none(len(manifest.units))
            lost_place = place_of(row, space, no_files, roots.for_copies)
            places.append(_unreadable(lost_place, str(error)))
            continue
        place = place_of(row, space, hashed.files, roots.for_copies)
        try:
            root = roots[row.root]
        except CkptdError as error:
            places.append(place.with_changed(range(place.unit_count), str(error)))
            continue
        place, is_standing = _compared(place, root, hashed)
        places.append(place)
        if is_standing and is_on_its_disk(root, place.directory):
            seen.add(place.number)
        parent = place.directory.rpartition("/")[0]
        if is_standing or (parent and stands(root, parent)):
            in_place.add(root.name)
    return Inspected(facts, UnitStarts(space), tuple(places), frozenset(seen), frozenset(in_place))


def _unreadable(place: Place, reason: str) -> Place:
    """Return a place of which nothing can be had."""
    lost = replace(place, blocks=BlockSet(), absent=NO_UNITS, lacking=NO_UNITS, reason=reason)
    return lost.with_changed(range(lost.unit_count), reason)


def _compared(place: Place, root: Root, hashed: HashedDirectory) -> tuple[Place, bool]:
    """Return a place with what is different there, and whether its directory stands."""
    is_standing = stands(root, place.directory)
    found = compare(root, hashed)
    place = place.with_wrong_names(found.bare_names)
    if found.suspect:
        place = place.with_suspect(found.suspect, first_reason(found.suspect))
    wrong = hashed.files.wrong()
    if wrong - found.changed.keys():
        place = place.with_suspect(wrong, "was found to have other content")
    if found.changed:
        reason = first_reason(found.changed)
        if is_standing is False:
            reason = f"directory {root.absolute(place.directory)}: was removed"
        place = place.with_changed(found.changed, reason)
    return place, bool(is_standing)


def stands(root: Root, directory: str) -> bool | None:
    """Return whether a directory stands; ``None`` if that cannot be seen."""
    try:
        facts = root.stat(directory)
    except CkptdError:
        return None
    return facts is not None and stat.S_ISDIR(facts.st_mode)


def is_on_its_disk(root: Root, directory: str) -> bool:
    """Return whether a directory lies on the file system of its root, not on one mounted below."""
    try:
        facts = root.stat(directory)
    except CkptdError:
        return False
    return facts is not None and facts.st_dev == root.device


def was_on_its_disk(root: Root, hashed: HashedDirectory) -> bool:
    """Return whether files were hashed on the file system that their root is on now."""
    return hashed.files.devices() <= {root.device}


def is_removed(root: Root, place: Place) -> bool:
    """Return whether nothing stands where a place was, and its root is where it was. Blocks."""
    try:
        if not place.directory or root.stat(place.directory) is not None:
            return False
        root.check_in_place()
    except CkptdError:
        return False
    return True
