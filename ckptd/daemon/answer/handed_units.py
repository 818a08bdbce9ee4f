"""Hands files of units over as descriptors, each hashed once more through the descriptor that goes.

A path says where a file was; whoever opens it later may find another one, or may not open it at
all: staging is the daemon's alone. A descriptor is of the file whose bytes were compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import msgspec

from ckptd.buffers import page_buffer
from ckptd.control.messages.prioritized import NeedEvent, NeedProgress, NeedResult
from ckptd.control.server.handing import Handing
from ckptd.daemon.answer.needed_units import index_of
from ckptd.daemon.answer.turns import Turns
from ckptd.daemon.recover.recoveries import RecoveryBook
from ckptd.errors import CkptdError, Conflict, ContentChanged, NotFound
from ckptd.limits import MIB
from ckptd.model.manifest import Unit
from ckptd.store.files.hashing import wrong_blocks
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog

_AT_ONCE_MAX: Final = 2
"""So many files are hashed at once, each with all cores: others wait for them."""
_CALLER_MAX: Final = 8
"""So many of one user are under way at once."""
_PROGRESS_S: Final = 1.0
_BUFFER_BYTES_MIN: Final = 8 * MIB
_LOOKS_MAX: Final = 3
"""A version that is placed meanwhile is looked for at its new place."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a unit is, and what it has to be.

    Attributes:
        root: Where it lies.
        path: Relative to the root, free of links.
        unit: What the manifest says.
        place: The place in the catalog and the unit's number there; ``None`` while it is staged.
    """

    root: Root
    path: str
    unit: Unit
    place: tuple[int, int] | None = None


class HandedUnits:
    """Opens units for callers. Belongs to the event loop; files are hashed in threads.

    Args:
        book: Recoveries that are under way.
        catalog: What stands here.
        roots: Where.
    """

    def __init__(self, book: RecoveryBook, catalog: Catalog, roots: Roots) -> None:
        self._book = book
        self._catalog = catalog
        self._roots = roots
        self._turns = Turns()
        self._threads = ThreadPoolExecutor(_AT_ONCE_MAX, "handing")

    async def hand_over(
        self, result: NeedResult, uid: int, handing: Handing
    ) -> AsyncGenerator[NeedEvent, None]:
        """Open a unit that is here and compare its bytes; yield progress, and the result with it.

        Args:
            result: Where it is.
            uid: For whom.
            handing: Takes the descriptor to the caller.

        Raises:
            Conflict: Too many are on their way to this user.
            NotFound: It is gone.
            ContentChanged: It is not what was published any more.
            StorageError: The disk refused.
        """
        with self._turn(uid):
            for look in range(1, _LOOKS_MAX + 1):
                standing = await self._find(result)
                try:
                    async with contextlib.aclosing(self._verified(standing)) as opening:
                        async for fd in opening:
                            if fd is None:
                                yield _progress(result, standing.unit)
                            else:
                                handing.attach(fd)
                    break
                except NotFound:
                    if look == _LOOKS_MAX:
                        raise
                except ContentChanged as error:
                    if standing.place:
                        number, unit = standing.place
                        self._catalog.mark_suspect(number, [unit], str(error))
                    raise
            yield msgspec.structs.replace(result, has_descriptor=True)

    def _turn(self, uid: int) -> AbstractContextManager[None]:
        if self._turns.of(uid) >= _CALLER_MAX:
            raise Conflict(
                f"uid {uid}",
                f"waits for {_CALLER_MAX} descriptors already",
                "Take these first.",
            )
        return self._turns.take(uid)

    async def _verified(self, standing: _Standing) -> AsyncGenerator[int | None, None]:
        """Yield ``None`` every second, and last a descriptor; whoever takes it closes it."""
        is_cancelled = threading.Event()
        opening = self._threads.submit(_open_verified, standing, is_cancelled)
        waiting = asyncio.wrap_future(opening)
        is_taken = False
        try:
            while True:
                await asyncio.wait({waiting}, timeout=_PROGRESS_S)
                if waiting.done():
                    break
                yield None
            fd = waiting.result()
            is_taken = True
            yield fd
        finally:
            if not is_taken:
                is_cancelled.set()
                waiting.cancel()  # or what it ends with would be logged, as nobody looks
                opening.add_done_callback(_close_result)

    async def _find(self, result: NeedResult) -> _Standing:
        """Return where a unit is by now.

        Raises:
            NotFound: It is nowhere any more.
        """
        for recovery in list(self._book):
            staging = recovery.staging
            if recovery.id == result.recovery and staging is not None:
                manifest = recovery.known_space().manifest
                index = await asyncio.to_thread(index_of, manifest, result.unit)
                if index is not None:
                    return _Standing(recovery.root, staging.path_of(index), manifest.units[index])
        root, relative = self._roots.locate(result.path)
        directory = relative.removesuffix(f"/{result.unit}")
        for _, place in self._catalog.places_of(root.name):
            if directory == place.directory:
                hashed = await self._catalog.hashed(place.number)
                index = await asyncio.to_thread(index_of, hashed.manifest, result.unit)
                if index is not None:
                    unit = hashed.manifest.units[index]
                    return _Standing(root, hashed.path_of(index), unit, (place.number, index))
        raise NotFound(f"unit {result.unit!r}", "is gone", "Recover the version again.")


def _open_verified(standing: _Standing, is_cancelled: threading.Event) -> int:
    """Open a unit's file and compare all its bytes. Blocks.

    Raises:
        NotFound: It is not there.
        ContentChanged: It is not what the manifest says, or changes meanwhile.
        StorageError: The disk refused.
        CkptdError: Nobody wants it any more.
    """
    unit, path = standing.unit, standing.root.absolute(standing.path)

    def note(_: int) -> None:
        if is_cancelled.is_set():
            raise CkptdError(path, "is wanted no more")

    note(0)
    fd = standing.root.open_file(standing.path, os.O_RDONLY)
    try:
        with mapping_os_errors(path):
            _compare(fd, unit, path, note)
            os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _compare(fd: int, unit: Unit, path: str, note: Callable[[int], None]) -> None:
    """Compare all bytes of an open file with what the manifest says.

    Raises:
        ContentChanged: It is something else, or changes meanwhile.
        OSError: The disk refused.
    """
    before = os.fstat(fd)
    is_right = before.st_size == unit.size_bytes
    if is_right:
        buffer = page_buffer(max(_BUFFER_BYTES_MIN, 2 * unit.block_size_bytes))
        is_right = not wrong_blocks(fd, unit, buffer=buffer, on_progress=note, is_hurried=True)
    if not is_right or os.fstat(fd).st_mtime_ns != before.st_mtime_ns:
        raise ContentChanged(
            f"file {path}", "is not what was published", "Recover or publish it again."
        )


def _close_result(opening: Future[int]) -> None:
    """Close a descriptor that nobody came for."""
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _progress(result: NeedResult, unit: Unit) -> NeedProgress:
    return NeedProgress(
        recovery=result.recovery,
        unit=result.unit,
        is_prioritized=True,
        bytes_total=unit.size_bytes,
        bytes_here=unit.size_bytes,
        waiting_for="its bytes are compared once more",
    )
