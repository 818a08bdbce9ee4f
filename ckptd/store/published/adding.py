"""What is to be known before a version is added to the catalog: what it takes the place of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from ckptd.errors import CkptdError, Conflict, StorageError
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory, held_blocks
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import compare
from ckptd.store.published.places import HeldVersion, Place, UnitStarts
from ckptd.store.records.packed_files import pack_files
from ckptd.store.records.version_rows import StoredPlace, VersionRow, pack_version

_COMPARED_MAX: Final = 16
"""A job that saves to one directory again and again changes it each time: then it is one."""


class Packed(NamedTuple):
    """A version as it goes into the database, and what it consists of.

    Attributes:
        space: Where its blocks lie.
        starts: Which blocks its units have.
        row: The version.
        files: Its files at the place.
    """

    space: AddressSpace
    starts: UnitStarts
    row: VersionRow
    files: bytes

    @classmethod
    def of(cls, hashed: HashedDirectory) -> Packed:
        """Pack a version. Takes a while."""
        space = AddressSpace(hashed.manifest)
        return cls(space, UnitStarts(space), pack_version(hashed, space), pack_files(hashed.files))

    def place_row(
        self,
        hashed: HashedDirectory,
        before: Place | None,
        *,
        is_published: bool,
        now_s: float,
        is_by_choice: bool = False,
    ) -> StoredPlace:
        """Return the row of a place where all of it was just found right.

        Args:
            hashed: The version at that place.
            before: What was recorded there of the same version.
            is_published: It is being published.
            now_s: Unix time.
            is_by_choice: Nobody asked for the units that are not there.
        """
        return StoredPlace(
            place=0 if before is None else before.number,
            digest=hashed.digest,
            root=hashed.root,
            directory=hashed.directory,
            is_published=is_published,
            is_withdrawn=False,
            files=self.files,
            added_at_s=now_s if before is None else before.added_at_s,
            checked_at_s=now_s,
            scrubbed_units=0,
            is_by_choice=is_by_choice,
        )

    def is_less_than(self, present: Place, hashed: HashedDirectory) -> bool:
        """Return whether more can be served from a place than from what is to be recorded there."""
        is_wrong = present.suspect or present.changed or present.wrong_names
        is_whole = not (present.is_withdrawn or is_wrong)
        return is_whole and len(present.blocks) > len(held_blocks(self.space, hashed.files))


async def displaced(
    root: Root,
    digest: Digest,
    recorded: Sequence[tuple[HeldVersion, Place]],
    hashed: Callable[[int], Awaitable[HashedDirectory]],
) -> set[int]:
    """Return the places of other content in a directory that are not what they were.

    Only the latest are looked at: of a directory that is published again and again under other
    versions every one would be compared with each. What changed of the others is noticed by
    whoever looks at all places.

    Args:
        root: Where the directory lies.
        digest: What stands there now.
        recorded: What is recorded as standing there, the latest last.
        hashed: Returns what was hashed at a place.
    """
    gone = set()
    for held, place in recorded[-_COMPARED_MAX:]:
        if held.holding.digest != digest:
            try:
                found = await asyncio.to_thread(compare, root, await hashed(place.number))
            except CkptdError:
                gone.add(place.number)
                continue
            if found.is_any:
                gone.add(place.number)
    return gone


def conflict(present: HeldVersion) -> Conflict:
    """Return the error that other content is held under a name and version."""
    place = present.main
    return Conflict(
        f"{present.holding.checkpoint}@{present.holding.version}",
        f"is held with other content, from {place.directory!r} in root {place.root!r}",
        "Publish under another version, or replace it with --replace.",
    )


def full(versions_max: int) -> StorageError:
    """Return the error that there is no room for one more version."""
    return StorageError(
        "catalog",
        f"has room for {versions_max:,} versions, and no more",
        "Let old ones go: 'ckptctl forget NAME@VERSION', or 'remove' to free their room, too.",
    )
