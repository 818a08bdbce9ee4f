"""Removes versions with their files, as somebody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Container, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import chain
from typing import Final

from msgspec import structs

from ckptd.control.messages.life_cycle import (
    RemovedRow,
    RemoveEvent,
    RemoveProgress,
    RemoveRequest,
    RemoveResult,
)
from ckptd.daemon.retain.named_places import NamedPlaces
from ckptd.daemon.retain.needed_bases import check_no_base
from ckptd.daemon.retain.removing import Doomed, Removing, check_unchanged
from ckptd.model.life import LifeCause
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.removing import Removed, count_strangers

_NAMED_MAX: Final = 20
"""Units named in an answer."""


class RemoveAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about removing.

    Args:
        catalog: What stands here.
        removing: Removes.
        standings: Finds what is meant.
    """

    def __init__(self, catalog: Catalog, removing: Removing, standings: NamedPlaces) -> None:
        self._catalog = catalog
        self._removing = removing
        self._standings = standings

    async def remove(self, request: RemoveRequest) -> AsyncGenerator[RemoveEvent, None]:
        """Remove a version with its files; yield progress once a second, and last one result."""
        checkpoint, version = request.checkpoint, request.version
        chosen = self._standings.chosen(checkpoint, version, request.place)
        self._standings.check_one_content(chosen)
        await check_no_base(self._catalog, chosen, LifeCause.REMOVE)
        shared = await self._removing.check(chosen)
        doomed: list[Doomed] = []
        async with aclosing(self._removing.examine(chosen, shared, doomed)) as examining:
            async for progress in examining:
                yield _progress_of(progress)
        if not request.overwrite:
            check_unchanged(doomed)
        rows: list[RemovedRow] = []
        if request.is_dry_run:
            rows = await asyncio.to_thread(_foreseen_rows, doomed, overwrite=request.overwrite)
            doomed = []
        await check_no_base(self._catalog, chosen, LifeCause.REMOVE)  # by now
        for each in doomed:
            removed: list[Removed] = []
            work = self._removing.remove(each, removed, with_foreign=request.overwrite)
            async with aclosing(work) as removing:
                async for _ in removing:
                    yield RemoveProgress(files_done=0, files_total=0, bytes_done=0, bytes_total=0)
            rows += (_row_of(each, what) for what in removed)
        yield RemoveResult(
            checkpoint=checkpoint,
            version=version,
            places=tuple(_with_last_of(rows)),
            is_dry_run=request.is_dry_run,
        )


def _foreseen_rows(doomed: Sequence[Doomed], *, overwrite: bool) -> list[RemovedRow]:
    """Return what removing would do if nothing changed until then. Reads directories.

    Shards of a job stand in one directory: what several of them have goes once, and the directory
    goes with the last.
    """
    in_directory: dict[str, list[Doomed]] = {}
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


def _directory_of(doomed: Doomed) -> str:
    return doomed.root.absolute(doomed.hashed.directory)


def _paths_of(doomed: Doomed) -> Iterator[str]:
    units = doomed.hashed.manifest.units
    return chain((units[unit].path for unit in doomed.examined.own), doomed.examined.links)


def _foreseen(doomed: Doomed, taken: Container[str], *, overwrite: bool) -> Removed:
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


def _row_of(doomed: Doomed, removed: Removed) -> RemovedRow:
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
