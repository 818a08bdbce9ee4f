"""The service that keeps what is on offer true.

It looks at the metadata of everything (``looking.py``), where the kernel reports something soon
(``watching.py``); hashes again what looks different (``rechecking.py``); and reads everything again
now and then, however it looks (``scrubbing.py``). What was published without an attribute document
gets one (``attributing.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.daemon.keep.attributing import Attributing
from ckptd.daemon.keep.first_looks import FirstLooks
from ckptd.daemon.keep.looking import Looking
from ckptd.daemon.keep.place_moments import PlaceMoments
from ckptd.daemon.keep.reads import Reads
from ckptd.daemon.keep.rechecking import Rechecking
from ckptd.daemon.keep.scrubbing import Scrubbing
from ckptd.daemon.parts import Parts
from ckptd.daemon.serve.content import ServedContent
from ckptd.model.ids import Digest
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauge
from ckptd.store.published.places import HeldVersion, Place

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Keep:
    """How what is on offer is kept at one moment.

    Attributes:
        watched_directories: Directories in which the kernel reports what happens.
        unwatched_places: Places that it does not report about as a whole.
        obstacle: Why it does not; empty if there are none.
        suspect_units: Units that are to be hashed again.
        changed_units: Units that are not what was published, or are gone.
        oldest_check_age_s: Since the place that was checked longest ago was; ``None``: there is
            none, or it is not known.
        appeared: What came to directories after they were published, the first few paths.
    """

    watched_directories: int
    unwatched_places: int
    obstacle: str
    suspect_units: int
    changed_units: int
    oldest_check_age_s: float | None
    appeared: tuple[str, ...] = ()


class Keeping:
    """Keeps what is on offer true.

    Args:
        parts: What the daemon is made of.
        is_busy: Tells whether there is work that goes before scrubbing.

    Attributes:
        reads: What was read again.
        rechecking: Hashes suspect units again.
        looking: Looks at places.
        first_looks: Looks at what was not looked at before the daemon was ready.
        moments: Knows when places were recorded and checked.
    """

    def __init__(self, parts: Parts, *, is_busy: Callable[[], bool]) -> None:
        storage, config = parts.storage, parts.config
        self._catalog = storage.catalog
        self.moments = PlaceMoments(parts.wall_clock)
        self.reads = Reads(storage.catalog)
        self._attributing = Attributing(parts)
        self.first_looks = FirstLooks(storage.catalog)
        self.rechecking = Rechecking(
            storage.catalog,
            storage.roots,
            self.reads,
            rate_bytes_per_s=config.store.check_rate_bytes_per_s,
        )
        self.looking = Looking(
            storage.catalog,
            storage.roots,
            self.reads,
            on_suspect=self.rechecking.suspect,
            every_s=config.store.check_every_s,
        )
        self._scrubbing = (
            Scrubbing(
                storage.catalog,
                storage.roots,
                self.reads,
                every_s=config.scrub.every_s,
                rate_bytes_per_s=config.scrub.rate_bytes_per_s,
                is_busy=is_busy,
                moments=self.moments,
                wall_clock=parts.wall_clock,
            )
            if config.scrub.every_s is not None
            else None
        )

    async def run(self) -> None:
        """Keep it true until cancelled."""
        # While the dates of earlier lives and the clock still fit together, as far as they do.
        self.moments.look(place for held in self._catalog.versions() for place in held.places)
        self._catalog.on_place = self._note_place
        self._catalog.on_seen = lambda number: self.looking.soon([number])
        self._catalog.on_forgotten = _log_forgotten
        self.looking.watching.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.first_looks.run())
                tasks.create_task(self.looking.run())
                tasks.create_task(self.looking.watching.run())
                tasks.create_task(self.rechecking.run())
                tasks.create_task(self._attributing.run())
                if self._scrubbing is not None:
                    tasks.create_task(self._scrubbing.run())
        finally:
            self.looking.watching.close()

    def connect(self, content: ServedContent) -> None:
        """Hear what peers ask for, and of what they got something else was there."""
        content.asked_for = self.asked_for
        content.look_again = self.look_at
        content.questions.note_read = self.reads.note_question

    def asked_for(self, digest: Digest) -> None:
        """A peer asks for a version: what is suspect of it is hashed at once."""
        self.rechecking.hurry(digest)

    def look_at(self, digest: Digest) -> None:
        """Something seems to be wrong with a version: look at it soon."""
        held = self._catalog.held(digest)
        if held is not None:
            self.looking.soon([place.number for place in held.places])

    def keep(self) -> Keep:
        """Return how what is on offer is kept at this moment."""
        places = [place for held in self._catalog.versions() for place in held.places]
        offered = [place for place in places if not place.is_withdrawn]
        moments = self.moments.look(places)
        checked_s = [moments[place.number].known_good_s for place in offered]
        known_s = [moment_s for moment_s in checked_s if moment_s is not None]
        oldest_s = min(known_s) if known_s and len(known_s) == len(offered) else None
        watching = self.looking.watching
        return Keep(
            watched_directories=watching.directory_count,
            unwatched_places=watching.unwatched_count,
            obstacle=watching.obstacle,
            suspect_units=sum(len(place.suspect) for place in offered),
            changed_units=sum(len(place.changed) for place in offered),
            oldest_check_age_s=self.moments.age_s(oldest_s),
            appeared=self.looking.appeared(),
        )

    def _note_place(self, number: int) -> None:
        """A place was recorded, or has more units to be hashed again."""
        found = self._catalog.place(number)
        if found is not None and found[1].suspect:
            self.rechecking.suspect(number)
        else:
            self.looking.renew(number)


def _log_forgotten(held: HeldVersion, place: Place, why: str) -> None:
    _log.info(
        "version.forgotten",
        checkpoint=held.holding.checkpoint,
        version=held.holding.version,
        root=place.root,
        directory=place.directory,
        why=why,
    )


KEEP_METRICS: Final[Sequence[MetricRow[Keep]]] = (
    gauge(
        "watched_directories",
        "Directories on offer in which the kernel reports what happens.",
        lambda keep: keep.watched_directories,
    ),
    gauge(
        "unwatched_places",
        "Places on offer that are only looked at every [store] check_every.",
        lambda keep: keep.unwatched_places,
    ),
    gauge(
        "suspect_units",
        "Units whose files look different: to be hashed again, and not served meanwhile.",
        lambda keep: keep.suspect_units,
    ),
    gauge(
        "unserved_units",
        "Units that are not what was published, or are gone, where they stood.",
        lambda keep: keep.changed_units,
    ),
    gauge(
        "oldest_check_age_seconds",
        "Since the place on offer that was checked longest ago was hashed as a whole.",
        lambda keep: keep.oldest_check_age_s,
    ),
)
