"""Keeps how fast peers deliver over restarts, so that a fresh daemon can say how long things take.

Only the rates, with their ages: what a peer did wrongly is forgotten with the daemon that saw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, Protocol

from ckptd.core.events import RateLearned
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.model.ids import NodeId, PathId
from ckptd.observe.logs import get_logger
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.link_records import LinkRecord, LinkRecords

WRITE_S: Final = 60.0
"""How often rates are written: what the last minute taught is learned again in as long."""

_AHEAD_S: Final = 60.0
"""A date that lies further ahead says nothing: the clock was wrong then, or is now."""

_log = get_logger()


class KnownPaths(Protocol):
    """Knows where paths lead to."""

    def address_of(self, path: PathId) -> str:
        """Return where a path leads to or led: ``10.0.0.1:7421``; empty: not known."""

    def keep_first(self, node: NodeId, address: str) -> None:
        """Know which address was the first path to a node before this daemon was started."""


class RateMemory:
    """Reports what was learned before a restart, and writes down what is learned now.

    Args:
        records: Where rates are kept.
        learned: Returns the best that is known of each path.
        paths: Knows where they lead to.
        report: Takes events for the scheduler.
        now: The moment in nanoseconds, on the monotonic clock.
        boot: Names this boot of the machine.
        wall_clock: Unix time, for rates that were measured in another boot.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        records: LinkRecords,
        *,
        learned: Callable[[], Mapping[PathId, LearnedRate]],
        paths: KnownPaths,
        report: Callable[[RateLearned], None],
        now: Callable[[], int],
        boot: str,
        wall_clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._learned = learned
        self._paths = paths
        self._report = report
        self._now = now
        self._boot = boot
        self._wall_clock = wall_clock
        self._written: dict[PathId, LearnedRate] = {}

    async def load(self) -> None:
        """Report what is kept; once, before anybody can ask.

        Raises:
            CkptdError: The database refuses.
        """
        for record in await self._records.load():
            if record.address and record.path == record.node:
                self._paths.keep_first(record.node, record.address)
            age_ns = self._age_ns(record)
            if age_ns is None:
                continue
            self._report(
                RateLearned(
                    record.path,
                    record.rate_bytes_per_s,
                    None if record.latency_s is None else int(record.latency_s * SECOND),
                    age_ns,
                    record.origin,
                )
            )
        self._written = dict(self._learned())

    def _age_ns(self, record: LinkRecord) -> int | None:
        """Return how old a rate is; ``None`` if its date lies ahead: then that is not known."""
        age_ns = BootMoment(self._boot, self._now()).since_ns(record.moment)
        if age_ns is not None:
            return age_ns
        age_s = self._wall_clock() - record.measured_at_s
        return None if age_s < -_AHEAD_S else int(max(age_s, 0) * SECOND)

    async def run(self) -> NoReturn:
        """Write what is new once a minute, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()

    async def write(self) -> None:
        """Write what is new. If the disk refuses, that is logged: nothing depends on it."""
        learned = dict(self._learned())
        now, now_s = self._now(), self._wall_clock()
        news = [
            LinkRecord(
                path,
                rate.bytes_per_s,
                None if rate.latency_ns is None else rate.latency_ns / SECOND,
                now_s - rate.age_ns(now=now) / SECOND,
                rate.origin,
                self._paths.address_of(path),
                BootMoment(self._boot, rate.learned_ns),
            )
            for path, rate in learned.items()
            if rate.is_sound and self._written.get(path) != rate
        ]
        if not news:
            return
        try:
            await self._records.write(news)
        except CkptdError as error:
            _log.warning("rates.not_kept", why=str(error))
        else:
            self._written = learned
