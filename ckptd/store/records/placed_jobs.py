"""Which version of each job a recovery placed here last, for nodes that placed another one.

Halves of a network that is split may place different versions of a job, each whole in its half.
When they meet again each says what it has placed, so that somebody learns of it. What is placed
counts for a day, as long as it is here, and until this node publishes a shard of the job: then the
job goes on, and what it was recovered from matters no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ckptd.limits import DAY_S
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection

PLACED_S: Final = DAY_S
"""So long it counts what was placed: what differs afterwards is two uses of a job, not a mishap."""


class PlacedJob(NamedTuple):
    """What a recovery placed last of a job: columns of the table ``placed_jobs`` in its order.

    Attributes:
        job: Of which job.
        version: Which version.
        shard: One of its shards that came with it.
        at_s: When, in Unix time.
    """

    job: CheckpointName
    version: Version
    shard: CheckpointName
    at_s: float


class PlacedJobs:
    """The table ``placed_jobs``, and the same in memory; one row for each job. Of the event loop.

    All that write raise what :meth:`Database.run` raises.

    Args:
        database: Where it is kept.
        wall_clock: Unix time.
        is_here: Whether a version of a checkpoint stands here.
    """

    def __init__(
        self,
        database: Database,
        wall_clock: Callable[[], float],
        is_here: Callable[[CheckpointName, Version], bool],
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._is_here = is_here
        self._placed: dict[CheckpointName, PlacedJob] = {}

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        rows = await self._database.run(
            lambda connection: connection.execute("SELECT * FROM placed_jobs").fetchall()
        )
        self._placed = {row[0]: PlacedJob(*row) for row in rows}

    async def note(self, job: CheckpointName, version: Version, shard: CheckpointName) -> None:
        """Take note of what a recovery placed; durable on return."""
        row = PlacedJob(job, version, shard, self._wall_clock())

        def work(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO placed_jobs VALUES (?, ?, ?, ?)", row)

        await self._database.run(work)
        self._placed[job] = row

    def forget(self, connection: Connection, job: CheckpointName) -> None:
        """Let what was placed of a job count no more, in the transaction that records why.

        Called in the database's thread. Should that transaction fail it counts again after a
        restart.
        """
        connection.execute("DELETE FROM placed_jobs WHERE job = ?", (job,))
        self._placed.pop(job, None)

    def counting(self) -> tuple[PlacedJob, ...]:
        """Return what counts now, the latest first."""
        now_s = self._wall_clock()
        found = (
            each
            for each in self._placed.values()
            if now_s - each.at_s < PLACED_S and self._is_here(each.shard, each.version)
        )
        return tuple(sorted(found, key=lambda each: (-each.at_s, each.job)))

    def expires_in_s(self) -> float | None:
        """Return when the next of those counts no more; ``None``: none does."""
        counting = self.counting()
        return counting[-1].at_s + PLACED_S - self._wall_clock() if counting else None
