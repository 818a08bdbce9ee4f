"""Removes versions with their files.

A version is off the offer before its first file goes, and out of the catalog after the last: a
crash in between leaves one that nobody is promised.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final, NamedTuple, TypeVar

from msgspec import structs

from ckptd.control.messages.life_cycle import (
    RemovedRow,
    RemoveEvent,
    RemoveProgress,
    RemoveRequest,
    RemoveResult,
)
from ckptd.daemon.parts import Storage
from ckptd.daemon.retain.named_places import NamedPlace, NamedPlaces
from ckptd.errors import Conflict
from ckptd.model.life import LifeCause
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Reading
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.removing import Removable, Removed, count_strangers, examine, remove

_PROGRESS_S: Final = 1.0
"""How often a stream reports progress."""
_NAMED_MAX: Final = 20
"""Units named in an answer."""

_log = get_logger()
_T = TypeVar("_T")


class _Doomed(NamedTuple):
    """A place that is to be removed, with what stands there.

    In a directory that is shared, another version has files of its own.
    """

    standing: NamedPlace
    root: Root
    hashed: HashedDirectory
    examined: Removable
    is_shared: bool


class RemoveAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about removing.

    Args:
        storage: Where versions are.
        standings: Finds them.
    """

    def __init__(self, storage: Storage, standings: NamedPlaces) -> None:
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._standings = standings
        self._removing = ThreadPoolExecutor(1, thread_name_prefix="remove")

    async def remove(self, request: RemoveRequest) -> AsyncGenerator[RemoveEvent, None]:
        """Remove a version with its files; yield progress once a second, and last one result."""
        checkpoint, version = request.checkpoint, request.version
        chosen = self._standings.chosen(checkpoint, version, request.place)
        self._standings.check_one_content(chosen)
        self._standings.check_permitted(chosen, LifeCause.REMOVE)
        self._standings.check_untouched(chosen)
        shared = {
            standing.place.number
            for standing in chosen
            if await self._standings.check_alone(standing, chosen)
        }
        doomed: list[_Doomed] = []
        async with aclosing(self._examine(chosen, shared, doomed)) as examining:
            async for progress in examining:
                yield progress
        if not request.overwrite:
            _check_unchanged(doomed)
        rows: list[RemovedRow] = []
        if request.is_dry_run:
            rows = await self._in_thread(
                lambda: _foreseen_rows(doomed, overwrite=request.overwrite)
            )
            doomed = []
        for each in doomed:
            async with aclosing(self._remove(each, rows, overwrite=request.overwrite)) as removing:
                async for progress in removing:
                    yield progress
        yield RemoveResult(
            checkpoint=checkpoint,
            version=version,
            places=tuple(_with_last_of(rows)),
            is_dry_run=request.is_dry_run,
        )

    async def _examine(
        self, chosen: Sequence[NamedPlace], shared: Container[int], doomed: list[_Doomed]
    ) -> AsyncGenerator[RemoveProgress, None]:
        """Look at every file of some places; yield progress, and add what was found."""
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
                    await asyncio.wait({examining}, timeout=_PROGRESS_S)
                    yield _progress_of(progress)
                is_shared = standing.place.number in shared
                doomed.append(_Doomed(standing, root, hashed, examining.result(), is_shared))
        finally:
            is_cancelled.set()

    async def _remove(
        self, doomed: _Doomed, rows: list[RemovedRow], *, overwrite: bool
    ) -> AsyncGenerator[RemoveProgress, None]:
        """Withdraw a place, remove its files, forget it; what was begun is brought to its end."""
        standing, root, hashed, examined, is_shared = doomed
        self._standings.check_untouched([standing])  # hashing may have taken hours
        await self._standings.withdraw([standing], LifeCause.REMOVE)
        self._standings.note_let_go(standing.held.holding.digest)
        removing = self._in_thread(
            partial(
                remove, root, hashed, examined, with_foreign=overwrite, is_directory_kept=is_shared
            )
        )
        try:
            while not removing.done():
                await asyncio.wait({removing}, timeout=_PROGRESS_S)
                yield RemoveProgress(files_done=0, files_total=0, bytes_done=0, bytes_total=0)
        finally:
            await asyncio.wait({removing})
            if removing.exception() is None:
                await self._note_removed(standing, removing.result())
        rows.append(_row_of(doomed, removing.result()))

    async def _note_removed(self, standing: NamedPlace, removed: Removed) -> None:
        await self._catalog.forget_all([standing.place.number])
        facts = self._standings.facts(standing)
        _log.info("version.removed", **facts, files=removed.files, bytes=removed.size_bytes)

    def _in_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._removing, work)


