"""A version that a recovery is bringing, of which bytes can be sent already.

It is served from its staging, where only this node writes, and no block twice: there is nothing
to compare until the version is placed.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from functools import partial

from ckptd.errors import NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.joint import Joint
from ckptd.model.manifest import Unit
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.store.files.hashing import digest_of
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.pieces import StoredPiece, check_unchanged, open_published, read_pieces


class StagedVersion:
    """A version that a recovery is bringing, of which bytes can be sent already.

    Any thread may ask for bytes, at any time: nothing stays open between pieces, so the recovery
    need not wait for readers when it ends. If it placed the version, the rest of a response comes
    from the target, compared as for a held version; if it was discarded, the response ends short.

    Attributes:
        space: Where each block lies.
        size_bytes: Length of the address space.
        optional: The blocks of optional units.
    """

    def __init__(self, root: Root, staging: str, target: str, space: AddressSpace) -> None:
        """Begin with no block.

        Args:
            root: Where the version will stand.
            staging: The recovery's directory, relative to the root.
            target: Where that will be renamed to, relative to the root.
            space: What the version consists of.
        """
        self.space = space
        self.size_bytes = space.size_bytes
        self.optional = space.optional_blocks()
        self._blocks = BlockSet()
        self._withheld = BlockSet()
        self._root = root
        self._staging = staging
        self._target = target
        self._files: UnitFiles | None = None
        self._is_moving = False
        self._joint: Joint | None = None
        self._members: dict[Digest, StagedVersion] = {}

    @property
    def blocks(self) -> BlockSet:
        """The blocks that are here, durable and in the journal, and served."""
        return self._blocks - self._withheld

    def add(self, blocks: BlockSet) -> None:
        """Serve more blocks. Like :meth:`expect_rename`, for one thread at a time."""
        self._blocks |= blocks
        for digest, member in self._members.items():
            member.add(self._joint_of_members.to_member(digest, blocks))

    def withhold(self, blocks: BlockSet) -> None:
        """Serve some blocks no more: they are wrong on the disk. For the event loop."""
        self._withheld |= blocks

    def expect_rename(self, files: UnitFiles | None) -> None:
        """Set the files as they will be after the rename; ``None``: they are not final yet."""
        self._files = files
        for digest, member in self._members.items():
            units = self._joint_of_members.units_of(digest)
            of_member = None if files is None else UnitFiles(files[unit] for unit in units)
            member.expect_rename(of_member)

    def begin_moving(self) -> None:
        """Expect that files move to the target one by one, from now until :meth:`end_moving`."""
        self._is_moving = True
        for member in self._members.values():
            member.begin_moving()

    def end_moving(self, files: UnitFiles) -> None:
        """Set the files that stand at the target now; the others are where they were."""
        self.expect_rename(files)
        self._is_moving = False
        for member in self._members.values():
            member._is_moving = False  # noqa: SLF001 (of the same class)

    def split(
        self, joint: Joint, spaces: Mapping[Digest, AddressSpace]
    ) -> Mapping[Digest, StagedVersion]:
        """Return what is here of each member of a joined version, from now on kept up to date.

        Args:
            joint: What this is the version of.
            spaces: What the members consist of, by their identity.
        """
        self._joint = joint
        self._members = {
            digest: StagedVersion(self._root, self._staging, self._target, space)
            for digest, space in spaces.items()
        }
        self.add(self._blocks)
        self.expect_rename(self._files)
        return self._members

    @property
    def _joint_of_members(self) -> Joint:
        assert self._joint is not None, "there are members only of what was joined"
        return self._joint

    def holds(self, start: int, end: int) -> bool:
        """Return whether all of the bytes ``start`` … ``end - 1`` are here."""
        if not 0 <= start < end <= self.size_bytes:
            return False
        first = self.space.block_at(start)
        run = self.blocks.first_run(first)
        return run is not None and run.start == first and self.space.block_at(end - 1) < run.end

    def is_right(self, place: BlockPlace, block: memoryview) -> bool:
        """Return whether what was read of a block is what was published. Blocks."""
        return digest_of(block) == place.digest

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[StoredPiece, None, None]:
        """Yield where the bytes ``start`` … ``end - 1`` lie; see ``ServedVersion.pieces``.

        Raises:
            NotFound: The recovery was discarded, or left the unit out.
            ContentChanged: The version is placed, and a file is not what it was then.
            StorageError: The file system refused.
        """
        assert self.holds(start, end), "asked for bytes that are not held"
        with Names(self._root) as names:
            extents = self.space.extents(start, end)
            open_unit = partial(self._open, names)
            yield from read_pieces(
                extents,
                open_unit,
                self._compare,
                drops_used=drops_used,
                compressed=self._compressed,
            )

    def _open(self, names: Names, unit: int) -> int:
        path = self.space.manifest.units[unit].path
        try:
            return names.open_file(inside(self._staging, path), os.O_RDONLY)
        except NotFound:
            # The files are set before the rename of all, so they are known here if it has happened.
            is_there = self._files is not None and self._files.has(unit)
            if not (is_there or self._is_moving):
                raise
        path = inside(self._target, path)
        if self._files is not None:
            path = self._files.path_of(unit, path)
        return open_published(self._root, names, path)

    def _compressed(self, unit: int) -> Unit | None:
        """Return a unit that stands compressed where a copy grows."""
        is_compressed = self._files is not None and self._files.is_compressed(unit)
        return self.space.manifest.units[unit] if is_compressed else None

    def _compare(self, fd: int, unit: int) -> None:
        files = self._files
        file = files[unit] if files else None
        if file:
            path = inside(self._target, self.space.manifest.units[unit].path)
            check_unchanged(fd, file.fingerprint, self._root.absolute(path))
