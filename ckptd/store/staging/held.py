"""Which blocks of a recovery are held, and how far behind the journal is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import final

from ckptd.errors import StorageError
from ckptd.limits import COPIED_PER_FETCHED, uncommitted_bytes_max
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace, BlockPlace


@final
class HeldBlocks:
    """The blocks that are verified and written, shared by the lanes of one recovery.

    A lane is admitted before it writes and notes afterwards what it wrote. Bytes that are
    admitted or written and not released count as uncommitted; a crash would lose them, so a
    lane waits while there are too many. A block counts once, however often it is delivered; what
    is copied on this node counts less, as it does not travel again.

    Attributes:
        uncommitted_bytes_max: Most uncommitted bytes, a commit that is under way included.
        waiting: How many lanes wait at the moment.
    """

    def __init__(self, subject: str, space: AddressSpace) -> None:
        """Begin with no block.

        Args:
            subject: What refusals are about.
            space: What the blocks are of.
        """
        self.uncommitted_bytes_max = uncommitted_bytes_max(space.size_bytes)
        self.waiting = 0
        self._subject = subject
        self._held = bytearray(space.block_count)
        self._uncommitted: dict[int, int] = {}  # block → what it counts
        self._uncommitted_bytes = 0  # their sum, and what is admitted
        self._writers: dict[int, list[int]] = {}  # threads between admission and note: turns
        self._admitted = 0  # turns so far
        self._awaiting = 0  # threads that wait for some of them
        self._ended = ""  # why no lane is admitted any more
        self._refusal: type[StorageError] = StorageError
        self._changed = threading.Condition(threading.Lock())

    def __contains__(self, block: int) -> bool:
        return self._held[block] == 1

    def missing_count(self, start: int, end: int) -> int:
        """Return how many blocks of a run are not held."""
        return self._held.count(0, start, end)

    def expect(self, size_bytes: int) -> None:
        """Go by what is written: zeros that are here already take no part in a commit."""
        with self._changed:
            self.uncommitted_bytes_max = uncommitted_bytes_max(size_bytes)

    def add(self, blocks: BlockSet) -> None:
        """Hold blocks that the journal has already."""
        with self._changed:
            for start, end in blocks.runs():
                self._held[start:end] = b"\1" * (end - start)

    def admit(self, places: Sequence[BlockPlace], *, is_copied: bool = False) -> int:
        """Wait until blocks that are not held yet may be written.

        Args:
            places: The blocks.
            is_copied: They are copied on this node.

        Returns:
            What they count; unless it is 0, pass it to :meth:`note`, also after a failure.

        Raises:
            StorageError: The staging has ended; as ``StagingLost`` if that is why.
        """
        with self._changed:
            while True:
                need = sum(
                    _counted(place.size_bytes, is_copied=is_copied)
                    for place in places
                    if not self._held[place.block]
                )
                if not need:
                    return 0
                if self._ended:
                    raise self._refusal(self._subject, self._ended)
                total = self._uncommitted_bytes + need
                if total <= self.uncommitted_bytes_max or total == need:
                    self._uncommitted_bytes = total
                    self._admitted += 1
                    self._writers.setdefault(threading.get_ident(), []).append(self._admitted)
                    return need
                self.waiting += 1
                self._changed.wait()
                self.waiting -= 1

    def note(
        self, written: Sequence[BlockPlace], admitted_bytes: int, *, is_copied: bool = False
    ) -> None:
        """Hold what was written; what was admitted beyond it no longer counts.

        Args:
            written: The blocks.
            admitted_bytes: What :meth:`admit` returned.
            is_copied: As there.
        """
        with self._changed:
            turns = self._writers[threading.get_ident()]
            turns.pop()
            if not turns:
                del self._writers[threading.get_ident()]
            for block, _, _, size_bytes, _ in written:
                if not self._held[block]:
                    self._held[block] = 1
                    counted = _counted(size_bytes, is_copied=is_copied)
                    self._uncommitted[block] = counted
                    admitted_bytes -= counted
            self._uncommitted_bytes -= admitted_bytes
            if admitted_bytes or self._ended or self._awaiting:
                self._changed.notify_all()

    def release(self, blocks: BlockSet) -> None:
        """Note that the journal has these blocks; lanes that wait continue."""
        with self._changed:
            for block in blocks:
                self._uncommitted_bytes -= self._uncommitted.pop(block, 0)
            self._changed.notify_all()

    def end(self, reason: str, refusal: type[StorageError] = StorageError) -> None:
        """Admit no lane any more; those that wait are refused. The first reason is kept.

        Args:
            reason: Why, to stand behind the subject.
            refusal: As what they are refused.
        """
        with self._changed:
            if not self._ended:
                self._ended, self._refusal = reason, refusal
            self._changed.notify_all()

    def wait_for_writers(self) -> None:
        """Wait until every lane that was admitted has noted what it wrote."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)

    def wait_for_present_writers(self) -> None:
        """Wait until every lane that was admitted so far has noted what it wrote."""
        with self._changed:
            last = self._admitted
            self._awaiting += 1
            self._changed.wait_for(lambda: all(turns[0] > last for turns in self._writers.values()))
            self._awaiting -= 1


def _counted(size_bytes: int, *, is_copied: bool) -> int:
    """Return what a block counts: at least a byte, so that none is taken for held."""
    return max(size_bytes // COPIED_PER_FETCHED, 1) if is_copied else size_bytes
