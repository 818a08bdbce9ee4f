"""Compresses copies where they stand, a unit after another, below all other work.

A unit that was compressed is served from the new file as soon as that is recorded. The other one
goes a while later, when no body is sent from it any more; what a crash left between the two goes
when the place is looked at next. Where anything else goes on at a place nothing is touched.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar

from ckptd.config.copy_values import CopiesSection
from ckptd.daemon.copying.pauses import Pauses
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.errors import CkptdError, ContentChanged, Shortage, StorageError
from ckptd.limits import GIB
from ckptd.model.blocks import BlockSet
from ckptd.observe.logs import get_logger
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.kernel import read_idle
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.compressing import clean, compress_unit, compressible
from ckptd.store.published.hash_runs import Cancelled
from ckptd.store.published.places import HeldVersion, Place

HOLD_S: Final = 60.0
"""So long the file stays that has a unit as it was: bodies are sent from it that were asked for."""
_IDLE_S: Final = 2.0
"""How often places are looked through."""
_BUSY_S: Final = 0.5
_TOGETHER_BYTES: Final = 4 * GIB
_TOGETHER_MAX: Final = 256
"""So much is recorded together: each record writes the facts of all files of the place."""
_FREE_SHARE: Final = 10
"""The last tenth of the disk is left alone, as by copies that come."""

_log = get_logger()
_T = TypeVar("_T")


class HalfCore:
    """Lets a thread have half of a core, and nothing while others are to go first.

    Args:
        stopped: Ends every wait.
        clock: Seconds that this thread computed.

    Attributes:
        is_waiting: Others go first.
    """

    def __init__(
        self, stopped: threading.Event, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self.is_waiting = False
        self._stopped = stopped
        self._clock = clock
        self._since_s: float | None = None

    def __call__(self, size_bytes: int) -> None:
        """Wait as long as the last bytes took.

        Raises:
            Cancelled: Nobody wants it any more.
        """
        del size_bytes
        now_s = self._clock()
        if self._since_s is not None:
            self._stopped.wait(now_s - self._since_s)
        while self.is_waiting and not self._stopped.is_set():
            self._stopped.wait(_BUSY_S)
        if self._stopped.is_set():
            raise Cancelled
        self._since_s = self._clock()


class _Looks(NamedTuple):
    """A place as it was when there was nothing left to do."""

    blocks: BlockSet
    saved_bytes: int
    is_wanted: bool


class Compressing:
    """Compresses copies until cancelled. Belongs to the event loop; files are read in a thread.

    Args:
        section: Of which checkpoints.
        catalog: What stands here.
        roots: Where.
        book: All recoveries that are open.
        seen: Takes what came of it.
        now: The moment in nanoseconds, on the monotonic clock.
        hold_s: So long the other file of a unit stays.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        section: CopiesSection,
        catalog: Catalog,
        roots: Roots,
        *,
        book: Iterable[OpenRecovery],
        seen: CopyingSeen,
        now: Callable[[], int],
        hold_s: float = HOLD_S,
    ) -> None:
        self._section = section
        self._catalog = catalog
        self._roots = roots
        self._book = book
        self._seen = seen
        self._now = now
        self._hold_s = hold_s
        self._done: dict[int, _Looks] = {}
        self._pauses: Pauses[int] = Pauses()
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Compress until cancelled."""
        threads = ThreadPoolExecutor(1, "compress", initializer=read_idle)
        try:
            while True:
                number = self._next()
                if number is None:
                    await asyncio.sleep(_IDLE_S)
                else:
                    await self.look_at(number, threads)
        finally:
            self._stopped.set()
            await asyncio.to_thread(threads.shutdown)  # it reads below roots, which close next

    async def look_at(self, number: int, threads: ThreadPoolExecutor) -> None:
        """Compress what is worth it at a place, and remove what was left there."""
        try:
            is_done = await self._go_through(number, threads)
        except CkptdError as error:
            _log.info("copies.not_compressed", place=number, why=str(error))
            is_done = False
        found = self._catalog.place(number)
        if found is None or not is_done:
            self._pauses.note_failure(number, now=self._now())
        else:
            self._pauses.forget(number)
            self._done[number] = self._looks(*found)

    def _next(self) -> int | None:
        """Return a place at which there is something to do."""
        places = {
            place.number: (held, place)
            for held in self._catalog.versions()
            for place in held.places
            if place.is_copy
        }
        self._done = {number: looks for number, looks in self._done.items() if number in places}
        self._pauses.keep(places)
        for number, (held, place) in places.items():
            is_new = self._done.get(number) != self._looks(held, place)
            is_paused = self._pauses.is_paused(number, now=self._now())
            if is_new and not is_paused and self._may_touch(number):
                return number
        return None

    def _looks(self, held: HeldVersion, place: Place) -> _Looks:
        is_wanted = self._section.compresses(held.holding.checkpoint)
        return _Looks(place.blocks, place.saved_bytes, is_wanted)

    def _may_touch(self, number: int) -> bool:
        """Return whether nothing else goes on at a place, and all there is as it should be."""
        found = self._catalog.place(number)
        if found is None:
            return False
        place = found[1]
        is_right = place.is_copy and place.is_serving and not (place.suspect or place.changed)
        if not is_right or self._catalog.active.is_active(place.root, place.directory):
            return False
        if any(
            recovery.root.name == place.root and recovery.target == place.directory
            for recovery in self._book
        ):
            return False
        there = [each for _, each in self._catalog.places_of(place.root)]
        return sum(each.directory == place.directory for each in there) == 1

    async def _go_through(self, number: int, threads: ThreadPoolExecutor) -> bool:
        """Do all that there is to do at a place; return whether that came to its end."""
        hashed = await self._catalog.hashed(number)
        found = self._catalog.place(number)
        if found is None or not self._may_touch(number):
            return False
        root = self._roots[found[1].root]
        await self._in_thread(threads, partial(clean, root, hashed))
        if not self._looks(*found).is_wanted:
            return True
        units = await self._in_thread(threads, lambda: list(compressible(hashed)))
        for batch in _batches(hashed, units):
            if not await self._compress(number, root, hashed, batch, threads):
                return False
        return True

    async def _compress(
        self,
        number: int,
        root: Root,
        hashed: HashedDirectory,
        units: Sequence[int],
        threads: ThreadPoolExecutor,
    ) -> bool:
        """Compress some units and record that; return whether their other files are gone."""
        made: dict[int, UnitFile] = {}
        for unit in units:
            if not self._may_touch(number):
                return False  # what was made goes when the place is looked at next
            file = await self._make(number, root, hashed, unit, threads)
            if file is not None:
                made[unit] = file
        if not made:
            return True
        if not self._may_touch(number):
            return False
        await self._catalog.settle(number, made, {})
        self._note(hashed, made)
        await asyncio.sleep(self._hold_s)
        recorded = await self._catalog.hashed(number)
        if not self._may_touch(number):
            return False
        await self._in_thread(threads, partial(clean, root, recorded))
        return True

    async def _make(
        self,
        number: int,
        root: Root,
        hashed: HashedDirectory,
        unit: int,
        threads: ThreadPoolExecutor,
    ) -> UnitFile | None:
        """Return the file that has a unit compressed; ``None``: there is none, it stays as it is.

        Raises:
            CkptdError: The disk refused, or has no room for both files.
        """
        pace = HalfCore(self._stopped)

        def work() -> UnitFile | None:
            size_bytes = hashed.manifest.units[unit].size_bytes
            if root.free_bytes() - size_bytes < root.size_bytes() // _FREE_SHARE:
                raise Shortage(f"root {root.name!r}", "has no room for two files of a unit")
            return compress_unit(root, hashed, unit, pace)

        working = asyncio.get_running_loop().run_in_executor(threads, work)
        try:
            while not working.done():
                pace.is_waiting = self._is_busy()
                await asyncio.wait({working}, timeout=_BUSY_S)
            return working.result()
        except ContentChanged as error:
            self._catalog.mark_suspect(number, [unit], str(error))
        except Shortage:
            raise
        except StorageError as error:  # of this file: the others may be written
            _log.info("copies.not_compressed", place=number, why=str(error))
        finally:
            working.cancel()  # or what it ends with would be logged, as nobody looks
        return None

    def _is_busy(self) -> bool:
        """Return whether a recovery goes on that somebody waits for."""
        return any(not recovery.record.is_background for recovery in self._book)

    def _note(self, hashed: HashedDirectory, made: Mapping[int, UnitFile]) -> None:
        plain_bytes = sum(file.plain_bytes for file in made.values())
        saved_bytes = plain_bytes - sum(file.fingerprint.size_bytes for file in made.values())
        self._seen.compressed_bytes += plain_bytes
        _log.info(
            "copies.compressed",
            checkpoint=hashed.manifest.checkpoint,
            version=hashed.manifest.version,
            units=len(made),
            bytes=plain_bytes,
            saved_bytes=saved_bytes,
        )

    async def _in_thread(self, threads: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)


def _batches(hashed: HashedDirectory, units: Iterable[int]) -> Iterator[Sequence[int]]:
    """Yield units that are recorded together."""
    batch: list[int] = []
    size_bytes = 0
    for unit in units:
        more_bytes = hashed.manifest.units[unit].size_bytes
        if batch and (size_bytes + more_bytes > _TOGETHER_BYTES or len(batch) == _TOGETHER_MAX):
            yield batch
            batch, size_bytes = [], 0
        batch.append(unit)
        size_bytes += more_bytes
    if batch:
        yield batch
