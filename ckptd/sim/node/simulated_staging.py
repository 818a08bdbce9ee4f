"""A recovery on its node: what is in staging, what is in the journal."""

from __future__ import annotations

from ckptd.core.events import RecoveryRequested, Refusal
from ckptd.limits import COPIED_PER_FETCHED, uncommitted_bytes_max
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.unit_choice import Choice
from ckptd.sim.world.disk import Disk
from ckptd.sim.world.layouts import SavedVersion
from ckptd.sim.world.mishaps import Mishaps


class SimulatedStaging:
    """What a node has of a version that it recovers.

    Attributes:
        request: What was asked for; in the journal, with ``choice``, ``version`` and ``committed``.
        choice: Which units are wanted; ``None``: all.
        version: Which version, once its manifest is here.
        committed: Blocks that survive a crash.
        visible: Blocks of units that stand under their final names already.
        has_placed: Some do, or were about to.
        uncommitted_bytes: Bytes of blocks that would not; what was copied on the node counts less.
    """

    def __init__(
        self, request: RecoveryRequested, disk: Disk, choice: Choice | None = None
    ) -> None:
        self.request = request
        self.choice = choice
        self.version: SavedVersion | None = None
        self.committed = BlockSet()
        self.visible = BlockSet()
        self.has_placed = False
        self.uncommitted_bytes = 0
        self._counted: dict[int, int] = {}  # uncommitted block → what it counts
        self._disk = disk
        self._written = bytearray()
        self._full_bytes = 0

    @property
    def recovery(self) -> RecoveryId:
        """For which recovery."""
        return self.request.recovery

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing can be written."""
        return self._disk.refusal

    @property
    def is_full(self) -> bool:
        """So much is not committed that nothing more is taken, as in the real staging."""
        return self.uncommitted_bytes >= self._full_bytes

    def known_version(self) -> SavedVersion:
        """Return the version; only called once it is known."""
        assert self.version is not None, f"{self.recovery}: no manifest yet"
        return self.version

    def wanted(self, version: SavedVersion) -> BlockSet:
        """Return the blocks of a version that are wanted by now."""
        return version.blocks if self.choice is None else self.choice.blocks_in(version.space)

    def open(self) -> None:
        """Begin with what was committed; whatever else lay there is lost."""
        version = self.known_version()
        self._full_bytes = uncommitted_bytes_max(
            version.size_bytes - version.space.set_bytes(version.zeros)
        )
        self._written = bytearray(version.space.block_count)
        self.uncommitted_bytes = 0
        self._counted.clear()
        for block in self.committed:
            self._written[block] = 1

    def hold(self, blocks: BlockSet) -> None:
        """Have blocks that need not be written."""
        self.committed |= blocks
        for block in blocks:
            self._written[block] = 1

    def take(self, run: BlockRun, bad: tuple[int, ...], *, is_copied: bool = False) -> None:
        """Verify blocks and write the good ones."""
        version = self.known_version()
        for block in range(run.start, run.end):
            if not self._written[block] and block not in bad:
                self._written[block] = 1
                size_bytes = version.run_bytes(block, block + 1)
                counted = size_bytes // COPIED_PER_FETCHED if is_copied else size_bytes
                self._counted[block] = counted
                self.uncommitted_bytes += counted

    def sweep(self, mishaps: Mishaps) -> BlockSet:
        """Let somebody remove about half of what was committed and is not visible.

        Returns:
            What was removed.
        """
        staged = self.committed - self.visible
        removed = BlockSet((block, block + 1) for block in staged if mishaps.pick(0, 1))
        self.committed -= removed
        return removed

    def commit(self, blocks: BlockSet) -> None:
        """Let blocks survive a crash from now on."""
        self.committed |= blocks
        self.uncommitted_bytes -= sum(self._counted.pop(block, 0) for block in blocks)
