"""How fast saves are read: at a rate, slower while a job uses their disk, and while bodies move."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from ckptd.daemon.host.disk_load import DiskCounters, OwnCounters, counted, own_counted
from ckptd.daemon.keep.read_pace import ReadPace
from ckptd.traffic.disk_yielding import DiskUse, DiskYielding

_LOOK_S: Final = 0.25
_BUSY_SHARE: Final = 0.25
"""Of the rate, while bodies move."""


class SavePace:
    """Keeps the thread that reads one save. It sleeps when this is called.

    Args:
        rate_bytes_per_s: How fast it may read.
        disk: From which disk; ``None``: nobody knows what else that does.
        is_busy: Tells whether bodies move.
        ended: Ends every wait.
    """

    def __init__(
        self,
        rate_bytes_per_s: int,
        disk: str | None,
        *,
        is_busy: Callable[[], bool],
        ended: threading.Event,
    ) -> None:
        self._pace = ReadPace(rate_bytes_per_s, ended)
        self._rate_bytes_per_s = rate_bytes_per_s
        self._ended = ended
        self._disk = disk
        self._is_busy = is_busy
        self._yielding = DiskYielding()
        self._share = _BUSY_SHARE if is_busy() else 1.0
        self._read_bytes = 0

    def __call__(self, size_bytes: int) -> None:
        """Take note of bytes that were read; return when the next ones may be."""
        self._read_bytes += size_bytes
        self._pace(int(size_bytes / self._share))

    def breathe(self, size_bytes: int) -> None:
        """Take note of a few bytes from the disk; return when others had their time there."""
        if self._share < 1.0:
            self._ended.wait(size_bytes / (self._rate_bytes_per_s * self._share))

    async def measure(self) -> NoReturn:
        """Look at what else the disk does, until cancelled."""
        before = await self._look()
        while True:
            await asyncio.sleep(_LOOK_S)
            latest = await self._look()
            share = self._yielding.share
            if before is not None and latest is not None:
                share = self._yielding.observe(latest.since(before), now=latest.at_ns)
            before = latest
            self._share = min(share, _BUSY_SHARE) if self._is_busy() else share

    async def _look(self) -> _Looked | None:
        if self._disk is None:
            return None
        disk, own = await asyncio.to_thread(lambda: (counted(self._disk or ""), own_counted()))
        if disk is None or own is None:
            return None
        return _Looked(disk, own, self._read_bytes, time.monotonic_ns())


class _Looked(NamedTuple):
    disk: DiskCounters
    own: OwnCounters
    read_bytes: int
    at_ns: int

    def since(self, before: _Looked) -> DiskUse:
        """Return what was done since another look."""
        own_bytes = self.own.read_bytes - before.own.read_bytes
        own_written_bytes = self.own.written_bytes - before.own.written_bytes
        all_bytes = (
            self.disk.read_bytes
            - before.disk.read_bytes
            + self.disk.written_bytes
            - before.disk.written_bytes
        )
        return DiskUse(
            max(all_bytes - own_bytes - own_written_bytes, 0),
            # What this process writes in a recovery counts as well: it gives way to that, too.
            self.disk.writes - before.disk.writes,
            own_bytes,
            self.read_bytes - before.read_bytes,
            max(self.at_ns - before.at_ns, 1),
        )
