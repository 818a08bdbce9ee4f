"""Asks a publisher for descriptors of files that only the publisher may open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from ckptd.control.messages.checkpoints import PublishWanted
from ckptd.control.server.handing import Handing
from ckptd.errors import CkptdError
from ckptd.limits import PASSED_AT_ONCE_MAX
from ckptd.store.files.names import Names
from ckptd.store.files.passed_files import Inode
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Candidate
from ckptd.store.published.finding import find_closed
from ckptd.store.published.scanning import PublishOrder


class Passing:
    """Files that one caller passes for one publishing. Belongs to the event loop.

    Args:
        handing: The caller's connection.
        uid: The caller.
    """

    def __init__(self, handing: Handing, uid: int) -> None:
        self._handing = handing
        self._uid = uid
        self._taken: list[tuple[Root, Inode]] = []
        self._taking: asyncio.Future[None] | None = None

    async def ask(
        self, root: Root, relative: str, order: PublishOrder
    ) -> AsyncGenerator[PublishWanted, None]:
        """Ask for what this process may not open; what is passed is kept until :meth:`settle`.

        Args:
            root: Where the directory or file lies.
            relative: Its path below the root.
            order: What is to be published.

        Raises:
            StorageError: What was passed is not what was asked for, or must not be passed.
            UsageError: The caller does not pass what it was asked for.
            ConnectionError: It is gone.
        """
        closed = await asyncio.to_thread(find_closed, root, relative, order)
        for start in range(0, len(closed), PASSED_AT_ONCE_MAX):
            batch = closed[start : start + PASSED_AT_ONCE_MAX]
            with self._handing.asking():
                yield PublishWanted(paths=tuple(each.path for each in batch))
                passed = await self._handing.receive(len(batch))
                # In one go: whoever goes away meanwhile finds nothing half done.
                self._taking = asyncio.get_running_loop().run_in_executor(
                    None, _take, root, batch, passed, self._uid, self._handing.refuse, self._taken
                )
                await asyncio.shield(self._taking)

    def settle(self) -> None:
        """The publishing has ended: what became a version is known to be used by now."""
        if self._taking is not None and not self._taking.done():  # the caller went away meanwhile
            self._taking.add_done_callback(lambda _: self.settle())
            return
        taken, self._taken = self._taken, []
        for root, inode in taken:
            root.passed.settle([inode])


def _take(
    root: Root,
    batch: Sequence[Candidate],
    passed: Sequence[int | None],
    uid: int,
    refuse: Callable[[Sequence[int]], None],
    taken: list[tuple[Root, Inode]],
) -> None:
    """Judge and keep descriptors. Blocks.

    Args:
        root: Where their files lie.
        batch: Which they are.
        passed: The descriptors; ``None`` where the caller has none.
        uid: The caller.
        refuse: Closes those that are not kept.
        taken: Is added to.

    Raises:
        CkptdError: One must not be kept; those behind it are not either.
    """
    left = [fd for fd in passed if fd is not None]
    try:
        with Names(root) as names:
            for candidate, fd in zip(batch, passed, strict=True):
                if fd is None:
                    continue
                standing = names.stat(candidate.place)
                subject = f"file {root.absolute(candidate.place)}"
                inode = root.passed.take(fd, uid, subject, standing)
                left.remove(fd)
                taken.append((root, inode))
    except (CkptdError, OSError):
        refuse(left)
        raise
