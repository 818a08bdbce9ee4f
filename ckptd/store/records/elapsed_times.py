"""How long recoveries have been under way, so that the next life of the daemon goes on counting.

Never by the wall clock, which can be set. Within one boot of the machine the monotonic clock goes
on while no daemon runs, so nothing is lost. Over a reboot what was written last counts; how long
nobody measured is not known, and not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ckptd.model.ids import RecoveryId
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class BootMoment(NamedTuple):
    """A moment on the monotonic clock of one boot of the machine.

    Attributes:
        boot: Which boot; empty: not known, and never the same as another one.
        at_ns: When.
    """

    boot: str
    at_ns: int


class ElapsedTimes:
    """The table ``elapsed``: a row for each recovery that has not ended.

    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, now: BootMoment) -> dict[RecoveryId, int]:
        """Return for how long each recovery has been under way, in nanoseconds."""
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT recovery, elapsed_ns, boot, at_ns FROM elapsed"
            ).fetchall()
        )
        return {
            RecoveryId(recovery): _elapsed_ns(elapsed_ns, BootMoment(boot, at_ns), now)
            for recovery, elapsed_ns, boot, at_ns in rows
        }

    async def write(self, elapsed_ns: Mapping[RecoveryId, int], now: BootMoment) -> None:
        """Keep for how long recoveries have been under way; of one that ended nothing is kept."""

        def work(connection: Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO elapsed SELECT recovery, ?, ?, ? FROM recoveries"
                " WHERE recovery = ?",
                [(spent_ns, *now, recovery) for recovery, spent_ns in elapsed_ns.items()],
            )

        await self._database.run(work)


def _elapsed_ns(elapsed_ns: int, then: BootMoment, now: BootMoment) -> int:
    is_same_boot = bool(now.boot) and then.boot == now.boot
    return max(elapsed_ns, 0) + (max(now.at_ns - then.at_ns, 0) if is_same_boot else 0)
