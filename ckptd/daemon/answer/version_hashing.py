"""Begins to hash what is to be published, in a thread, and at a pace where nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ckptd.daemon.keep.save_pace import SavePace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.publishing import scan_and_hash
from ckptd.store.published.scanning import PublishOrder

_PROGRESS_S: Final = 1.0
"""How often is said how far it is."""


@dataclass(slots=True)
class VersionHashing:
    """How a directory is hashed, and how long that took.

    Attributes:
        threads: Where that is waited for.
        workers: How many threads hash.
        pace: Called by them with how many bytes were read since; it may sleep. With one nobody
            waits, and the page cache is spared.
        took_s: How long it took, once it is hashed.
        paced_s: How much of that the pace slept.
    """

    threads: ThreadPoolExecutor
    workers: int
    pace: SavePace | None = None
    took_s: float = 0.0
    paced_s: float = 0.0
    _hashed: HashedDirectory | None = None

    @property
    def hashed(self) -> HashedDirectory:
        """What came of it, once :meth:`follow` has ended by itself."""
        assert self._hashed is not None, "it is not hashed yet"
        return self._hashed

    async def follow(
        self, root: Root, relative: str, order: PublishOrder
    ) -> AsyncGenerator[HashingProgress, None]:
        """Hash a directory; yield how far it is. Who stops listening stops it.

        Args:
            root: Where it lies.
            relative: Its path below the root.
            order: What of it is meant.

        Raises:
            CkptdError: As :func:`scan_and_hash` raises it.
        """
        latest = HashingProgress(0, 0, 0, 0)
        is_cancelled = threading.Event()

        def note(progress: HashingProgress) -> None:
            nonlocal latest
            latest = progress

        hashing = self.begin(root, relative, order, note, is_cancelled.is_set)
        try:
            while not hashing.done():
                await asyncio.wait({hashing}, timeout=_PROGRESS_S)
                yield latest
            self._hashed = hashing.result()
        finally:
            is_cancelled.set()

    def begin(
        self,
        root: Root,
        relative: str,
        order: PublishOrder,
        note: Callable[[HashingProgress], None],
        is_cancelled: Callable[[], bool],
    ) -> asyncio.Future[HashedDirectory]:
        """Hash a directory; raises as :func:`scan_and_hash` does.

        Args:
            root: Where it lies.
            relative: Its path below the root.
            order: What of it is meant.
            note: Given how far it is, in those threads.
            is_cancelled: Whether nobody wants it any more.
        """
        read_bytes = 0

        def note_paced(progress: HashingProgress) -> None:
            nonlocal read_bytes
            note(progress)
            if self.pace is not None:
                began_s = time.monotonic()
                self.pace(progress.bytes_done - read_bytes)
                self.paced_s += time.monotonic() - began_s
                read_bytes = progress.bytes_done

        breathed_s = 0.0  # by another thread: the one that reads ahead

        def breathe(size_bytes: int) -> None:
            nonlocal breathed_s
            assert self.pace is not None
            began_s = time.monotonic()
            self.pace.breathe(size_bytes)
            breathed_s += time.monotonic() - began_s

        def hash_it() -> HashedDirectory:
            began_s = time.monotonic()  # others may have been hashed first
            hashed = scan_and_hash(
                root,
                relative,
                order,
                workers=self.workers,
                on_progress=note_paced,
                is_cancelled=is_cancelled,
                breathe=None if self.pace is None else breathe,
            )
            self.took_s = time.monotonic() - began_s
            self.paced_s += breathed_s
            return hashed

        return asyncio.get_running_loop().run_in_executor(self.threads, hash_it)
