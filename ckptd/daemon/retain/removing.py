"""Removes versions from places with their files.

A version is off the offer before its first file goes, and out of the catalog after the last: a
crash in between leaves one that nobody is promised.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar

from ckptd.daemon.parts import Storage
from ckptd.daemon.retain.named_places import NamedPlace, NamedPlaces
from ckptd.errors import Conflict
from ckptd.model.life import LifeCause
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Reading
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.removing import Removable, Removed, examine, remove

PROGRESS_S: Final = 1.0
"""How often whoever waits hears of it."""

_log = get_logger()
_T = TypeVar("_T")


class Doomed(NamedTuple):
    """A place that is to be removed, with what stands there.

    In a directory that is shared, another version has files of its own.
    """

    standing: NamedPlace
    root: Root
    hashed: HashedDirectory
    examined: Removable
    is_shared: bool


class Removing:
    """Removes places, one after the other. Belongs to the event loop; files go in a thread.

    Args:
        storage: Where versions are.
        standings: Says why one is not to be touched.
    """

    def __init__(self, storage: Storage, standings: NamedPlaces) -> None:
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._standings = standings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remove")

    async def check(self, chosen: Sequence[NamedPlace]) -> frozenset[int]:
        """Check that places may be removed.

        Returns:
            The numbers of those in whose directory another version has files of its own.

        Raises:
            Conflict: One is active, a recovery uses one, or another version shares files with it.
            NotFound: A place was forgotten meanwhile.
            DamagedState: What the database has is not that version.
        """
        self._standings.check_permitted(chosen, LifeCause.REMOVE)
        self._standings.check_untouched(chosen)
        return frozenset(
            [
                standing.place.number
                for standing in chosen
                if await self._standings.check_alone(standing, chosen)
            ]
        )

    async def examine(
        self, chosen: Sequence[NamedPlace], shared: Container[int], doomed: list[Doomed]
    ) -> AsyncGenerator[HashingProgress, None]:
        """Look at every file of some places; yield progress, and add what was found.

        Args:
            chosen: Which places.
            shared: What :meth:`check` returned for them.
            doomed: Takes what stands there.
        """
        progress = HashingProgress(0, 0, 0, 0)
        is_cancelled = threading.Event()

        def note(latest: HashingProgress) -> None:
            nonlocal progress
            progress = latest

        reading = Reading(
            workers=os.cpu_count() or 1, is_cancelled=is_cancelled.is_set, on_progress=note
        )
        try:
            for standing in chosen:
                root = self._roots[standing.place.root]
                hashed = await self._catalog.hashed(standing.place.number)
                examining = self._in_thread(
                    partial(examine, root, hashed, standing.place.changed, reading)
                )
                while not examining.done():
                    await asyncio.wait({examining}, timeout=PROGRESS_S)
                    yield progress
                is_shared = standing.place.number in shared
                doomed.append(Doomed(standing, root, hashed, examining.result(), is_shared))
        finally:
            is_cancelled.set()

    async def remove(
        self, doomed: Doomed, removed: list[Removed], *, with_foreign: bool
    ) -> AsyncGenerator[None, None]:
        """Withdraw a place, remove its files, forget it; what was begun is brought to its end.

        Args:
            doomed: Which place.
            removed: Takes what was removed.
            with_foreign: Also files that are not what was published or recovered.
        """
        standing, root, hashed, examined, is_shared = doomed
        self._standings.check_untouched([standing])  # hashing may have taken hours
        await self._standings.withdraw([standing], LifeCause.REMOVE)
        self._standings.note_let_go(standing.held.holding.digest)
        removing = self._in_thread(
            partial(
                remove,
                root,
                hashed,
                examined,
                with_foreign=with_foreign,
                is_directory_kept=is_shared,
            )
        )
        try:
            while not removing.done():
                await asyncio.wait({removing}, timeout=PROGRESS_S)
                yield
        finally:
            await asyncio.wait({removing})
            if removing.exception() is None:
                await self._note_removed(standing, removing.result())
        removed.append(removing.result())

    async def _note_removed(self, standing: NamedPlace, removed: Removed) -> None:
        await self._catalog.forget_all([standing.place.number])
        facts = self._standings.facts(standing)
        _log.info("version.removed", **facts, files=removed.files, bytes=removed.size_bytes)

    def _in_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


def check_unchanged(doomed: Sequence[Doomed]) -> None:
    """Check that all files are still what was published or recovered.

    Raises:
        Conflict: Some are not; nothing was removed.
    """
    changed = [
        why
        for each in doomed
        for why in (*each.examined.foreign.values(), *each.examined.foreign_names.values())
    ]
    if changed:
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise Conflict(
            doomed[0].standing.name,
            f"was changed, and nothing was removed: {changed[0]}{more}",
            "Save what you need of it, then remove it with --overwrite.",
        )
