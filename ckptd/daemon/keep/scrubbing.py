"""Scrubbing: reads everything on offer again, slowly, from the disk, and below all other work.

Rot, and writers through a mapping, leave no trace in the metadata. The place that was checked
longest ago goes first. How far it got in a place is written down now and then; after a restart it
goes on there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from ckptd.daemon.keep.place_moments import PlaceMoment, PlaceMoments
from ckptd.daemon.keep.read_pace import ReadPace
from ckptd.daemon.keep.reads import Reads
from ckptd.daemon.keep.rechecking import first_batch
from ckptd.errors import CkptdError
from ckptd.limits import MIB
from ckptd.model.words import ReadReason
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Reading, hash_again
from ckptd.store.published.places import Place

_BATCH_BYTES: Final = 32 * MIB
"""Read between two looks at what else is going on: less than a second at the usual rate."""
_NOTE_S: Final = 30.0
"""How often it is written down how far it got; so much is read twice after a restart."""
_IDLE_S: Final = 60.0
"""How often places are looked through for one that is due."""
_NEVER_S: Final = float("-inf")
_BUSY_S: Final = 1.0
"""How often what else is going on is looked at while scrubbing waits for it."""

_log = get_logger()


class Due(NamedTuple):
    """What to scrub next.

    Attributes:
        place: Which place; ``None``: there is nothing on offer.
        wait_s: When, in so many seconds; 0: now.
    """

    place: Place | None
    wait_s: float


def next_due(
    places: Iterable[Place],
    moments: Mapping[int, PlaceMoment],
    tried_s: Mapping[int, float],
    *,
    now_s: float,
    every_s: float,
) -> Due:
    """Choose the place that was checked longest ago; what a restart interrupted goes on first.

    Args:
        places: All places.
        moments: When each was checked.
        tried_s: When the last round of a place ended, however; places that were not are missing.
        now_s: The moment, by a clock that never jumps.
        every_s: How often each is scrubbed.
    """
    best: tuple[bool, float, int] | None = None
    chosen = None
    for place in places:
        if not place.is_serving:
            continue
        good_s = moments[place.number].known_good_s
        since_s = max(_NEVER_S if good_s is None else good_s, tried_s.get(place.number, _NEVER_S))
        is_begun = place.scrubbed_units > 0 and place.number not in tried_s
        key = (not is_begun, since_s, place.number)
        if best is None or key < best:
            best, chosen = key, place
    if best is None:
        return Due(None, every_s)
    return Due(chosen, 0.0 if not best[0] else max(best[1] + every_s - now_s, 0.0))


class Scrubbing:
    """Scrubs until cancelled. Belongs to the event loop; files are read in a thread.

    Args:
        catalog: Knows the places and how far each is.
        roots: Where they lie.
        reads: Counts.
        every_s: How often each place is scrubbed.
        rate_bytes_per_s: How fast files are read.
        is_busy: Tells whether there is other work, which goes first.
        moments: Knows when places were checked.
        clock: The moment in seconds, by a clock that never jumps.
        wall_clock: Unix time, for dates.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        catalog: Catalog,
        roots: Roots,
        reads: Reads,
        *,
        every_s: float,
        rate_bytes_per_s: int,
        is_busy: Callable[[], bool],
        moments: PlaceMoments,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._roots = roots
        self._reads = reads
        self._every_s = every_s
        self._rate_bytes_per_s = rate_bytes_per_s
        self._is_busy = is_busy
        self._moments = moments
        self._clock = clock
        self._wall_clock = wall_clock
        self._tried_s: dict[int, float] = {}

    async def run(self) -> None:
        """Scrub until cancelled."""
        threads = ThreadPoolExecutor(1, "scrub")
        try:
            while True:
                places = [
                    each
                    for held in self._catalog.versions()
                    for each in held.places
                    if not each.is_unseen
                ]
                known = {each.number for each in places}
                self._tried_s = {
                    each: at_s for each, at_s in self._tried_s.items() if each in known
                }
                due = next_due(
                    places,
                    self._moments.look(places),
                    self._tried_s,
                    now_s=self._clock(),
                    every_s=self._every_s,
                )
                if due.place is None or due.wait_s:
                    await asyncio.sleep(min(due.wait_s, _IDLE_S))
                    continue
                try:
                    await self._scrub(due.place.number, threads)
                except CkptdError as error:
                    _log.warning("version.not_checked", place=due.place.number, why=str(error))
                    await asyncio.sleep(_IDLE_S)
                self._tried_s[due.place.number] = self._clock()
        finally:
            await asyncio.to_thread(threads.shutdown)  # they read below roots, which close next

    async def _scrub(self, number: int, threads: ThreadPoolExecutor) -> None:
        """Scrub a place to its end."""
        hashed = await self._catalog.hashed(number)
        stopped = threading.Event()
        reading = Reading(
            pace=ReadPace(self._rate_bytes_per_s, stopped),
            is_from_disk=True,
            is_cancelled=stopped.is_set,
        )
        noted_s = self._clock()
        found = self._catalog.place(number)
        done = found[1].scrubbed_units if found else 0
        is_right = True
        try:
            while done < len(hashed.files):
                await self._wait_for_others()
                found = self._catalog.place(number)
                if found is None:
                    return
                held, place = found
                batch = first_batch(
                    hashed.manifest.units, range(done, len(hashed.files)), _BATCH_BYTES
                )
                checked = await asyncio.get_running_loop().run_in_executor(
                    threads,
                    hash_again,
                    self._roots[place.root],
                    hashed,
                    [unit for unit in batch if unit not in place.unusable],
                    reading,
                )
                await self._reads.take_in(ReadReason.SCRUB, held, place, hashed, checked)
                is_right = is_right and not checked.undecided
                done = batch[-1] + 1
                if self._clock() - noted_s > _NOTE_S:
                    noted_s = self._clock()
                    await self._catalog.note_scrubbed(number, done)
        finally:
            stopped.set()
        found = self._catalog.place(number)
        is_right = is_right and found is not None and not found[1].suspect | found[1].changed
        await self._catalog.note_scrubbed(number, 0, self._wall_clock() if is_right else None)

    async def _wait_for_others(self) -> None:
        while self._is_busy():  # noqa: ASYNC110 (nobody reports that there is nothing to do)
            await asyncio.sleep(_BUSY_S)