def _check_unchanged(doomed: Sequence[_Doomed]) -> None:
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


def _foreseen_rows(doomed: Sequence[_Doomed], *, overwrite: bool) -> list[RemovedRow]:
    """Return what removing would do if nothing changed until then. Reads directories.

    Shards of a job stand in one directory: what several of them have goes once, and the directory
    goes with the last.
    """
    in_directory: dict[str, list[_Doomed]] = {}
    for each in doomed:
        in_directory.setdefault(_directory_of(each), []).append(each)
    rows = []
    for together in in_directory.values():
        taken: set[str] = set()
        last = together[-1]
        strangers = last.examined.strangers
        if len(together) > 1:
            strangers = count_strangers(last.root, [each.hashed for each in together])
        for each in together:
            is_gone = each is last and not (strangers or each.is_shared)
            removed = _foreseen(each, taken, overwrite=overwrite)
            is_gone = is_gone and bool(each.hashed.directory)
            rows.append(_row_of(each, replace(removed, is_directory_gone=is_gone)))
            if len(together) > 1:
                taken.update(_paths_of(each))
    return rows


def _directory_of(doomed: _Doomed) -> str:
    return doomed.root.absolute(doomed.hashed.directory)


def _paths_of(doomed: _Doomed) -> Iterator[str]:
    units = doomed.hashed.manifest.units
    return chain((units[unit].path for unit in doomed.examined.own), doomed.examined.links)


def _foreseen(doomed: _Doomed, taken: Container[str], *, overwrite: bool) -> Removed:
    """Return what removing one place would do.

    Args:
        doomed: The place.
        taken: Paths of files that went before.
        overwrite: What was changed goes as well.
    """
    found, units = doomed.examined, doomed.hashed.manifest.units
    own = [file for unit, file in found.own.items() if units[unit].path not in taken]
    links = [name for name in found.links if name not in taken]
    foreign = found.foreign_count if overwrite else 0
    size_bytes = sum(file.size_bytes for file in own if file)
    return Removed(
        len(own) + len(links) + foreign,
        size_bytes + (found.foreign_bytes if overwrite else 0),
        (),
        is_directory_gone=False,
    )


def _with_last_of(rows: Sequence[RemovedRow]) -> Iterator[RemovedRow]:
    """Say of each place whether its directory went, where it did with another one in it."""
    gone = {row.directory for row in rows if row.is_directory_gone}
    for row in rows:
        yield structs.replace(row, is_directory_gone=row.directory in gone)


def _row_of(doomed: _Doomed, removed: Removed) -> RemovedRow:
    units, examined = doomed.hashed.manifest.units, doomed.examined
    changed = [units[unit].path for unit in sorted(examined.foreign)]
    changed += sorted(examined.foreign_names)
    return RemovedRow(
        digest=doomed.hashed.digest,
        directory=_directory_of(doomed),
        files=removed.files,
        removed_bytes=removed.size_bytes,
        changed=tuple(changed[:_NAMED_MAX]),
        kept=removed.kept[:_NAMED_MAX],
        is_directory_gone=removed.is_directory_gone,
    )


def _progress_of(progress: HashingProgress) -> RemoveProgress:
    return RemoveProgress(
        files_done=progress.files_done,
        files_total=progress.files_total,
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_total,
    )
