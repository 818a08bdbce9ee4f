"""What lies on a node's disks already, of versions that it may be asked to recover."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.disk import Disk
from ckptd.sim.world.layouts import SavedVersion


@dataclass(frozen=True, slots=True)
class NearbyBlocks:
    """Blocks of a version that lie on a node in older versions, as far as is known there.

    Attributes:
        version: Of which version.
        blocks: Which blocks.
        wrong: Those of them that are not what they were.
        gone: Those of them whose files are not there any more.
    """

    version: SavedVersion
    blocks: BlockSet
    wrong: BlockSet = field(default_factory=BlockSet)
    gone: BlockSet = field(default_factory=BlockSet)


class Shelf:
    """Older versions and other places on one node.

    Args:
        disk: They are copied as fast as this one works.
        server: The node's serving side, which knows what rotted at its places.
        places: What stands on the node under a final name, by digest.
    """

    def __init__(
        self,
        disk: Disk,
        server: Server,
        places: Mapping[Digest, tuple[SavedVersion, BlockSet]],
    ) -> None:
        self._disk = disk
        self._server = server
        self._places = places
        self._older: dict[Digest, NearbyBlocks] = {}
        self._known_wrong: dict[Digest, BlockSet] = {}

    def put(self, nearby: NearbyBlocks) -> None:
        """Have blocks of a version in older ones."""
        self._older[nearby.version.digest] = nearby

    def believed(self, digest: Digest) -> BlockSet:
        """Return the blocks of a version that are thought to lie here."""
        standing = self._standing(digest)
        older = self._older.get(digest)
        blocks = standing if older is None else standing | older.blocks
        return blocks - self._known_wrong.get(digest, BlockSet())

    def right(self, digest: Digest) -> BlockSet:
        """Return the blocks of a version that lie here and are right."""
        standing = self._standing(digest)
        right, older = standing - self._server.spoiled(digest, standing), self._older.get(digest)
        return right if older is None else right | (older.blocks - older.wrong - older.gone)

    def _standing(self, digest: Digest) -> BlockSet:
        """Return the blocks of a version that stand at places, of a joined one in its shards."""
        joined = self._server.joints.get(digest)
        if joined is not None:
            return joined.of_members(self._standing)
        return self._places[digest][1] if digest in self._places else BlockSet()

    def are_gone(self, digest: Digest, blocks: BlockSet) -> bool:
        """Return whether none of some blocks can be read."""
        older = self._older.get(digest)
        return older is not None and blocks.issubset(older.gone - self.right(digest))

    def note_wrong(self, digest: Digest, blocks: BlockSet) -> None:
        """Think of some blocks no more that they lie here."""
        self._known_wrong[digest] = self._known_wrong.get(digest, BlockSet()) | blocks

    def copy(self, size_bytes: int, done: Callable[[], None]) -> None:
        """Copy so many bytes, after what was asked for before."""
        self._disk.work(size_bytes, done, sync_ns=0)

    def restart(self) -> None:
        """Drop all work that was asked for."""
        self._disk.restart()
