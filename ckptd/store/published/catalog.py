"""The catalog: which versions this node holds, in the database and in memory.

All methods belong to the event loop; disk and database work is done in threads. A version is in
the catalog only when every byte of it was hashed where it lies. It is *stale* when a file
of it changed since: it stays in the catalog for people to see, but is neither served nor
advertised until it is published again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from ckptd.errors import (
    CkptdError,
    Conflict,
    ContentChanged,
    DamagedState,
    NotFound,
    StorageError,
)
from ckptd.limits import HOLDINGS_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import HashedDirectory, held_blocks
from ckptd.store.files.roots import Roots
from ckptd.store.published.serving import ServedVersion, find_changed
from ckptd.store.published.version_rows import (
    VersionRow,
    insert_version,
    pack_version,
    unpack_manifest,
    unpack_version,
)
from ckptd.store.records.database import Database
from ckptd.store.records.newest import NewestVersions
from ckptd.store.records.schema import Connection

T = TypeVar("T")

_OPEN_VERSIONS_MAX: Final = 8
"""Decoded versions kept: one of 20,000 units takes about 15 MB."""


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version in the catalog.

    Attributes:
        holding: What is here of it.
        root: Name of the root it lies in.
        directory: Its directory, relative to the root.
        is_published: It was published here; otherwise a recovery brought it.
        stale_reason: What changed since; empty if nothing is known to have.
    """

    holding: Holding
    root: str
    directory: str
    is_published: bool
    stale_reason: str = ""

    @property
    def is_stale(self) -> bool:
        """It is neither served nor advertised."""
        return bool(self.stale_reason)


