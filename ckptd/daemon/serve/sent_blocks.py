"""Which blocks were sent to whom in this life of the daemon, as far as that is remembered."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest

_ENTRIES_MAX: Final = 512
"""Of so many receivers and versions. More than connections that a node usually has; an entry is a
compressed bitmap, a few hundred bytes where ranges lie side by side."""


class SentBlocks:
    """The record. What it has forgotten was not sent."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, Digest], BlockSet] = OrderedDict()

    def note(self, receiver: str, digest: Digest, blocks: BlockSet) -> None:
        """Take note that blocks of a version are sent to a receiver."""
        key = (receiver, digest)
        self._sent[key] = self._sent.get(key, BlockSet()) | blocks
        self._sent.move_to_end(key)
        if len(self._sent) > _ENTRIES_MAX:
            self._sent.popitem(last=False)

    def among(self, receiver: str, digest: Digest, blocks: BlockSet) -> BlockSet:
        """Return those of some blocks that were sent to a receiver."""
        return blocks & self._sent.get((receiver, digest), BlockSet())
