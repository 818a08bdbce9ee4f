"""Serving: a held version as the address space that its peers ask for.

Whatever is sent was compared with what was hashed: :mod:`ckptd.store.published.pieces`.
"""

from __future__ import annotations

from collections.abc import Generator

from ckptd.errors import CkptdError, ContentChanged
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import HashedDirectory, held_blocks, is_unchanged
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.pieces import (
    StoredPiece,
    check_unchanged,
    content_changed,
    open_published,
    read_pieces,
)


class ServedVersion:
    """A held version from which bytes can be sent. Immutable; any thread may use it.

    Attributes:
        digest: Identity of the version.
        size_bytes: Length of its address space.
        space: Where each block lies.
        blocks: The blocks that are here.
    """

    def __init__(self, root: Root, hashed: HashedDirectory) -> None:
        self.digest: Digest = hashed.digest
        self.space = AddressSpace(hashed.manifest)
        self.size_bytes = self.space.size_bytes
        self.blocks = held_blocks(self.space, hashed.files)
        self._root = root
        self._hashed = hashed
        self._is_whole = all(hashed.files)

    def holds(self, start: int, end: int) -> bool:
        """Return whether all of the bytes ``start`` … ``end - 1`` are here."""
        if not 0 <= start < end <= self.size_bytes:
            return False
        files = self._hashed.files
        return self._is_whole or all(
            files[extent.unit] for extent in self.space.extents(start, end)
        )

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[StoredPiece, None, None]:
        """Yield where the bytes ``start`` … ``end - 1`` lie, in order. Blocks.

        The consumer sends each piece before it asks for the next, and closes the generator
        if it stops early. A piece is known to be unchanged once the generator has continued
        without an error.

        Args:
            start: The first.
            end: The one after the last.
            drops_used: Drop a piece from the page cache when the next one is asked for.

        Raises:
            ContentChanged: A file is gone, or not what it was when it was hashed. The
                catalog must know: :meth:`Catalog.mark_stale`.
            StorageError: The file system refused.
        """
        assert self.holds(start, end), "asked for bytes that are not held"
        with Names(self._root) as names:
            extents = self.space.extents(start, end)
            yield from read_pieces(names, extents, self._open, self._compare, drops_used=drops_used)

    def _open(self, names: Names, unit: int) -> int:
        return open_published(self._root, names, self._hashed.path_of(unit))

    def _compare(self, fd: int, unit: int) -> None:
        file = self._hashed.files[unit]
        assert file
        path = self._root.absolute(self._hashed.path_of(unit))
        check_unchanged(fd, file.fingerprint, path)


def find_changed(root: Root, hashed: HashedDirectory) -> CkptdError | None:
    """Look at every file of a version; return what is wrong with the first that changed.

    Cost: one ``stat`` for each unit.
    """
    with Names(root) as names:
        for unit, file in enumerate(hashed.files):
            if not file:
                continue
            path = hashed.path_of(unit)
            try:
                facts = names.stat(path)
            except CkptdError as error:
                return error
            if facts is None:
                return ContentChanged(f"file {root.absolute(path)}", "was removed")
            if not is_unchanged(facts, file.fingerprint):
                return content_changed(root.absolute(path))
    return None
