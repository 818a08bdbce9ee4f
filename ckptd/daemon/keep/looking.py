"""Looks at the metadata of everything on offer: now and then, and soon where something happened.

A look costs one ``stat`` a file and decides nothing about content: what looks different is marked
as suspect, to be hashed again. What cannot be the same content is marked as changed at once.

What is known to have changed is watched too: somebody may put it right, or mount it again. So it is
remembered what a changed file looked like; when it looks different, it is hashed once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptd.daemon.keep.reads import Reads, note_appeared, note_suspect, note_wrong_names
from ckptd.daemon.keep.watching import Watching
from ckptd.errors import CkptdError
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Differences, Recorded, compare
from ckptd.store.published.newcomers import Beside, look_beside
from ckptd.store.published.places import HeldVersion, Place

_SHARE_MAX: Final = 0.05
"""Of a core, for looks at a place in which something happens all the time."""

_APPEARED_SHOWN: Final = 20
"""So many names that appeared are said at once."""

_log = get_logger()

_Facts = tuple[int, ...] | None


@dataclass(slots=True)
class _Known:
    """What is kept of a place between looks.

    Attributes:
        recorded: What was recorded of its files; ``None`` if that may have changed since.
        facts: What files looked like that were different, or known to have changed.
        next_look_s: Not before this moment.
        beside: What else was in its directories when it was looked at first, and lately.
        appeared: What has come since then, and is no part of the version.
    """

    recorded: Recorded | None = None
    facts: dict[int, _Facts] = field(default_factory=dict)
    next_look_s: float = 0.0
    beside: tuple[Beside, Beside] | None = None
    appeared: frozenset[str] = frozenset()


class _Agenda:
    """Places of one root that are to be looked at soon."""

    def __init__(self) -> None:
        self.soon: set[int] = set()
        self._has_some = asyncio.Event()

    def add(self, number: int) -> None:
        self.soon.add(number)
        self._has_some.set()

    async def wait(self, wait_s: float) -> None:
        """Return when a place was added, or after some seconds."""
        try:
            async with asyncio.timeout(max(wait_s, 0.0)):
                await self._has_some.wait()
        except TimeoutError:
            return
        self._has_some.clear()


class Looking:
    """Looks at places. Belongs to the event loop; the looks are done in threads.

    Args:
        catalog: Knows the places.
        roots: Where they lie.
        reads: Counts what has changed.
        on_suspect: Called with each place that has units to be hashed again.
        every_s: How often everything is looked at.
        clock: Seconds that go on.

    Attributes:
        watching: Has the kernel report what happens at the places.
    """

    def __init__(
        self,
        catalog: Catalog,
        roots: Roots,
        reads: Reads,
        *,
        on_suspect: Callable[[int], None],
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watching = Watching(self.soon)
        self._catalog = catalog
        self._roots = roots
        self._reads = reads
        self._on_suspect = on_suspect
        self._every_s = every_s
        self._clock = clock
        self._known: dict[int, _Known] = {}
        self._agendas = {root.name: _Agenda() for root in roots}

    def soon(self, places: Collection[int]) -> None:
        """Look at some places soon."""
        for number in places:
            found = self._catalog.place(number)
            if found is None:
                self._forget(number)
            elif found[1].root in self._agendas:
                self._agendas[found[1].root].add(number)

    def renew(self, number: int) -> None:
        """Look soon at a place that was added, or that has other files than before."""
        known = self._known.get(number)
        if known is not None:
            known.recorded = None
            known.facts.clear()
            known.beside, known.appeared = None, frozenset()
        self.soon([number])

    async def run(self) -> None:
        """Look until cancelled: at everything first, and then every now and then."""
        async with asyncio.TaskGroup() as tasks:
            # Each root by itself: a disk that does not answer must not hide the others.
            for root in self._agendas:
                tasks.create_task(self._run(root))

    async def _run(self, root: str) -> None:
        agenda, all_at_s = self._agendas[root], self._clock()
        while True:
            now_s = self._clock()
            if now_s >= all_at_s:
                await self.look_at_all(root)
                all_at_s = self._clock() + self._every_s
                continue
            ready = {each for each in agenda.soon if self._next_look_s(each) <= now_s}
            for number in sorted(ready):
                agenda.soon.discard(number)
                await self.look_at(number, is_reported=True)
            waiting = [self._next_look_s(each) for each in agenda.soon]
            await agenda.wait(min([all_at_s, *waiting]) - self._clock())

    async def look_at_all(self, root: str) -> None:
        """Look at every place in a root once, and forget what is kept of those that are gone."""
        numbers = [
            place.number
            for held in self._catalog.versions()
            for place in held.places
            if place.root == root
        ]
        for number in numbers:
            await self.look_at(number)
        for number in list(self._known):
            if self._catalog.place(number) is None:
                self._forget(number)

    async def look_at(self, number: int, *, is_reported: bool = False) -> None:
        """Look at a place, and tell the catalog what is different.

        Args:
            number: Which place.
            is_reported: Something happened there; its directories may be other ones by now.
        """
        found = self._catalog.place(number)
        if found is None:
            self._forget(number)
            return
        if found[1].is_unseen:
            return  # the catalog looks first, and says so when it has
        place, began_s = found[1], self._clock()
        is_new = number not in self._known
        known = self._known.setdefault(number, _Known())
        try:
            root = self._roots[place.root]
            recorded = known.recorded
            if recorded is None:
                recorded = known.recorded = await self._recorded(number)
            if is_new or is_reported:
                await self.watching.follow(number, root, recorded)
            differences = await self._compare(number, known, root, place)
            if differences is None:
                return  # it is recorded otherwise by now, and looked at again soon
            took_s = self._clock() - began_s
            known.next_look_s = self._clock() + took_s / _SHARE_MAX
            await self._take_in(number, known, differences)
            await self._look_beside(number, known, root)
        except CkptdError as error:
            # It was forgotten meanwhile, or is damaged, which the catalog says as well.
            _log.warning("version.not_checked", place=number, why=str(error))

    async def _recorded(self, number: int) -> Recorded:
        return await asyncio.to_thread(Recorded, await self._catalog.hashed(number))

    async def _compare(
        self, number: int, known: _Known, root: Root, place: Place
    ) -> Differences | None:
        """Compare; if something differs, once more with what the database has by now.

        Returns:
            ``None`` if other files were recorded meanwhile: see :meth:`renew`.
        """
        about, recorded = place.changed, known.recorded
        if recorded is None:
            return None
        differences = await asyncio.to_thread(compare, root, recorded, about)
        if not differences.suspect.keys() | differences.changed.keys() <= place.suspect | about:
            if known.recorded is not recorded:
                return None
            recorded = known.recorded = await self._recorded(number)
            differences = await asyncio.to_thread(compare, root, recorded, about)
        return differences if known.recorded is recorded else None

    async def _take_in(self, number: int, known: _Known, found: Differences) -> None:
        current = self._catalog.place(number)
        if current is None:
            self._forget(number)
            return
        place = current[1]
        before, known.facts = known.facts, found.facts
        assert known.recorded is not None
        is_empty = bool(found.changed) and len(found.changed) == len(known.recorded)
        if is_empty and await self._catalog.forget_if_gone(number):
            self._forget(number)
            return
        self._mark(current[0], place, found, before)
        current = self._catalog.place(number)
        if current and current[1].suspect:
            self._on_suspect(number)

    async def _look_beside(self, number: int, known: _Known, root: Root) -> None:
        """Say what came to the directory of a version after it was published.

        That of a single file has others all the time.
        """
        found, recorded = self._catalog.place(number), known.recorded
        if found is None or recorded is None or not found[1].is_published:
            return
        if len(recorded) <= 1:
            return
        latest = known.beside[1] if known.beside else None
        try:
            beside = await asyncio.to_thread(look_beside, root, recorded, latest)
        except CkptdError:
            return  # a directory is gone, which the look at its files has said
        first = known.beside[0] if known.beside else beside
        known.beside = (first, beside)
        appeared = beside.names - first.names
        if appeared - known.appeared:
            note_appeared(*found, sorted(appeared - known.appeared)[:_APPEARED_SHOWN])
        known.appeared = appeared

    def appeared(self) -> tuple[str, ...]:
        """Return what came to directories after they were published, the first few paths."""
        roots = ((number, known) for number, known in self._known.items() if known.appeared)
        paths = []
        for number, known in roots:
            found = self._catalog.place(number)
            if found is not None:
                root = found[1].root
                paths += [self._roots.absolute(root, path) for path in sorted(known.appeared)]
        return tuple(paths[:_APPEARED_SHOWN])

    def _mark(
        self, held: HeldVersion, place: Place, found: Differences, before: Mapping[int, _Facts]
    ) -> None:
        """Tell the catalog what was found of each unit."""
        changed = {unit: why for unit, why in found.changed.items() if unit not in place.changed}
        suspect = {
            unit: why
            for unit, why in found.suspect.items()
            if unit not in place.suspect | place.changed
        }
        again = {
            unit
            for unit in place.changed - found.changed.keys()
            if unit in found.facts and (unit not in before or before[unit] != found.facts[unit])
        }
        if found.bare_names != place.wrong_names:
            note_wrong_names(held, place, found.bare_names)
            self._catalog.mark_names(place.number, found.bare_names)
        if changed:
            self._reads.note_changed(held, place, changed)
            self._catalog.mark_changed(place.number, changed, changed[min(changed)])
        if suspect:
            note_suspect(held, place, suspect)
            self._catalog.mark_suspect(place.number, suspect, suspect[min(suspect)])
        if again:
            why = "something happened to it since it was found to have changed"
            self._catalog.mark_suspect(place.number, again, why, is_again=True)

    def _next_look_s(self, number: int) -> float:
        known = self._known.get(number)
        return known.next_look_s if known else 0.0

    def _forget(self, number: int) -> None:
        self._known.pop(number, None)
        for agenda in self._agendas.values():
            agenda.soon.discard(number)
        self.watching.forget(number)
