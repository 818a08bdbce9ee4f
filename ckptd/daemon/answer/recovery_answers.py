"""Answers what is asked about recoveries, and does to them what is asked."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.recovery_results import RecoveryProgress, WatchEvent
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.core.events import RecoveryCancelled, RecoveryPaused, RecoveryResumed
from ckptd.daemon.answer import explaining
from ckptd.daemon.answer.recovery_views import RecoveryViews, result_of, view_of_ended
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import NotFound
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId, parse_checkpoint_name, parse_version
from ckptd.observe.logs import get_logger
from ckptd.store.files.layout import usual_target
from ckptd.store.records.journal import JournaledRecovery

_RECOVERY_PROGRESS_S: Final = 1.0
"""How often a stream reports progress."""

_log = get_logger()


class RecoveryAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about recoveries.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        views: Shows those that have not ended.
    """

    def __init__(self, parts: Parts, recovering: Recovering, views: RecoveryViews) -> None:
        self._recovering = recovering
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._report = recovering.runtime.report
        self._book = recovering.book
        self._wall_clock = parts.wall_clock
        self._views = views
        self._journal = parts.storage.journal
        self._roots = parts.storage.roots

    def recoveries(self) -> list[RecoveryView]:
        """Return those that have not ended and those that have, newest first."""
        active = [self._views.of(recovery) for recovery in self._book]
        ended = [view_of_ended(record) for record in self._book.ended()]
        return [*reversed(active), *ended]

    def recovery(self, recovery: str) -> RecoveryView:
        """Return one recovery."""
        found = self._book.get(recovery)
        return self._views.of(found) if found else view_of_ended(self._book.result(recovery))

    def explain(self, recovery: str) -> ExplanationView:
        """Say why a recovery goes as it does, or went."""
        found = self._book.get(recovery)
        if found is None:
            ended, story = self._book.result(recovery), self._book.story(recovery)
            if story is None:
                return explaining.forgotten(ended)
            return explaining.explanation(
                view_of_ended(ended),
                story.explanation,
                taken_at_s=story.taken_at_s,
                message=ended.message,
            )
        known = self._scheduler.explain(found.id, now=self._now())
        assert known is not None, f"{found.id} is in the book and not in the scheduler"
        return explaining.explanation(self._views.of(found), known, taken_at_s=self._wall_clock())

    async def recover(self, request: RecoverRequest) -> RecoveryView:
        """Begin a recovery; one for the same version and place that is under way is returned."""
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        root, target = self._roots.default(), ""
        if request.to is not None:
            root, target = self._roots.locate(request.to)
        elif version is not None:
            target = usual_target(checkpoint, version)
        for other in self._book:
            is_same = other.record.checkpoint == checkpoint and other.record.version == version
            if is_same and other.root is root and other.target == target:
                return self._views.of(other)
        record = JournaledRecovery(
            recovery=RecoveryId(f"r-{secrets.token_hex(6)}"),
            checkpoint=checkpoint,
            version=version,
            digest=None,
            root=root.name,
            target=target,
            patience_ns=None if request.patience_s is None else int(request.patience_s * SECOND),
            is_paused=False,
            started_at_s=self._wall_clock(),
            is_background=request.is_background,
        )
        await self._journal.begin(record)
        recovery = OpenRecovery(record, root, target)
        _log.info("recovery.started", recovery=recovery.id, checkpoint=checkpoint, version=version)
        self._recovering.begin(recovery)
        return self._views.of(recovery)

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
        """Yield progress once a second, the first at once, and last exactly one result."""
        async for found in self._book.follow(recovery, _RECOVERY_PROGRESS_S):
            yield RecoveryProgress(view=self._views.of(found))
        yield result_of(self._book.result(recovery))

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
