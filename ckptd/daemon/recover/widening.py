"""Lets recoveries that are under way bring more units than they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from ckptd.core.events import ChoiceWidened
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.errors import Conflict
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.unit_choice import Choice, format_choice, widened
from ckptd.model.words import Stage
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Root
from ckptd.store.records.journal import Journal

_TOO_LATE = frozenset({Stage.PLACING, Stage.DISCARDING})

_log = get_logger()


class Widening:
    """Widens choices.

    Args:
        stages: Returns how far recoveries are that have not ended.
        standing_at: Returns what is recorded as standing at a target of a version.
        journal: Keeps what is wanted.
        report: Takes events.
    """

    def __init__(
        self,
        stages: Callable[[], Mapping[RecoveryId, Stage]],
        standing_at: Callable[[Digest, Root, str], BlockSet | None],
        journal: Journal,
        report: Callable[[ChoiceWidened], None],
    ) -> None:
        self._stages = stages
        self._standing_at = standing_at
        self._journal = journal
        self._report = report

    async def widen(
        self, recovery: OpenRecovery, choice: Choice | None, *, rest_follows: bool = False
    ) -> bool | None:
        """Let a recovery bring units, whatever else it brings. Durable.

        Args:
            recovery: Which recovery; it has not ended.
            choice: Which units; ``None``: all.
            rest_follows: When it has brought what is wanted, another one is to bring the others.

        Returns:
            Whether that is more than before; ``None``: it is too late, for it ends in a moment.

        Raises:
            NotFound: The version has no such units; nothing was changed.
            Conflict: It is not known yet which units that are.
            UsageError: Those are too many patterns.
            StorageError: The disk refused; nothing was changed.
        """
        before = recovery.choice
        wider = widened(before, choice)
        rest_follows = wider is not None and (rest_follows or recovery.record.rest_follows)
        if wider == before and rest_follows == recovery.record.rest_follows:
            return False
        blocks = None if wider is None else await self._blocks_of(recovery, wider)
        if self._is_too_late(recovery):
            return None
        text = format_choice(wider)
        await self._journal.widen(recovery.id, text, rest_follows=rest_follows)
        if self._is_too_late(recovery):
            return None
        recovery.record = replace(recovery.record, choice=text, rest_follows=rest_follows)
        if wider == before:
            return False
        self._report(ChoiceWidened(recovery.id, blocks))
        _log.info("recovery.widened", recovery=recovery.id, choice=text)
        return True

    def _is_too_late(self, recovery: OpenRecovery) -> bool:
        stage = self._stages().get(recovery.id)
        return stage is None or stage in _TOO_LATE

    async def _blocks_of(self, recovery: OpenRecovery, choice: Choice) -> BlockSet:
        """Return the blocks of a choice; of one that cannot be checked yet nobody may be sure."""
        known = recovery.described
        if known is None and choice == recovery.choice:
            return BlockSet()
        if known is None:
            raise Conflict(
                f"recovery {recovery.id}",
                "is under way for other units, and does not know yet which there are",
                f"Ask again when it transfers: ckptctl watch {recovery.id}",
            )
        standing = self._standing_at(known.digest, recovery.root, recovery.target)
        return await asyncio.to_thread(partial(choice.blocks_in, known.space, standing=standing))
