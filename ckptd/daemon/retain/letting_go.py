"""Lets a version go from this node, unless something turns out to be in the way.

It is looked at, taken off offer, and only then it is asked who else has it: two nodes that each
rely on the other would both remove it otherwise (``asking_holders.py``). If that is not enough it
is on offer again. Both what ``[retention]`` removes and copies that are too many go this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from ckptd.daemon.retain.named_places import NamedPlace
from ckptd.daemon.retain.removing import Doomed, Removing
from ckptd.daemon.retain.survey import Survey, Surveyed
from ckptd.daemon.serve.advertising import Advertising
from ckptd.errors import CkptdError, Conflict
from ckptd.model.ids import Digest
from ckptd.model.words import KeptBecause
from ckptd.observe.logs import get_logger
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import Place
from ckptd.store.published.removing import Removed
from ckptd.store.records.retention_records import RetentionRecords

_OFF_OFFER_S: Final = 10.0
"""So long it may take until peers would hear that a version is off offer; usually milliseconds."""

CHANGED: Final = "it changed since it was decided on; it is looked at again soon"

_log = get_logger()


class LetGo(NamedTuple):
    """What became of a version that was to go.

    Attributes:
        kept: Why it stays; ``None``: it went.
        why: More about that, a sentence for people; often empty.
        freed_bytes: How much it freed.
    """

    kept: KeptBecause | None = None
    why: str = ""
    freed_bytes: int = 0


class LettingGo:
    """Removes versions that were decided on. Belongs to the event loop.

    Args:
        catalog: What stands here.
        records: Which removals were begun.
        advertising: What this node says that it holds.
        survey: Says what is in the way.
        removing: Removes.

    Attributes:
        lock: Held by whoever decides and lets go; else two could rely on the same version.
    """

    def __init__(
        self,
        catalog: Catalog,
        records: RetentionRecords,
        advertising: Advertising,
        survey: Survey,
        removing: Removing,
    ) -> None:
        self.lock = asyncio.Lock()
        self._catalog = catalog
        self._records = records
        self._advertising = advertising
        self._survey = survey
        self._removing = removing

    async def let_go(self, chosen: Surveyed, have_enough: Callable[[], Awaitable[bool]]) -> LetGo:
        """Remove a version unless something is in the way.

        Args:
            chosen: What was decided on, as it was then.
            have_enough: Asks others, once it is off offer here, and says whether enough have it.
        """
        kept = self._survey.what_came_between(chosen)
        if kept is not None or not self._is_as_it_was(chosen):
            return self._stays(kept, chosen)
        try:
            try:
                shared = await self._removing.check(chosen.places)
            except Conflict as error:
                return LetGo(KeptBecause.SHARED, str(error))
            doomed = await self._examine(chosen.places, shared)
            if any(each.examined.foreign_count for each in doomed):
                return LetGo(KeptBecause.CHANGED)
            return await self._take_off_and_remove(chosen, doomed, have_enough)
        except Conflict as error:
            return LetGo(KeptBecause.RECOVERED_HERE, str(error))
        except CkptdError as error:
            _log.warning("retention.not_removed", version=chosen.text, why=str(error))
            return LetGo(KeptBecause.REFUSED, str(error))

    async def finish(self, numbers: Container[int], of: Surveyed) -> int:
        """Bring a removal to its end that a crash interrupted; return how many bytes that freed.

        Args:
            numbers: Places of which the removal was begun.
            of: A version as it stands now.

        Raises:
            CkptdError: It could not be removed.
        """
        found = [each for each in of.places if each.place.number in numbers]
        begun = [each for each in found if each.place.is_withdrawn]
        await self._records.end_removal(each.place.number for each in found if each not in begun)
        if not begun:
            return 0
        await self._catalog.see_family(begun[0].held.holding.checkpoint)
        shared = await self._removing.check(begun)
        return await self._remove_files(await self._examine(begun, shared))

    async def _take_off_and_remove(
        self,
        chosen: Surveyed,
        doomed: Sequence[Doomed],
        have_enough: Callable[[], Awaitable[bool]],
    ) -> LetGo:
        """Take a version off offer, ask who else has it, and remove it if enough have."""
        numbers = [each.place.number for each in chosen.places]
        is_begun = False
        for number in numbers:
            self._catalog.hold_back(number)
        try:
            kept = await self._what_forbids(chosen, have_enough)
            if kept is not None or not self._is_as_it_was(chosen):
                return self._stays(kept, chosen)
            await self._records.begin_removal(numbers)
            is_begun = True
        finally:
            if not is_begun:
                self._put_back(numbers)
        try:
            return LetGo(freed_bytes=await self._remove_files(doomed))
        except Conflict:  # it came to be in use; a place that is not gone was not touched
            self._put_back(numbers)
            await self._records.end_removal(numbers)
            raise

    def _is_as_it_was(self, chosen: Surveyed) -> bool:
        """Tell whether the places of a version are as they were when it was decided on.

        Copies do not count for what a job has, nor what a job has for copies.
        """
        kinds = {each.place.is_copy for each in chosen.places}
        known = [self._catalog.held(digest) for digest in chosen.digests]
        places = [place for held in known if held is not None for place in held.places]
        now = [place for place in places if place.is_copy in kinds]
        return list(map(_looks, now)) == [_looks(each.place) for each in chosen.places]

    def _put_back(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._catalog.release(number)

    async def _what_forbids(
        self, chosen: Surveyed, have_enough: Callable[[], Awaitable[bool]]
    ) -> KeptBecause | None:
        """Ask who else has a version that is off offer here; return why it stays all the same."""
        try:
            async with asyncio.timeout(_OFF_OFFER_S):
                await self._until_off_offer(self._going_from_here(chosen))
        except TimeoutError:
            return KeptBecause.RECOVERED_HERE  # a recovery offers it, too
        if not await have_enough():
            return KeptBecause.COPIES
        return self._survey.what_came_between(chosen)

    def _going_from_here(self, chosen: Surveyed) -> frozenset[Digest]:
        """Return the contents that have no other place on this node, which would stay."""
        numbers = {each.place.number for each in chosen.places}
        known = [self._catalog.held(digest) for digest in chosen.digests]
        return frozenset(
            held.holding.digest
            for held in known
            if held is not None and all(place.number in numbers for place in held.places)
        )

    async def _until_off_offer(self, digests: frozenset[Digest]) -> None:
        while True:
            offered = self._advertising.holdings
            if digests.isdisjoint(each.digest for each in offered.holdings):
                return
            await self._advertising.wait_change(offered.revision)

    def _stays(self, kept: KeptBecause | None, chosen: Surveyed) -> LetGo:
        """Return that a version stays; without a reason: it is not what was decided on any more."""
        if kept is None:
            return LetGo(KeptBecause.REFUSED, CHANGED)
        return LetGo(kept, self._survey.more_about(kept, chosen))

    async def _examine(self, places: Sequence[NamedPlace], shared: Container[int]) -> list[Doomed]:
        """Look at every file of some places, as :meth:`Removing.examine` does."""
        doomed: list[Doomed] = []
        async with aclosing(self._removing.examine(places, shared, doomed)) as looks:
            async for _ in looks:
                pass
        return doomed

    async def _remove_files(self, doomed: Sequence[Doomed]) -> int:
        """Remove places that were taken off offer; return how many bytes that frees."""
        removed: list[Removed] = []
        for each in doomed:
            async with aclosing(
                self._removing.remove(each, removed, with_foreign=False)
            ) as removing:
                async for _ in removing:
                    pass
        return sum(each.size_bytes for each in removed)


def _looks(place: Place) -> tuple[object, ...]:
    """Return what of a place counts for removing it."""
    return (
        place.number,
        place.directory,
        place.is_published,
        place.is_withdrawn,
        place.suspect,
        place.changed,
        place.absent,
    )
