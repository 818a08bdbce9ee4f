"""The service that publishes what jobs save into watched directories, with no command.

It looks into a directory when the kernel reports that something happened there, and now and then
(``save_reports.py``), and lets :mod:`ckptd.model.watch_decisions` say what becomes of each save.
One save is read at a time, at a rate, and slower while bodies move. That files of a version changed
or are gone is noticed by ``looking.py``, as of any other version; what was rotated away is
forgotten here as soon as its name is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.daemon.host.disk_load import disk_of, gives_way_to
from ckptd.daemon.keep.save_pace import SavePace
from ckptd.daemon.keep.save_reports import SaveReports
from ckptd.daemon.keep.saves_seen import SavesSeen
from ckptd.daemon.keep.watching import Watching
from ckptd.daemon.parts import Parts
from ckptd.errors import CkptdError, ContentChanged, NotFound
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.watch_decisions import (
    SCAN_S,
    LastChange,
    Refusal,
    SavedVerdict,
    SeenName,
    Standing,
    WatchLook,
    behind_s,
    decide,
    newest_names,
    next_look_s,
    rotated_away,
    to_look_into,
)
from ckptd.model.watched_names import WatchRule
from ckptd.model.words import SavedState
from ckptd.observe.durations import NO_RECOVERIES
from ckptd.observe.logs import get_logger
from ckptd.store.files.layout import inside
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.saved_listing import (
    Stamp,
    is_plain_directory,
    pointer_text,
    stamp_of,
)

SAVES_MAX: Final = 64
"""So many of the newest saves in a directory are looked at."""

_COLLECT_S: Final = 1.0
"""For so long changes of what is on offer are collected: what a recovery brings is no save."""
_SHARE_MAX: Final = 0.02
"""Looking takes no more of the time than that, unless one look in :data:`SCAN_S` does."""
_AGAIN_S: Final = 5.0
"""A save that was not complete is tried again then."""
_REFUSED_S: Final = 600.0
"""One that could not be published otherwise: it may have been read as a whole before."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _Refused:
    why: str
    changed_at_s: float
    until_s: float
    is_passing: bool


@dataclass(slots=True)
class WatchedDirectory:
    """What is known of a watched directory. Only the service changes it.

    Attributes:
        rule: What the configuration says of it.
        root: Where it lies.
        relative: Its path below the root.
        reports: Has the kernel report what happens there.
        verdicts: What becomes of each save.
        obstacle: Why it could not be looked into; empty: it was.
        taken: Saves that were published since the start.
        gives_way: To whom reading them gave way, and how; empty: none was read yet.
        stamps: Of saves that are looked into: the last one, and since when it is that.
        refused: Saves that could not be published.
        standing: What the catalog had in the directory when it was looked into.
        looking: One look at a time.
    """

    rule: WatchRule
    root: Root
    relative: str
    reports: SaveReports
    verdicts: list[SavedVerdict] = field(default_factory=list)
    obstacle: str = ""
    taken: int = 0
    gives_way: str = ""
    stamps: dict[str, tuple[Stamp, float]] = field(default_factory=dict)
    refused: dict[str, _Refused] = field(default_factory=dict)
    standing: dict[str, Standing] = field(default_factory=dict)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def waiting(self) -> list[str]:
        """Return the names of saves that are not quiet or complete yet."""
        return [each.name for each in self.verdicts if each.state is SavedState.WAITS]

    def changes(self, now_s: float) -> dict[str, LastChange]:
        """Return when something changed last in the saves that are looked into."""
        return {
            name: LastChange(stamp.changed_at_s, now_s - since_s)
            for name, (stamp, since_s) in self.stamps.items()
        }


