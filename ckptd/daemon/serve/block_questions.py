"""Blocks that receivers say were bad are hashed again here, before this node stands by them.

Bit rot and writers through a mapping change content under an unchanged fingerprint: only reading
finds that. A question costs reading one block, at most once a minute for each, one after the
other in one thread, and only for a receiver that the block was sent to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from typing import Final, NamedTuple, Protocol

from ckptd.buffers import page_buffer
from ckptd.errors import CkptdError, ContentChanged, NotFound, StorageError
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, counter
from ckptd.store.published.block_checks import check_block
from ckptd.store.published.checking import ROT
from ckptd.store.published.pieces import StoredPiece

_AGAIN_S: Final = 60.0
"""A block is not read again before this."""
_REMEMBERED_MAX: Final = 4096
"""Blocks whose last check is remembered: a question each second for an hour."""
_WAITING_MAX: Final = 64
_WAIT_S: Final = 5.0
"""For so long, and behind so many, a question waits; half of what the receiver has patience for."""

_log = get_logger()


class Checkable(Protocol):
    """A version whose blocks can be read again."""

    @property
    def space(self) -> AddressSpace:
        """Where each block lies."""

    def pieces(self, start: int, end: int) -> Generator[StoredPiece, None, None]:
        """Yield where some bytes lie."""


class _Checked(NamedTuple):
    at_s: float
    is_right: bool


class BlockQuestions:
    """Checks blocks and counts what came of it; belongs to the event loop.

    Attributes:
        questioned_count: Blocks that receivers asked about.
        rotten_count: Blocks that were wrong here.
        note_read: Given how many bytes were read for an answer.

    Args:
        clock_s: Never goes back.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.questioned_count = 0
        self.rotten_count = 0
        self.note_read: Callable[[int], None] = lambda size_bytes: None
        self._clock_s = clock_s
        self._checked: OrderedDict[tuple[Digest, int], _Checked] = OrderedDict()
        self._reading = asyncio.Lock()
        self._waiting_count = 0

    async def wrong_among(self, digest: Digest, version: Checkable, blocks: BlockSet) -> BlockSet:
        """Return those of some blocks that are not what was published.

        Args:
            digest: Which version.
            version: Where its bytes are.
            blocks: Blocks that are here.

        Raises:
            StorageError: Too many ask, or the disk refused.
        """
        self.questioned_count += len(blocks)
        if self._waiting_count >= _WAITING_MAX:
            raise _too_many()
        self._waiting_count += 1
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._reading.acquire()
        except TimeoutError as error:
            raise _too_many() from error
        finally:
            self._waiting_count -= 1
        try:
            wrong = [block for block in blocks if not await self._is_right(digest, version, block)]
        finally:
            self._reading.release()
        return BlockSet((block, block + 1) for block in wrong)

    async def is_right_elsewhere(
        self, digest: Digest, version: Checkable, blocks: BlockSet
    ) -> bool:
        """Return whether another copy of blocks that were wrong is right, whenever it was read."""
        for block in blocks:
            self._checked.pop((digest, block), None)
        return not await self.wrong_among(digest, version, blocks)

    async def _is_right(self, digest: Digest, version: Checkable, block: int) -> bool:
        key = (digest, block)
        known = self._checked.get(key)
        if known is not None and self._clock_s() - known.at_s < _AGAIN_S:
            return known.is_right
        (place,) = version.space.places((block, block + 1))
        is_right = await asyncio.to_thread(_read, version, place)
        self.note_read(place.size_bytes)
        self._checked[key] = _Checked(self._clock_s(), is_right)
        self._checked.move_to_end(key)
        if len(self._checked) > _REMEMBERED_MAX:
            self._checked.popitem(last=False)
        if not is_right:
            self.rotten_count += 1
            manifest = version.space.manifest
            _log.warning(
                "version.rotten",
                checkpoint=manifest.checkpoint,
                version=manifest.version,
                digest=digest,
                unit=manifest.units[place.unit].path,
                block=block,
                why=ROT,
            )
        return is_right


def _read(version: Checkable, place: BlockPlace) -> bool:
    """Read a block and return whether it is right."""
    start = version.space.block_start(place.block)
    pieces = version.pieces(start, start + place.size_bytes)
    try:
        check_block(pieces, page_buffer(place.size_bytes), place.digest, reason=ROT)
    except (ContentChanged, NotFound):
        return False
    return True


def _too_many() -> CkptdError:
    return StorageError("block", "cannot be looked at now: too many are asked about")


QUESTION_METRICS: Final[Sequence[MetricRow[BlockQuestions]]] = (
    counter(
        "questioned_blocks",
        "Blocks that receivers said were bad, and that this node was asked about.",
        lambda questions: questions.questioned_count,
    ),
    counter(
        "rotten_blocks",
        "Those of them that were wrong here: bit rot, or a writer through a mapping.",
        lambda questions: questions.rotten_count,
    ),
)
