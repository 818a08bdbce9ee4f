"""Answers what is asked about recoveries, and does to them what is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import msgspec

from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.recovery_results import RecoveryProgress, WatchEvent
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.core.events import (
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryPromoted,
    RecoveryResumed,
    RestWanted,
)
from ckptd.daemon.answer import explaining
from ckptd.daemon.answer.beginning import Beginning
from ckptd.daemon.answer.matching_names import MatchingNames
from ckptd.daemon.answer.milestone_messages import Announced
from ckptd.daemon.answer.recover_requests import (
    AskedRecovery,
    Terms,
    check_apart,
    terms_of,
)
from ckptd.daemon.answer.recovery_views import RecoveryViews, result_of
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import NotFound, UsageError
from ckptd.observe.logs import get_logger
from ckptd.store.records.ended import EndedRecovery

_RECOVERY_PROGRESS_S: Final = 1.0
"""How often a stream reports progress."""

_log = get_logger()


class RecoveryAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about recoveries.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        views: Shows those that have not ended.
        beginning: Begins them.
    """

    def __init__(
        self, parts: Parts, recovering: Recovering, views: RecoveryViews, beginning: Beginning
    ) -> None:
        self._recovering = recovering
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._report = recovering.runtime.report
        self._book = recovering.book
        self._wall_clock = parts.wall_clock
        self._views = views
        self._journal = parts.storage.journal
        self._requests = beginning.requests
        self._names = MatchingNames(parts.storage.catalog, recovering)
        self._beginning = beginning
        self._widening = recovering.widening

    def recoveries(self) -> list[RecoveryView]:
        """Return those that have not ended and those that have, newest first."""
        active = [self._views.of(recovery) for recovery in self._book]
        return [*reversed(active), *map(self._of_ended, self._book.ended())]

    def recovery(self, recovery: str) -> RecoveryView:
        """Return one recovery."""
        found = self._book.get(recovery)
        return self._views.of(found) if found else self._of_ended(self._book.result(recovery))

    def _of_ended(self, record: EndedRecovery) -> RecoveryView:
        return self._views.of_ended(record, self._book.story(record.recovery))

    def explain(self, recovery: str) -> ExplanationView:
        """Say why a recovery goes as it does, or went."""
        found = self._book.get(recovery)
        if found is None:
            ended, story = self._book.result(recovery), self._book.story(recovery)
            if story is None:
                return explaining.forgotten(ended)
            return explaining.explanation(
                self._views.of_ended(ended, story),
                story.explanation,
                story.coding,
                taken_at_s=story.taken_at_s,
                message=ended.message,
                why_off=self._recovering.coded.why_off,
            )
        known = self._scheduler.explain(found.id, now=self._now())
        assert known is not None, f"{found.id} is in the book and not in the scheduler"
        coded = self._recovering.coded
        return explaining.explanation(
            self._views.of(found),
            known,
            coded.why_of_all(found),
            taken_at_s=self._wall_clock(),
            why_off=coded.why_off,
        )

    async def recover(self, request: RecoverRequest) -> RecoveryView:
        """Begin a recovery; one for the same version and target that is under way is joined.

        One that is for other units is for these as well from now on. If it is being placed
        already, another one begins when it has ended.

        Raises:
            Conflict: Another one is on its way to that target, or above or below it; or something
                has the name of the link that is to lead there.
            StorageError: The disk refused; nothing was begun.
        """
        wanted = terms_of(request)
        while True:
            view = await self._begin_or_join(request, wanted)
            if isinstance(view, RecoveryView):
                return view
            await view.ended.wait()

    async def recover_matching(self, request: RecoverRequest) -> list[RecoveryView]:
        """Begin a recovery of each checkpoint that a pattern matches; all begin, or none does.

        Raises:
            UsageError: It matches a job, too many names, or what is for one name only was asked.
            NotFound: It matches nothing.
            Conflict: As for :meth:`recover`, of any of them.
            StorageError: The disk refused; nothing was begun.
        """
        if request.to is not None or request.shards or request.digest:
            raise UsageError(
                f"recover {request.checkpoint[:80]}",
                "is for several checkpoints, and --to, --shards and --digest are for one",
                "Name the checkpoint.",
            )
        terms = terms_of(request)
        names = await self._names.matching(request.checkpoint)
        asked = [
            await self._requests.read(msgspec.structs.replace(request, checkpoint=name), terms)
            for name in names
        ]
        async with self._beginning.lock:
            new = [each for each in asked if self._requests.find_same(each) is None]
            check_apart([(each.root, each.target) for each in new])
            views = {view.checkpoint: view for view in await self._begin(*new)}
        for each in asked:
            if each.checkpoint not in views:
                views[each.checkpoint] = await self.recover(each.request)
        return [views[name] for name in names]

    async def _begin_or_join(
        self, request: RecoverRequest, terms: Terms
    ) -> RecoveryView | OpenRecovery:
        """Begin a recovery or join one.

        Returns:
            It; or one that has to end first.
        """
        asked = await self._requests.read(request, terms)
        async with self._beginning.lock:  # of two requests for the same, one begins
            same = self._requests.find_same(asked)
            if same is None:
                (view,) = await self._begin(asked)
                return view
            is_widened: bool | None = False
            if not request.is_on_demand:  # else nothing is wanted but what will be read
                is_widened = await self._widening.widen(
                    same, terms.choice, rest_follows=terms.rest_follows
                )
            if is_widened is None:
                return same
            if request.activate and not await self._activate_at_end(same):
                return same
            return await self._join(same, request, is_widened=is_widened)

    async def _begin(self, *asked: AskedRecovery) -> list[RecoveryView]:
        return [self._views.of(each) for each in await self._beginning.begin(*asked)]

    async def _join(
        self, other: OpenRecovery, request: RecoverRequest, *, is_widened: bool
    ) -> RecoveryView:
        """Return a recovery that is under way; it leaves the background if somebody waits now.

        One on demand brings all of it if that is wanted now.
        """
        rest_is_wanted = other.record.is_on_demand and not request.is_on_demand
        if rest_is_wanted:
            await self._want_rest(other, is_background=request.is_background)
        is_promoted = other.record.is_background and not request.is_background
        if is_promoted:
            await self._journal.promote(other.id)
            other.record = replace(other.record, is_background=False)
            self._report(RecoveryPromoted(other.id))
            _log.info("recovery.promoted", recovery=other.id, checkpoint=other.record.checkpoint)
        view = self.recovery(other.id)  # it may have ended while the journal was written
        return msgspec.structs.replace(
            view,
            is_joined=True,
            is_promoted=is_promoted,
            is_widened=is_widened,
            rest_is_wanted=rest_is_wanted,
        )

    async def _activate_at_end(self, other: OpenRecovery) -> bool:
        """Let a link lead to what a recovery places; durable. Return whether it comes to that."""
        if not other.record.is_activating:
            await self._journal.activate(other.id)
            other.record = replace(other.record, is_activating=True)
        return self._book.get(other.id) is other  # it may have ended meanwhile

    async def _want_rest(self, other: OpenRecovery, *, is_background: bool) -> None:
        """Let a recovery on demand bring all of it; durable."""
        is_background = is_background or other.record.is_background
        await self._journal.want_rest(other.id, is_background=is_background)
        other.record = replace(other.record, is_on_demand=False, is_background=is_background)
        self._report(RestWanted(other.id, is_background))
        _log.info("recovery.rest_wanted", recovery=other.id, is_background=is_background)

    async def pause(self, recovery: str) -> RecoveryView:
        """Let a recovery stand still until it is resumed."""
        return await self._set_paused(recovery, is_paused=True)

    async def resume(self, recovery: str) -> RecoveryView:
        """Let a paused recovery go on."""
        return await self._set_paused(recovery, is_paused=False)

    async def cancel(self, recovery: str) -> RecoveryView:
        """Give a recovery up and remove what it has staged."""
        found = running(self._book, recovery)
        self._report(RecoveryCancelled(found.id))
        await found.ended.wait()
        return self.recovery(recovery)

    async def watch(self, recovery: str) -> AsyncGenerator[WatchEvent, None]:
        """Yield progress once a second, milestones, and last exactly one result."""
        announced = Announced()
        async for found in self._book.follow(recovery, _RECOVERY_PROGRESS_S):
            view = self._views.of(found)
            yield RecoveryProgress(view=view)
            for milestone in announced.news(view):
                yield milestone
        result = result_of(self._book.result(recovery))
        for milestone in announced.news(result):
            yield milestone
        yield result

    async def _set_paused(self, recovery: str, *, is_paused: bool) -> RecoveryView:
        found = running(self._book, recovery)
        await self._journal.set_paused(found.id, is_paused=is_paused)
        found.record = replace(found.record, is_paused=is_paused)
        self._report(RecoveryPaused(found.id) if is_paused else RecoveryResumed(found.id))
        return self.recovery(recovery)


def running(book: RecoveryBook, recovery: str) -> OpenRecovery:
    """Return a recovery that has not ended.

    Raises:
        NotFound: It has, or it is not known.
    """
    found = book.get(recovery)
    if found is None:
        how = book.result(recovery).result
        raise NotFound(f"recovery {recovery}", f"has ended already: {how.value}")
    return found
