"""The catalog's part of the database: versions and places, read and written durably."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from weakref import WeakValueDictionary

from ckptd.errors import DamagedState, NotFound
from ckptd.model.encoded.decoding import encoding_of
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection
from ckptd.store.records.version_rows import (
    ListedVersion,
    StoredPlace,
    StoredVersion,
    VersionRow,
    delete_place,
    list_versions,
    read_places,
    read_version,
    renew_files,
    unpack_place,
    unpack_version,
    write_place,
    write_version,
)


class VersionRecords:
    """Versions and places in the database. All raise what :meth:`Database.run` raises.

    Whoever uses a version while others do shares its manifest with them: one can have 64 MiB.

    Args:
        database: Where they are kept.
        on_damage: Called with the places of a version of which a row turned out to be damaged.
    """

    def __init__(
        self, database: Database, on_damage: Callable[[Sequence[StoredPlace], DamagedState], None]
    ) -> None:
        self._database = database
        self._on_damage = on_damage
        self._used: WeakValueDictionary[Digest, Manifest] = WeakValueDictionary()
        self._unpacking = asyncio.Lock()

    @property
    def path(self) -> str:
        """Path of the database, for messages."""
        return self._database.path

    async def listed(self) -> list[ListedVersion]:
        """Return everything but what is long, the version that was added last in front."""
        return await self._database.run(list_versions)

    async def read(self, digest: Digest) -> StoredVersion:
        """Return what is kept of a version.

        Raises:
            NotFound: Nothing is.
        """
        stored = await self._database.run(partial(read_version, digest=digest))
        if stored is None:
            raise unknown(digest)
        return stored

    async def manifest_bytes(self, digest: Digest) -> bytes | memoryview:
        """Return an encoded manifest; raises what :meth:`manifest` does."""
        return encoding_of(await self.manifest(digest))

    async def manifest(self, digest: Digest) -> Manifest:
        """Return a manifest, the same one to everybody who has it at a time.

        Raises:
            NotFound: There is no such version.
            DamagedState: What is kept is not that manifest.
        """
        used = self._used.get(digest)
        if used is not None:
            return used  # whatever else is unpacked now
        async with self._unpacking:
            used = self._used.get(digest)
            if used is None:
                stored = await self.read(digest)
                try:
                    used = await asyncio.to_thread(unpack_version, stored.row, self.path)
                except DamagedState as error:
                    self._on_damage(stored.places, error)
                    raise
                self._used[digest] = used
            return used

    async def hashed(self, digest: Digest, numbers: Iterable[int]) -> dict[int, HashedDirectory]:
        """Return what was hashed at some places of a version, by their numbers.

        A place that was forgotten meanwhile is missing.

        Raises:
            NotFound: There is no such version.
            DamagedState: What is kept is not that version.
        """
        manifest = await self.manifest(digest)
        stored = await self._database.run(partial(read_places, digest=digest))
        if not stored:
            raise unknown(digest)
        wanted = set(numbers)
        rows = [row for row in stored if row.place in wanted]

        def unpack() -> dict[int, HashedDirectory]:
            return {row.place: unpack_place(row, manifest, self.path) for row in rows}

        try:
            return await asyncio.to_thread(unpack)
        except DamagedState as error:
            self._on_damage(stored, error)
            raise

    async def add(
        self,
        rows: Iterable[tuple[VersionRow, StoredPlace]],
        forgotten: Iterable[int],
        note: Callable[[Connection], None],
    ) -> list[int]:
        """Write several versions, each with a place, or none; return the numbers of the places.

        Args:
            rows: Each version, which is written over what is kept of it, and the place; its number
                does not matter: the directory says which place it is.
            forgotten: Places that go, in the same transaction.
            note: What else is to be written in it.
        """

        def write(connection: Connection) -> list[int]:
            for number in forgotten:
                delete_place(connection, number)
            numbers = []
            for row, place in rows:
                write_version(connection, row)
                numbers.append(write_place(connection, place))
            note(connection)
            return numbers

        return await self._database.run(write)

    async def delete(self, numbers: Iterable[int]) -> None:
        """Delete places, each with its version if that has no other."""

        def work(connection: Connection) -> None:
            for number in numbers:
                delete_place(connection, number)

        await self._database.run(work)

    async def set_withdrawn(self, numbers: Iterable[int], *, is_withdrawn: bool) -> None:
        """Write whether places are off offer."""
        rows = [(is_withdrawn, number) for number in numbers]
        await self._database.run(
            lambda connection: connection.executemany(
                "UPDATE places SET is_withdrawn = ? WHERE place = ?", rows
            )
        )

    async def set_choice(
        self, number: int, note: Callable[[Connection], None], *, is_by_choice: bool
    ) -> None:
        """Write whether nobody asked for what a place lacks.

        Args:
            number: Which place.
            note: What else is to be written in the same transaction.
            is_by_choice: Nobody did.
        """

        def work(connection: Connection) -> None:
            connection.execute(
                "UPDATE places SET is_by_choice = ? WHERE place = ?", (is_by_choice, number)
            )
            note(connection)

        await self._database.run(work)

    async def renew_files(
        self,
        number: int,
        files: Mapping[int, UnitFile],
        wrong: Collection[int],
        checked_at_s: float | None,
    ) -> UnitFiles | None:
        """Write other files for some units of a place.

        Args:
            number: Which place.
            files: The files, by unit.
            wrong: Units whose files are not what was published.
            checked_at_s: When all of it was found right; ``None``: it was not.

        Returns:
            What is recorded there from now on; ``None``: there is no such place.

        Raises:
            DamagedState: What the place has are no files.
        """
        return await self._database.run(
            lambda connection: renew_files(connection, number, files, wrong, checked_at_s)
        )

    async def note_scrubbed(self, number: int, units_done: int, checked_at_s: float | None) -> None:
        """Write how far scrubbing a place is, and when all of it was found right."""
        row = (units_done, checked_at_s, number)
        await self._database.run(
            lambda connection: connection.execute(
                "UPDATE places SET scrubbed_units = ?, checked_at_s = coalesce(?, checked_at_s)"
                " WHERE place = ?",
                row,
            )
        )


def unknown(digest: Digest) -> NotFound:
    """Return the error that a version is not held."""
    return NotFound(f"version {digest}", "is not in this node's catalog")
