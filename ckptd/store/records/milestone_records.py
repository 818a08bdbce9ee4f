"""Milestones that recoveries have reached, so that the next life of the daemon knows when."""

from __future__ import annotations

from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.milestones import Milestone
from ckptd.model.words import MilestoneKind
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection

_KINDS = frozenset(kind.value for kind in MilestoneKind)


class MilestoneRecords:
    """The table ``milestones``: of each recovery that has not ended what it reached.

    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, recovery: RecoveryId, digest: Digest) -> dict[Milestone, int]:
        """Return what a recovery reached of a version, and how long after it was asked for."""
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT kind, phase, elapsed_ns FROM milestones WHERE recovery = ? AND digest = ?",
                (recovery, digest),
            ).fetchall()
        )
        return {
            Milestone(MilestoneKind(kind), phase): elapsed_ns
            for kind, phase, elapsed_ns in rows
            if kind in _KINDS
        }

    async def write(
        self, recovery: RecoveryId, digest: Digest, milestone: Milestone, elapsed_ns: int
    ) -> None:
        """Keep that a milestone was reached; of a recovery that ended nothing is kept.

        Args:
            recovery: By which recovery.
            digest: Of which version.
            milestone: Which one; if it was reached before, that does not count any more.
            elapsed_ns: How long after it was asked for.
        """

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO milestones SELECT recovery, ?, ?, ?, ? FROM recoveries"
                " WHERE recovery = ?",
                (digest, milestone.kind.value, milestone.phase, elapsed_ns, recovery),
            )

        await self._database.run(work)