class Catalog:
    """What this node holds.

    Attributes:
        on_change: Called whenever :meth:`holdings` would answer differently.
    """

    def __init__(self, database: Database, roots: Roots) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._database = database
        self._roots = roots
        self._versions: dict[Digest, HeldVersion] = {}
        self._newest = NewestVersions(database)
        self._open: OrderedDict[Digest, ServedVersion] = OrderedDict()
        # Serialises what reads the catalog, waits for a thread, and then writes it.
        self._lock = asyncio.Lock()

    async def load(self) -> tuple[HeldVersion, ...]:
        """Read the catalog and look at every file in it. Once, before anything else.

        Returns:
            The versions that are stale.

        Raises:
            DamagedState: The database cannot be read.
        """
        digests = await self._database.run(
            lambda connection: [
                Digest(digest) for (digest,) in connection.execute("SELECT digest FROM versions")
            ]
        )
        await self._newest.load()
        for digest in digests:
            row = await self._row(digest)
            self._versions[digest] = await asyncio.to_thread(self._inspect, row)
        return tuple(held for held in self.versions() if held.is_stale)

    def holdings(self) -> tuple[Holding, ...]:
        """Return what can be served, ordered by checkpoint and version."""
        return tuple(held.holding for held in self.versions() if not held.is_stale)

    def versions(self) -> tuple[HeldVersion, ...]:
        """Return everything, also what is stale, ordered by checkpoint and version."""
        return tuple(
            sorted(
                self._versions.values(),
                key=lambda held: (held.holding.checkpoint, held.holding.version),
            )
        )

    def find(self, checkpoint: CheckpointName, version: Version) -> HeldVersion | None:
        """Return a version, stale or not."""
        return next(
            (
                held
                for held in self._versions.values()
                if (held.holding.checkpoint, held.holding.version) == (checkpoint, version)
            ),
            None,
        )

    def newest_ever(self, checkpoint: CheckpointName) -> Version | None:
        """Return the highest version that was ever added, even if it was removed since."""
        return self._newest.of(checkpoint)

    def had(self, checkpoint: CheckpointName) -> frozenset[Digest]:
        """Return what is here of a checkpoint, and the newest that ever was."""
        here = {
            held.holding.digest
            for held in self._versions.values()
            if held.holding.checkpoint == checkpoint
        }
        newest = self._newest.digest_of(checkpoint)
        return frozenset(here if newest is None else here | {newest})

    async def add(
        self,
        hashed: HashedDirectory,
        *,
        replace: bool = False,
        is_published: bool = True,
        is_newest_counted: bool = True,
    ) -> HeldVersion:
        """Record a version, durably.

        The same content again is held from where it was hashed last, and is not stale any more;
        but a version with units left out does not take the place of a fuller one.

        Args:
            hashed: The version and the files it consists of.
            replace: Other content of the same checkpoint and version may be replaced.
            is_published: Published here, and not recovered.
            is_newest_counted: It counts for :meth:`newest_ever`.

        Returns:
            What is held now.

        Raises:
            Conflict: Other content is held under that checkpoint and version.
            OutOfSpace: No room in the state directory; nothing was changed.
            StorageError: The disk refused; nothing was changed.
        """
        row, added = await asyncio.to_thread(_packed, hashed, is_published=is_published)
        async with self._lock:
            present = self.find(added.holding.checkpoint, added.holding.version)
            if present is None and len(self._versions) >= HOLDINGS_MAX:
                raise StorageError(
                    "catalog", f"has {HOLDINGS_MAX} versions, the most", "Remove some first."
                )
            if present and present.holding.digest != hashed.digest and not replace:
                raise _conflict(present)
            if present and _is_fuller(present, added):
                return present

            def write(connection: Connection) -> None:
                insert_version(connection, row)
                if is_newest_counted:
                    self._newest.note(connection, row.checkpoint, row.version, row.digest)

            await self._database.run(write)
            if present:
                del self._versions[present.holding.digest]
            self._versions[hashed.digest] = added
            self._open.pop(hashed.digest, None)
            if present is None or present.is_stale or present.holding != added.holding:
                self.on_change()
            return added

    async def remove(self, checkpoint: CheckpointName, version: Version) -> HeldVersion:
        """Forget a version, durably. Its files stay where they are.

        Returns:
            What was forgotten.

        Raises:
            NotFound: There is no such version.
            StorageError: The disk refused; nothing was changed.
        """
        async with self._lock:
            held = self.find(checkpoint, version)
            if held is None:
                raise NotFound(f"{checkpoint}@{version}", "is not in this node's catalog")
            digest = held.holding.digest
            await self._database.run(
                lambda connection: connection.execute(
                    "DELETE FROM versions WHERE digest = ?", (digest,)
                )
            )
            del self._versions[digest]
            if not held.is_stale:
                self.on_change()
            return held

    def mark_stale(self, digest: Digest, reason: str) -> None:
        """Stop serving and advertising a version.

        Not durable: :meth:`load` finds out again. A sending thread calls it through
        ``loop.call_soon_threadsafe``.

        Args:
            digest: Which version; one that is unknown or stale already is left alone.
            reason: What changed, a sentence for people.
        """
        held = self._versions.get(digest)
        if held and not held.is_stale:
            self._versions[digest] = replace(held, stale_reason=reason)
            self.on_change()

    async def manifest_bytes(self, digest: Digest) -> bytes:
        """Return an encoded manifest, also of a stale version.

        Raises:
            NotFound: There is no such version.
            DamagedState: What the database has is not that manifest.
        """
        return await self._read(digest, lambda row: unpack_manifest(row, self._database.path))

    async def open_version(self, digest: Digest) -> ServedVersion:
        """Return a version to send bytes from.

        Raises:
            NotFound: There is no such version.
            ContentChanged: It is stale.
            DamagedState: What the database has is not that manifest.
        """
        self._check_servable(digest)
        async with self._lock:
            self._check_servable(digest)
            if digest not in self._open:
                served = await self._read(digest, self._serve)
                self._check_servable(digest)
                self._open[digest] = served
                if len(self._open) > _OPEN_VERSIONS_MAX:
                    self._open.popitem(last=False)
            self._open.move_to_end(digest)
            return self._open[digest]

    def _check_servable(self, digest: Digest) -> None:
        held = self._versions.get(digest)
        if held is None:
            raise _unknown(digest)
        if held.is_stale:
            name = f"{held.holding.checkpoint}@{held.holding.version}"
            raise ContentChanged(name, f"is stale: {held.stale_reason}")

    async def _read(self, digest: Digest, work: Callable[[VersionRow], T]) -> T:
        """Work on a row in a thread; if the row is damaged, mark its version as stale."""
        row = await self._row(digest)
        try:
            return await asyncio.to_thread(work, row)
        except DamagedState as error:
            self.mark_stale(digest, str(error))
            raise

    async def _row(self, digest: Digest) -> VersionRow:
        row = await self._database.run(
            lambda connection: connection.execute(
                "SELECT * FROM versions WHERE digest = ?", (digest,)
            ).fetchone()
        )
        if row is None:
            raise _unknown(digest)
        return VersionRow(*row)

    def _inspect(self, row: VersionRow) -> HeldVersion:
        """Compare the files of a version with what was recorded."""
        try:
            root = self._roots[row.root]
            hashed = unpack_version(row, self._database.path)
        except CkptdError as error:
            return _held(row, BlockSet(), str(error))
        changed = find_changed(root, hashed)
        blocks = held_blocks(AddressSpace(hashed.manifest), hashed.files)
        return _held(row, blocks, str(changed) if changed else "")

    def _serve(self, row: VersionRow) -> ServedVersion:
        return ServedVersion(self._roots[row.root], unpack_version(row, self._database.path))


def _packed(hashed: HashedDirectory, *, is_published: bool) -> tuple[VersionRow, HeldVersion]:
    space = AddressSpace(hashed.manifest)
    row = pack_version(hashed, space, is_published=is_published)
    return row, _held(row, held_blocks(space, hashed.files), "")


def _held(row: VersionRow, blocks: BlockSet, stale_reason: str) -> HeldVersion:
    return HeldVersion(
        holding=Holding(
            checkpoint=row.checkpoint,
            version=row.version,
            digest=row.digest,
            size_bytes=row.size_bytes,
            block_count=row.block_count,
            blocks=blocks,
        ),
        root=row.root,
        directory=row.directory,
        is_published=bool(row.is_published),
        stale_reason=stale_reason,
    )


def _is_fuller(present: HeldVersion, added: HeldVersion) -> bool:
    """The same content, of which more can be served."""
    return (
        present.holding.digest == added.holding.digest
        and not present.is_stale
        and len(present.holding.blocks) > len(added.holding.blocks)
    )


def _conflict(present: HeldVersion) -> Conflict:
    return Conflict(
        f"{present.holding.checkpoint}@{present.holding.version}",
        f"is held with other content, from {present.directory!r} in root {present.root!r}",
        "Publish under another version, or replace it with --replace.",
    )


def _unknown(digest: Digest) -> NotFound:
    return NotFound(f"version {digest}", "is not in this node's catalog")
