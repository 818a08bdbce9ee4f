"""Moments that numbers for operators are counted from, kept over restarts.

When something last went well, and when the newest version of each checkpoint was first heard of.
Nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.records.boot_moments import UNKNOWN, BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class HeardVersion(NamedTuple):
    """The newest version of a checkpoint, and when it was first heard of.

    Attributes:
        version: Which.
        at_s: When, in Unix time.
        moment: The same on the monotonic clock of that boot of the machine.
    """

    version: Version
    at_s: float
    moment: BootMoment = UNKNOWN


FirstHeard: TypeAlias = Mapping[CheckpointName, HeardVersion]
"""By checkpoint."""
Successes: TypeAlias = Mapping[str, float]
"""When each kind of work was last done to its end, in Unix time."""


class Moments:
    """The tables ``successes`` (a row for each kind of work) and ``first_heard``.

    The latter has one for each checkpoint that is watched. All methods raise what
    :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> tuple[Successes, FirstHeard]:
        """Return what is kept."""

        def work(connection: Connection) -> tuple[Successes, FirstHeard]:
            successes = dict(connection.execute("SELECT work, at_s FROM successes"))
            rows = connection.execute(
                "SELECT checkpoint, version, at_s, boot, at_ns FROM first_heard"
                " ORDER BY checkpoint LIMIT ?",
                (CHECKPOINTS_WATCHED_MAX,),
            )
            return successes, {
                CheckpointName(name): HeardVersion(Version(version), at_s, BootMoment(boot, at_ns))
                for name, version, at_s, boot, at_ns in rows
            }

        return await self._database.run(work)

    async def write(self, successes: Successes, first_heard: FirstHeard) -> None:
        """Keep these instead of what is kept; durable on return."""

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM successes")
            connection.executemany("INSERT INTO successes VALUES (?, ?)", successes.items())
            connection.execute("DELETE FROM first_heard")
            connection.executemany(
                "INSERT INTO first_heard (checkpoint, version, at_s, boot, at_ns)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    (name, heard.version, heard.at_s, *heard.moment)
                    for name, heard in first_heard.items()
                ),
            )

        await self._database.run(work)
