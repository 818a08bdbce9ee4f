"""Brings the rest of a version of which only what is urgent was waited for.

When the units are placed that a recovery was for, and the rest was to follow, another recovery
begins to the same place: in the background, in the journal from the moment at which the first one
is out of it, and otherwise like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ckptd.core.effects import EndRecovery
from ckptd.daemon.host.shortages import outlast
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook, new_recovery_id
from ckptd.model.words import Result
from ckptd.observe.logs import get_logger
from ckptd.store.records.journal import Journal, JournaledRecovery

_log = get_logger()


class FollowingUp:
    """Begins with the rest.

    Args:
        book: All recoveries.
        journal: Has the recovery that follows already, from the end of the first one.
        begin: Hands a recovery to the scheduler.
        wall_clock: Gives Unix time, for dates.
    """

    def __init__(
        self,
        book: RecoveryBook,
        journal: Journal,
        begin: Callable[[OpenRecovery], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._journal = journal
        self._begin = begin
        self._wall_clock = wall_clock

    def follower_of(self, recovery: OpenRecovery, effect: EndRecovery) -> JournaledRecovery | None:
        """Return the recovery that brings what one was to leave for later; ``None``: none does."""
        record, final = recovery.record, effect.final
        is_due = record.rest_follows and effect.result is Result.CHOSEN
        if not is_due or final.digest is None:
            return None
        return JournaledRecovery(
            recovery=new_recovery_id(),
            checkpoint=record.checkpoint,
            version=final.version,
            digest=None,
            root=recovery.root.name,
            target=recovery.target,
            patience_ns=None,
            is_paused=False,
            started_at_s=self._wall_clock(),
            is_background=True,
            digest_prefix=final.digest,
            is_name_awaited=True,
            shards=record.shards,
            place=record.place,
            is_activating=record.is_activating,
        )

    async def begin(self, recovery: OpenRecovery, follower: JournaledRecovery) -> None:
        """Begin with the rest, unless something else is on its way to that place already.

        Args:
            recovery: What has ended.
            follower: What follows, as it is in the journal.
        """
        other = self._book.overlapping(recovery.root, recovery.target)
        if other is not None:
            forget = partial(self._journal.forget, follower.recovery)
            await outlast(forget, f"recovery {follower.recovery}")
            _log.info("recovery.not_followed", recovery=recovery.id, other=other.id)
            return
        why = f"the rest of what {recovery.id} began"
        self._begin(self._book.new(follower, recovery.root, recovery.target, why))
