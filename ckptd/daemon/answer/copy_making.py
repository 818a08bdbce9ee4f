"""Makes copies in a thread of its own, and says how far that is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ckptd.control.messages.materialising import MaterialiseProgress
from ckptd.errors import CkptdError
from ckptd.model.words import MaterialiseStage
from ckptd.store.materialising.chain_files import ChainFiles, ChainVersion, chain_files
from ckptd.store.materialising.made_note import MadeNote
from ckptd.store.materialising.making import CopyTarget, make_copy, standing_copy
from ckptd.store.materialising.verified_blocks import VerifiedBlocks
from ckptd.store.trees.finishing import Finishing

_PROGRESS_S: Final = 1.0
"""How often progress is reported."""

_Found = TypeVar("_Found")


@dataclass(slots=True)
class MakingProgress:
    """How far one is. Its threads write it, the event loop reads it.

    Attributes:
        stage: What it does.
        done_bytes: How much of that is done.
        total_bytes: How much there is to do; 0: not known yet.
        is_stopped: Nobody wants it any more.
    """

    stage: MaterialiseStage = MaterialiseStage.WAITING
    done_bytes: int = 0
    total_bytes: int = 0
    is_stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, stage: MaterialiseStage, total_bytes: int = 0) -> None:
        """Take note of what is done from now on."""
        self.stage, self.done_bytes, self.total_bytes = stage, 0, total_bytes

    def note(self, size_bytes: int) -> None:
        """Take note that more is done.

        Raises:
            CkptdError: Nobody wants it any more.
        """
        if self.is_stopped:
            raise CkptdError("materialising", "was cancelled")
        with self._lock:
            self.done_bytes += size_bytes

    def message(self) -> MaterialiseProgress:
        """Return what there is to say of it."""
        return MaterialiseProgress(
            stage=self.stage, bytes_done=self.done_bytes, bytes_total=self.total_bytes
        )


class Made(Generic[_Found]):
    """Takes what comes of a work that reports progress.

    Attributes:
        result: That.
    """

    result: _Found


class CopyMaking:
    """Makes copies, one at a time: each keeps many blocks in memory and writes to the same disks.

    Belongs to the event loop.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "materialise")

    def standing(
        self, target: CopyTarget, found: Made[MadeNote | None]
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """See whether a copy stands at its target already; raises as :func:`standing_copy`."""
        progress = MakingProgress()

        def work() -> MadeNote | None:
            progress.begin(MaterialiseStage.COMPARING)
            return standing_copy(target, progress.note)

        return self._run(work, progress, found)

    def files(
        self, versions: Sequence[ChainVersion], found: Made[ChainFiles]
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """Find out what a chain makes; raises as :func:`chain_files`."""
        progress = MakingProgress()

        def work() -> ChainFiles:
            progress.begin(MaterialiseStage.APPLYING)
            return chain_files(versions, VerifiedBlocks())

        return self._run(work, progress, found)

    def make(
        self,
        target: CopyTarget,
        files: ChainFiles,
        finishings: Sequence[Finishing],
        found: Made[MadeNote],
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """Make a copy; raises as :func:`make_copy`.

        Args:
            target: Where.
            files: What it consists of.
            finishings: What files of each version get last.
            found: Takes what was made.
        """
        progress = MakingProgress()

        def work() -> MadeNote:
            progress.begin(MaterialiseStage.APPLYING, files.size_bytes)
            return make_copy(target, files, finishings, progress.note)

        return self._run(work, progress, found)

    async def _run(
        self, work: Callable[[], _Found], progress: MakingProgress, found: Made[_Found]
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """Run something in the thread; yield progress. It is over when this is."""
        running = self._threads.submit(work)
        working = asyncio.wrap_future(running)
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=_PROGRESS_S)
                yield progress.message()
        finally:
            progress.is_stopped = True
            if not running.cancel():  # else it had not begun
                await asyncio.wait({working})  # what it reads may be removed from then on
                working.exception()  # nobody may be left to hear of it
        found.result = working.result()
