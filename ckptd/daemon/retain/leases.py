"""Leases: who reads a version that stands here, so that it does not go meanwhile.

Whoever asks for a unit has a lease as long as the answer is under way, and for a while after it:
what was given out is a path, and nobody says when it was read. So a lease ends by itself. It is of
a directory: of a job all shards in it. A restart gives each lease its whole time again. That a peer
asks for a version is kept in memory only: it asks again.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ckptd.errors import CkptdError
from ckptd.limits import HOLDINGS_MAX
from ckptd.model.ids import Digest
from ckptd.observe.logs import get_logger
from ckptd.store.records.retention_records import ReadDirectory, RetentionRecords

LEASE_S: Final = 600.0
"""So long after it was last asked for something of a version is read, or it is asked for again."""

_log = get_logger()


class Leases:
    """Knows who reads what. Belongs to the event loop.

    Args:
        records: Keep it over restarts.
        clock: The moment in seconds, by a clock that never jumps.
    """

    def __init__(
        self, records: RetentionRecords, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._records = records
        self._clock = clock
        self._open: Counter[ReadDirectory] = Counter()
        self._used_s: dict[ReadDirectory, float] = {}
        self._asked_s: OrderedDict[Digest, float] = OrderedDict()
        self._single_s: OrderedDict[tuple[str, Digest], float] = OrderedDict()

    async def load(self) -> None:
        """Take over the leases of an earlier life, each with its whole time; before anybody asks.

        Raises:
            StorageError: The database cannot be read.
        """
        self._used_s = dict.fromkeys(await self._records.leases(), self._clock())

    async def take(self, read: ReadDirectory) -> None:
        """Give somebody a lease from now on; durable. If the disk refuses, that is logged."""
        is_known = read in self._used_s
        self._used_s[read] = self._clock()
        if not is_known:
            try:
                await self._records.note_lease(read)
            except CkptdError as error:  # it counts all the same, up to a restart
                _log.warning("retention.lease_not_kept", directory=read.directory, why=str(error))

    @contextmanager
    def reading(self, read: ReadDirectory) -> Iterator[None]:
        """Keep a lease that was taken, as long as an answer is under way."""
        self._open[read] += 1
        try:
            yield
        finally:
            self._used_s[read] = self._clock()
            self._open[read] -= 1
            if not self._open[read]:
                del self._open[read]

    def is_read(self, read: ReadDirectory) -> bool:
        """Return whether somebody has a lease of a directory."""
        used_s = self._used_s.get(read)
        return read in self._open or (used_s is not None and self._clock() - used_s < LEASE_S)

    def note_asked(self, digest: Digest) -> None:
        """Take note that a peer asks for something of a version."""
        self._asked_s[digest] = self._clock()
        self._asked_s.move_to_end(digest)
        while len(self._asked_s) > HOLDINGS_MAX:
            self._asked_s.popitem(last=False)

    def note_sent(self, digest: Digest, receiver: str, block_count: int) -> None:
        """Take note that a peer gets blocks of a version.

        One block alone, with none after it for a while, is what an audit takes: each peer takes one
        a day, and no version would ever go if that counted.

        Args:
            digest: Of which version.
            receiver: Who gets them.
            block_count: How many.
        """
        key, now_s = (receiver, digest), self._clock()
        last_s = self._single_s.pop(key, None)
        if block_count > 1 or (last_s is not None and now_s - last_s < LEASE_S):
            self.note_asked(digest)
        self._single_s[key] = now_s
        while len(self._single_s) > HOLDINGS_MAX:
            self._single_s.popitem(last=False)

    def is_asked_for(self, digest: Digest) -> bool:
        """Return whether a peer asked for something of a version a short while ago."""
        asked_s = self._asked_s.get(digest)
        return asked_s is not None and self._clock() - asked_s < LEASE_S

    async def end_old(self) -> None:
        """Forget leases that ended.

        Raises:
            StorageError: The database refuses; it is tried again the next time.
        """
        ended = [read for read in self._used_s if not self.is_read(read)]
        if ended:
            await self._records.end_leases(ended)
            for read in ended:
                if not self.is_read(read):  # somebody may have taken one meanwhile
                    self._used_s.pop(read, None)
                else:
                    await self._records.note_lease(read)
        for digest in [each for each in self._asked_s if not self.is_asked_for(each)]:
            del self._asked_s[digest]