class TakingSaves:
    """Publishes what is saved into watched directories.

    Args:
        parts: What the daemon is made of.
        is_busy: Tells whether bodies move.
        watching: Has the kernel report.
        offer_changed: Returns when something else is on offer.
        clock: Seconds that go on.

    Attributes:
        publish: Publishes; given how fast it reads.
        note_seen: Given saves that are complete, and when they changed last, in Unix time.
        watched: All directories, as configured.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        is_busy: Callable[[], bool],
        watching: Watching,
        offer_changed: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.publish: Callable[[PublishRequest, SavePace], Awaitable[PublishResult]]
        self.note_seen: Callable[[CheckpointName, Version, float], None] = lambda *_: None
        self._catalog: Catalog = parts.storage.catalog
        self._is_busy = is_busy
        self._offer_changed = offer_changed
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._idle_refusal = ""
        self._on_offer = NO_RECOVERIES
        self.watched: list[WatchedDirectory] = []
        for rule in parts.config.watch:
            root, relative = parts.storage.roots.locate(rule.directory)
            reports = SaveReports(watching, rule, root, relative)
            self.watched.append(WatchedDirectory(rule, root, relative, reports))

    def seen(self) -> SavesSeen:
        """Return what became of saves, as numbers."""
        now_s = self._clock()
        verdicts = [each for watched in self.watched for each in watched.verdicts]
        behind = (behind_s(each.verdicts, each.changes(now_s)) for each in self.watched)
        return SavesSeen(
            states=Counter(each.state for each in verdicts),
            not_taken=Counter(each.reason for each in verdicts if each.reason is not None),
            taken=sum(each.taken for each in self.watched),
            blind=sum(bool(each.obstacle) for each in self.watched),
            behind_s=max(behind, default=0.0),
            on_offer=self._on_offer,
        )

    async def run(self) -> None:
        """Look and publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.watched:
                tasks.create_task(self._follow_catalog())
            # Each by itself: a disk that does not answer must not hide the others.
            for watched in self.watched:
                looked = asyncio.Event()
                tasks.create_task(self._look_on(watched, looked))
                tasks.create_task(self._take_on(watched, looked))

    async def _look_on(self, watched: WatchedDirectory, looked: asyncio.Event) -> None:
        reports = watched.reports
        while True:
            reports.happened.clear()
            # Before the look: what happens after that is reported.
            await reports.follow(watched.waiting())
            began_s = self._clock()
            await self.look(watched)
            looked.set()
            took_s = self._clock() - began_s
            least_s = min(took_s / _SHARE_MAX, SCAN_S)
            changes = watched.changes(self._clock())
            next_s = next_look_s(watched.verdicts, changes, is_reported=reports.is_whole)
            await asyncio.sleep(least_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(next_s - least_s, 0.0)):
                    await reports.happened.wait()

    async def _follow_catalog(self) -> None:
        """Have directories looked into in which something stands otherwise by the catalog."""
        while True:
            await self._offer_changed()
            await asyncio.sleep(_COLLECT_S)
            for watched in self.watched:
                if self._standing(watched) != watched.standing:
                    watched.reports.happened.set()

    async def _take_on(self, watched: WatchedDirectory, looked: asyncio.Event) -> None:
        while True:
            await looked.wait()
            looked.clear()
            if _next_due(watched) is None:
                continue
            async with self._one_at_a_time:
                await self.look(watched)  # others may have taken their time
                due = _next_due(watched)
                if due is not None:
                    await self._take(watched, due)
                    looked.set()  # there may be more

    async def look(self, watched: WatchedDirectory) -> None:
        """Look into a directory once, and forget what was rotated away."""
        async with watched.looking:
            await self._look_once(watched)

    async def _look_once(self, watched: WatchedDirectory) -> None:
        try:
            look = await self._look(watched)
            for known in rotated_away(watched.rule, look):
                if await self._catalog.forget_if_gone(known.number):
                    _log.info("watch.gone", **_facts(watched.rule, known.version))
        except CkptdError as error:
            self._note_obstacle(watched, str(error))
            return
        self._note_obstacle(watched, "")
        verdicts = decide(watched.rule, look)
        self._note_verdicts(watched, verdicts)
        watched.verdicts = verdicts

    async def _look(self, watched: WatchedDirectory) -> WatchLook:
        rule, root, relative = watched.rule, watched.root, watched.relative
        standing = watched.standing = self._standing(watched)

        def look() -> tuple[frozenset[str], tuple[SeenName, ...], dict[str, Stamp], str | None]:
            root.check_in_place()
            there = frozenset(root.names(relative))
            names = tuple(
                SeenName(name, is_plain_directory(root, inside(relative, name)))
                for name in newest_names(rule, there, SAVES_MAX)
            )
            stamps = {
                name: stamp
                for name in to_look_into(rule, names, standing)
                if (stamp := stamp_of(root, inside(relative, name))) is not None
            }
            pointer = pointer_text(root, inside(relative, rule.pointer)) if rule.pointer else None
            return there, names, stamps, pointer

        there, names, stamps, pointer = await asyncio.to_thread(look)
        now_s = self._clock()
        watched.stamps = {
            name: watched.stamps[name]
            if name in watched.stamps and watched.stamps[name][0] == stamp
            else (stamp, now_s)
            for name, stamp in stamps.items()
        }
        watched.refused = {name: each for name, each in watched.refused.items() if name in there}
        return WatchLook(
            there,
            names,
            watched.changes(now_s),
            standing,
            {
                name: Refusal(
                    each.why, each.changed_at_s, each.until_s - now_s, is_passing=each.is_passing
                )
                for name, each in watched.refused.items()
            },
            pointer,
        )

    def _standing(self, watched: WatchedDirectory) -> dict[str, Standing]:
        """Return what the catalog has right below a directory."""
        prefix = f"{watched.relative}/" if watched.relative else ""
        return {
            place.directory.removeprefix(prefix): Standing(
                place.number,
                held.holding.checkpoint,
                held.holding.version,
                place.state,
                place.added_at_s,
            )
            for held, place in self._catalog.places_of(watched.root.name)
            if place.directory.startswith(prefix)
            and "/" not in place.directory.removeprefix(prefix)
        }

    async def _take(self, watched: WatchedDirectory, due: SavedVerdict) -> None:
        rule = watched.rule
        ended, change = threading.Event(), watched.stamps.get(due.name)
        disk = await asyncio.to_thread(_disk_of, watched)
        pace = SavePace(rule.rate_bytes_per_s, disk, is_busy=self._is_busy, ended=ended)
        request = PublishRequest(
            directory=f"{rule.directory.rstrip('/')}/{due.name}",
            checkpoint=rule.checkpoint,
            version=due.version,
            require=rule.require,
            settled_s=rule.quiet_s,
            replace=due.replaces,
        )
        async with asyncio.TaskGroup() as tasks:
            measuring = tasks.create_task(pace.measure())
            try:
                await self.publish(request, pace)
            except CkptdError as error:
                self._note_refusal(watched, due, error)
            else:
                watched.taken += 1
                if change is not None:
                    self._on_offer = self._on_offer.plus(self._clock() - change[1])
                watched.refused.pop(due.name, None)
                _log.info("watch.taken", **_facts(rule, due.version), replaces=due.replaces)
            finally:
                ended.set()
                measuring.cancel()
        watched.gives_way = await asyncio.to_thread(gives_way_to, disk, self._idle_refusal)

    def note_idle(self, refusal: str) -> None:
        """Take note of why saves are not read in the idle class of disks; empty: they are."""
        self._idle_refusal = refusal

    def _note_refusal(
        self, watched: WatchedDirectory, due: SavedVerdict, error: CkptdError
    ) -> None:
        is_passing = isinstance(error, ContentChanged | NotFound)  # or it was rotated away
        stamp = watched.stamps.get(due.name)
        if stamp is None:
            return
        until_s = self._clock() + (_AGAIN_S if is_passing else _REFUSED_S)
        watched.refused[due.name] = _Refused(str(error), stamp[0].changed_at_s, until_s, is_passing)

    def _note_obstacle(self, watched: WatchedDirectory, why: str) -> None:
        if why and why != watched.obstacle:
            _log.warning("watch.blind", directory=watched.rule.directory, why=why)
        watched.obstacle = why
        if why:
            watched.verdicts, watched.stamps = [], {}

    def _note_verdicts(self, watched: WatchedDirectory, verdicts: Iterable[SavedVerdict]) -> None:
        before = {(each.name, each.state, each.why) for each in watched.verdicts}
        for each in verdicts:
            stamp = watched.stamps.get(each.name)
            if each.state is SavedState.DUE and stamp is not None:
                self.note_seen(watched.rule.checkpoint, each.version, stamp[0].changed_at_s)
            if (each.name, each.state, each.why) in before:
                continue
            if each.state is SavedState.WAITS:
                _log.info("watch.waits", **_facts(watched.rule, each.version), why=each.why)
            elif each.state is SavedState.NOT_TAKEN:
                _log.info("watch.not_taken", **_facts(watched.rule, each.version), why=each.why)


def _disk_of(watched: WatchedDirectory) -> str | None:
    facts = watched.root.stat("")
    return None if facts is None else disk_of(facts.st_dev)


def _next_due(watched: WatchedDirectory) -> SavedVerdict | None:
    """Return the newest save that is to be published."""
    return next((each for each in watched.verdicts if each.state is SavedState.DUE), None)


def _facts(rule: WatchRule, version: int) -> dict[str, object]:
    return {"checkpoint": rule.checkpoint, "version": version, "directory": rule.directory}
