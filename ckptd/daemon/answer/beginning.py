"""Begins recoveries that were asked for, whoever asked: one at a time, so that no two collide."""

from __future__ import annotations

import asyncio

from ckptd.daemon.answer.recover_requests import AskedRecovery, RecoverRequests
from ckptd.daemon.copying.wanted import CopyWanted
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery, is_taken
from ckptd.daemon.recover.recovering import Recovering
from ckptd.model.ids import RecoveryId


class Beginning:
    """Begins recoveries. Belongs to the event loop.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.

    Attributes:
        requests: Reads what is asked for.
        lock: Held from the look at what is under way until one has begun: of two requests for the
            same, one begins.
    """

    def __init__(self, parts: Parts, recovering: Recovering) -> None:
        self._recovering = recovering
        self._book = recovering.book
        self._journal = parts.storage.journal
        self._catalog = parts.storage.catalog
        self.requests = RecoverRequests(parts, recovering)
        self.lock = asyncio.Lock()

    async def begin(self, *asked: AskedRecovery) -> list[OpenRecovery]:
        """Begin some recoveries once all of them may begin; the lock is held.

        Raises:
            Conflict: Another one is on its way to the target of one, or above or below it.
            StorageError: The disk refused; nothing was begun.
        """
        for each in asked:
            if each.version is not None:
                self._catalog.check_room(each.checkpoint, each.version, promised=len(asked) - 1)
            rival = self._book.overlapping(each.root, each.target)
            if rival is not None:
                raise is_taken(each.root.absolute(each.target), rival)
        records = [self.requests.record_of(each) for each in asked]
        await self._journal.begin(*records)
        begun = []
        for each, record in zip(asked, records, strict=True):
            recovery = self._book.new(record, each.root, each.target)
            self._recovering.begin(recovery)
            begun.append(recovery)
        return begun

    async def begin_copy(self, wanted: CopyWanted) -> RecoveryId:
        """Begin to bring a copy, in the background; one that is under way is joined.

        Raises:
            NotFound: There is no root for copies.
            Conflict: Another recovery is on its way to that target, or above or below it.
            StorageError: The disk refused; nothing was begun.
        """
        asked = self.requests.read_copy(wanted)
        await self._book.settle(asked.checkpoint)
        async with self.lock:
            same = self.requests.find_same(asked)
            if same is not None:
                return same.id
            (recovery,) = await self.begin(asked)
            return recovery.id
