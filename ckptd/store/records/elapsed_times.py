"""How long recoveries have been under way, so that the next life of the daemon goes on counting.

Never by the wall clock, which can be set. Within one boot of the machine the monotonic clock goes
on while no daemon runs, so nothing is lost. Over a reboot what was written last counts; how long
nobody measured is not known, and not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptd.model.ids import RecoveryId
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


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
            RecoveryId(recovery): elapsed_ns + (now.since_ns(BootMoment(boot, at_ns)) or 0)
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
