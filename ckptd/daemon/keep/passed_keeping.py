"""Keeps the descriptors of files that their owners passed, for as long as versions use them.

A restart closes them. What was read through them is off offer then, with the reason, unless the
service manager kept them (its file descriptor store), or the daemon may open the files by now.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ckptd.errors import CkptdError, StorageError
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.passed_files import Inode
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion
from ckptd.store.published.readable import UnitPath, closed_files, not_passed, unreadable
from ckptd.store.records.passed_records import PassedRecords

_EVERY_S: Final = 10.0
"""How often it is looked what is not used any more: so long a removed file keeps its room."""

CLOSED: Final = (
    "files of it are their owner's alone, and were read through descriptors that a restart has "
    "closed: publish it again"
)
"""Why a version is off offer after a restart."""

_log = get_logger()


class PassedKeeping:
    """Knows which places use files that were passed. Belongs to the event loop.

    Args:
        catalog: Has the places.
        roots: Where they lie, with what was passed.
        records: Which places they are, over restarts.
    """

    def __init__(self, catalog: Catalog, roots: Roots, records: PassedRecords) -> None:
        self._catalog = catalog
        self._roots = roots
        self._records = records
        self._inodes: dict[int, frozenset[Inode] | None] = {}

    async def load(self) -> None:
        """Take places off offer that cannot be read in this life. Before anything is served.

        Raises:
            StorageError: The database cannot be read.
        """
        for number in sorted(await self._records.places()):
            found = self._catalog.place(number)
            if found is None or found[1].root not in self._roots:
                continue
            self._inodes[number] = None
            root = self._roots[found[1].root]
            try:
                hashed = await self._catalog.hashed(number)
                closed = await asyncio.to_thread(_closed, root, hashed)
            except CkptdError as error:
                self._withhold(number, found[0], str(error), error.hint)
            else:
                if closed is not None:
                    self._withhold(number, found[0], CLOSED, closed.hint)

    def _withhold(self, number: int, held: HeldVersion, why: str, hint: str) -> None:
        self._catalog.withhold(number, why)
        _log.warning(
            "version.withheld",
            checkpoint=held.holding.checkpoint,
            version=held.holding.version,
            why=why,
            hint=hint,
        )

    async def note(self, number: int, hashed: HashedDirectory) -> None:
        """A version was published at a place.

        Args:
            number: The place.
            hashed: What was hashed there.

        Raises:
            StorageError: The disk refused.
        """
        known = self._inodes.pop(number, frozenset())
        if hashed.passed:
            self._inodes[number] = None
        if hashed.passed or known != frozenset():
            await self._records.note(number, is_passed=bool(hashed.passed))

    async def run(self) -> None:
        """Close what is not used any more, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> int:
        """Close what is not used any more; return how many descriptors that were."""
        wanted: set[Inode] = set()
        for number in list(self._inodes):
            found = self._catalog.place(number)
            if found is None:
                del self._inodes[number]
            elif not found[1].is_withdrawn:
                inodes = self._inodes[number] or await self._look_up(number)
                wanted |= inodes
        return await asyncio.to_thread(self._roots.passed.keep_only, wanted)

    async def _look_up(self, number: int) -> frozenset[Inode]:
        found = self._catalog.place(number)
        if found is None or found[1].root not in self._roots:
            return frozenset()
        device = self._roots[found[1].root].device
        try:
            hashed = await self._catalog.hashed(number)
        except CkptdError:
            return frozenset()  # it was forgotten meanwhile, or is damaged, which the catalog says
        inodes = await asyncio.to_thread(_inodes_of, hashed, device)
        if number in self._inodes:
            self._inodes[number] = inodes
        return inodes


def _inodes_of(hashed: HashedDirectory, device: int) -> frozenset[Inode]:
    """Return the files of a place. Long for many."""
    files = hashed.files
    return frozenset(Inode(device, files.facts(unit)[0]) for unit in files.units())


def _closed(root: Root, hashed: HashedDirectory) -> StorageError | None:
    """Return which files of a place this process may not read and nobody passed. Blocks.

    Raises:
        CkptdError: The file system refused, or a directory is gone.
    """
    units = enumerate(hashed.files)
    files = [UnitPath(hashed.path_of(unit)) for unit, file in units if file is not None]
    closed = not_passed(root, closed_files(root, files))
    return unreadable(root, hashed.directory, closed, len(files)) if closed else None
