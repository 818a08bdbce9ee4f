"""Begins to hash what is to be published, in a thread, and at a pace where nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.publishing import scan_and_hash
from ckptd.store.published.scanning import PublishOrder


@dataclass(frozen=True, slots=True)
class VersionHashing:
    """How directories are hashed.

    Attributes:
        threads: Where that is waited for.
        workers: How many threads hash.
        pace: Called by them with how many bytes were read since; it may sleep.
    """

    threads: ThreadPoolExecutor
    workers: int
    pace: Callable[[int], None] | None = None

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
                self.pace(progress.bytes_done - read_bytes)
                read_bytes = progress.bytes_done

        return asyncio.get_running_loop().run_in_executor(
            self.threads,
            lambda: scan_and_hash(
                root,
                relative,
                order,
                workers=self.workers,
                on_progress=note_paced,
                is_cancelled=is_cancelled,
            ),
        )
