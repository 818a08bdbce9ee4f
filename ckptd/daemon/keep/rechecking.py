"""Hashes suspect units again: slowly in the background, and at once where somebody waits.

Two workers take places from two queues. The one in the background reads with one thread at a
bounded rate; the other one with all cores. What a batch has shown counts before the next batch is
read, so units come back on offer one after another, the most urgent first.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ckptd.daemon.keep.read_pace import ReadPace
from ckptd.daemon.keep.reads import Reads
from ckptd.errors import CkptdError, NotFound
from ckptd.limits import MIB
from ckptd.model.ids import Digest
from ckptd.model.manifest import Unit
from ckptd.model.words import ReadReason
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Reading, hash_again
from ckptd.store.published.hash_runs import Cancelled

_BATCH_BYTES: Final = 64 * MIB
_URGENT_BATCH_BYTES: Final = 512 * MIB
_BATCHES_MAX: Final = 64
"""What a batch has shown is written to the database, with the facts of all files of the place; so a
place has no more batches than this."""

_INTEREST_S: Final = 300.0
"""For so long somebody who asked for a version is believed to wait for the rest of it: as long as
``ckptctl recover`` waits by itself."""
_AGAIN_S: Final = 30.0
"""So long units are left alone that somebody wrote to while they were read."""
_ASKED_MAX: Final = 64
"""Versions that are remembered because somebody asked for them."""

_log = get_logger()


class _Waiting:
    """Places that are to be checked, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._places: dict[int, None] = {}
        self._has_some = asyncio.Event()

    def put(self, place: int) -> None:
        self._places.setdefault(place)
        self._has_some.set()

    def drop(self, place: int) -> None:
        self._places.pop(place, None)

    async def take(self) -> int:
        while not self._places:
            self._has_some.clear()
            await self._has_some.wait()
        place = next(iter(self._places))
        del self._places[place]
        return place


class Rechecking:
    """Checks suspect places. Belongs to the event loop; files are read in threads.

    Args:
        catalog: Knows which units are suspect, and learns what they are.
        roots: Where they lie.
        reads: Counts.
        rate_bytes_per_s: How fast they are read in the background.
    """

    def __init__(
        self, catalog: Catalog, roots: Roots, reads: Reads, *, rate_bytes_per_s: int
    ) -> None:
        self._catalog = catalog
        self._roots = roots
        self._reads = reads
        self._rate_bytes_per_s = rate_bytes_per_s
        self._slow = _Waiting()
        self._urgent = _Waiting()
        self._now: dict[int, threading.Event] = {}  # what is being read, and what ends that
        self._is_urgent: set[int] = set()
        self._asked_s: dict[Digest, float] = {}  # what was asked for last comes last
        self._undecided: dict[int, tuple[AbstractSet[int], float]] = {}
        self._clock = time.monotonic

    def suspect(self, place: int) -> None:
        """Check a place: in the background, or at once if somebody asked for its version lately."""
        found = self._catalog.place(place)
        if found is None or place in self._is_urgent:
            return
        undecided, since_s = self._undecided.get(place, (frozenset[int](), 0.0))
        if found[1].suspect <= undecided and self._clock() - since_s < _AGAIN_S:
            return  # somebody writes to it
        asked_s = self._asked_s.get(found[0].holding.digest)
        if asked_s is not None and self._clock() - asked_s < _INTEREST_S:
            self.hurry(found[0].holding.digest)
        elif place not in self._now:
            self._slow.put(place)

    def hurry(self, digest: Digest) -> None:
        """Somebody asks for a version: check at once what is suspect of it."""
        held = self._catalog.held(digest)
        if held is None:
            return
        self._asked_s.pop(digest, None)
        self._asked_s[digest] = self._clock()
        if len(self._asked_s) > _ASKED_MAX:
            del self._asked_s[next(iter(self._asked_s))]
        for place in held.places:
            if not place.suspect or place.is_withdrawn or place.number in self._is_urgent:
                continue
            self._is_urgent.add(place.number)
            self._slow.drop(place.number)
            if place.number in self._now:
                self._now[place.number].set()  # it hands the place over
            else:
                self._urgent.put(place.number)

    async def run(self) -> None:
        """Check until cancelled."""
        threads = ThreadPoolExecutor(2, "keep")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._work(self._slow, threads, is_urgent=False))
                tasks.create_task(self._work(self._urgent, threads, is_urgent=True))
        finally:
            await asyncio.to_thread(threads.shutdown)  # they read below roots, which close next

    async def _work(self, queue: _Waiting, threads: ThreadPoolExecutor, *, is_urgent: bool) -> None:
        while True:
            number = await queue.take()
            stopped = self._now[number] = threading.Event()
            try:
                await self._check(number, threads, stopped, is_urgent=is_urgent)
            except CkptdError as error:
                _log.warning("version.not_checked", place=number, why=str(error))
            finally:
                stopped.set()
                del self._now[number]
                if is_urgent:
                    self._is_urgent.discard(number)
                elif number in self._is_urgent:
                    self._urgent.put(number)

    async def _check(
        self,
        number: int,
        threads: ThreadPoolExecutor,
        stopped: threading.Event,
        *,
        is_urgent: bool,
    ) -> None:
        """Check a place until nothing of it is suspect but what cannot be decided now."""
        if is_urgent:
            reading = Reading(workers=os.cpu_count() or 1, is_cancelled=stopped.is_set)
        else:
            pace = ReadPace(self._rate_bytes_per_s, stopped)
            reading = Reading(pace=pace, is_cancelled=stopped.is_set)
        undecided: set[int] = set()
        try:
            hashed = await self._catalog.hashed(number)
        except NotFound:
            return
        sizes = hashed.manifest.units
        batch_bytes = _batch_bytes(sizes, is_urgent=is_urgent)
        while True:
            found = self._catalog.place(number)
            left = sorted(found[1].suspect - undecided) if found else []
            if found is None or not left:
                self._undecided.pop(number, None)
                if found is not None and undecided:
                    self._undecided[number] = (undecided, self._clock())
                return
            held, place = found
            root = self._roots[place.root]
            batch = first_batch(sizes, left, batch_bytes)
            try:
                checked = await asyncio.get_running_loop().run_in_executor(
                    threads, hash_again, root, hashed, batch, reading
                )
            except Cancelled:
                return
            await self._reads.take_in(ReadReason.SUSPECT, held, place, hashed, checked)
            undecided |= checked.undecided.keys()


def first_batch(units: Sequence[Unit], left: Iterable[int], size_bytes: int) -> list[int]:
    """Return the first of some units that come to a size: at least one.

    Args:
        units: Those of the version.
        left: Which are left, in order; at least one.
        size_bytes: How much may come together.
    """
    batch: list[int] = []
    batch_bytes = 0
    for unit in left:
        batch_bytes += units[unit].size_bytes
        if batch and batch_bytes > size_bytes:
            break
        batch.append(unit)
    return batch


def _batch_bytes(units: Sequence[Unit], *, is_urgent: bool) -> int:
    least = _URGENT_BATCH_BYTES if is_urgent else _BATCH_BYTES
    return max(least, sum(unit.size_bytes for unit in units) // _BATCHES_MAX)
