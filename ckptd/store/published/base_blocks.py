"""Blocks of a held version that blocks of another one are coded against.

What is read is hashed again: both ends of a transfer look at their own base, so what comes out
wrong is the fault of neither base, and a rotten file is found where it lies.
"""

from __future__ import annotations

from ckptd.errors import ContentChanged, StorageError
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.store.published.block_checks import check_block
from ckptd.store.published.checking import ROT
from ckptd.store.published.serving import ServedVersion


class BaseBlocks:
    """Reads blocks of a held version. Any thread.

    Attributes:
        digest: Identity of the version.
        space: Where each of its blocks lies.
        is_lost: A block of it was not here any more, or not right.
    """

    def __init__(self, version: ServedVersion) -> None:
        self.digest: Digest = version.digest
        self.space: AddressSpace = version.space
        self.is_lost = False
        self._version = version

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block of this version; return whether it is here, and right. Blocks."""
        start = self.space.block_start(place.block)
        end = start + place.size_bytes
        try:
            if not self._version.holds(start, end):
                raise ContentChanged("base", "has a block that is not here")
            check_block(self._version.pieces(start, end), into, place.digest, reason=ROT)
        except StorageError:
            self.is_lost = True
        return not self.is_lost
