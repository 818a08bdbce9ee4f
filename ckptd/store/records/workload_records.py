"""What was measured of the latest versions of each checkpoint, kept over restarts.

Nothing is decided by it. A row that no ckptd wrote so is passed over: it would only be a number
less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, TypeAlias

from ckptd.errors import UsageError
from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.ids import CheckpointName, Version, parse_checkpoint_name, parse_version
from ckptd.model.workload import VERSIONS_MAX, SavedVersion
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection

_Key: TypeAlias = tuple[CheckpointName, Version]
_Row: TypeAlias = tuple[
    str,
    int,
    float,
    str,
    float | None,
    int | None,
    int | None,
    float | None,
    float,
    float | None,
    float | None,
]
_COLUMNS: Final = (
    "checkpoint, version, noted_at_s, digest, saved_at_s, size_bytes, changed_bytes, hashed_s,"
    " paced_s, copied_s, brought_s"
)


class WorkloadRecords:
    """The table ``workload``: for each checkpoint at most :data:`VERSIONS_MAX` rows.

    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[SavedVersion]:
        """Return what is kept, in the order in which it was noted."""
        rows = await self._database.run(
            lambda connection: connection.execute(
                f"SELECT {_COLUMNS} FROM workload"  # noqa: S608 (a constant)
                " ORDER BY noted_at_s DESC, checkpoint DESC, version DESC LIMIT ?",
                (CHECKPOINTS_WATCHED_MAX * VERSIONS_MAX,),
            ).fetchall()
        )
        known = (_read(row) for row in reversed(rows))
        return [each for each in known if each is not None]

    async def write(self, versions: Iterable[SavedVersion], gone: Iterable[_Key]) -> None:
        """Keep what is new, each in place of what was known of it; durable on return.

        Args:
            versions: What is new.
            gone: Of what nothing is kept any more.
        """
        rows = [
            (
                each.checkpoint,
                each.version,
                each.noted_at_s,
                each.digest,
                each.saved_at_s,
                each.size_bytes,
                each.changed_bytes,
                each.hashed_s,
                each.paced_s,
                each.copied_s,
                each.brought_s,
            )
            for each in versions
        ]
        removed = list(gone)

        def work(connection: Connection) -> None:
            connection.executemany(
                "DELETE FROM workload WHERE checkpoint = ? AND version = ?", removed
            )
            connection.executemany(
                f"INSERT OR REPLACE INTO workload ({_COLUMNS})"  # noqa: S608 (a constant)
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

        await self._database.run(work)


def _read(row: _Row) -> SavedVersion | None:
    """Return what a row says; ``None`` if no ckptd wrote it so."""
    checkpoint, version, noted_at_s, digest, *numbers = row
    known = [noted_at_s, *(each for each in numbers if each is not None)]
    if min(known) < 0 or not all(map(math.isfinite, known)):
        return None
    saved_at_s, size_bytes, changed_bytes, hashed_s, paced_s, copied_s, brought_s = row[4:]
    try:
        return SavedVersion(
            parse_checkpoint_name(checkpoint),
            parse_version(version),
            noted_at_s,
            digest,
            saved_at_s,
            size_bytes,
            changed_bytes,
            hashed_s,
            paced_s,
            copied_s,
            brought_s,
        )
    except UsageError:
        return None
