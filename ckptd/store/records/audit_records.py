"""What came of the last audit of each claim of a peer, kept over restarts.

Else a restart would have every claim audited at once, and none would be proven meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ckptd.model.ids import Digest, Origin
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection

AUDITS_MAX: Final = 65_536
"""With one audit a second, as many as there is time for in the eighteen hours between two of the
same claim; what is claimed beyond that is not proven."""


class AuditRecord(NamedTuple):
    """The last audit of a claim.

    Attributes:
        origin: Who answered.
        digest: Of which version.
        block_count: How many blocks of it were claimed then.
        is_right: The block that was drawn came, and was right.
        at_s: When, in Unix time.
        moment: The same on the monotonic clock of that boot of the machine.
    """

    origin: Origin
    digest: Digest
    block_count: int
    is_right: bool
    at_s: float
    moment: BootMoment


class AuditRecords:
    """The table ``audits``. All methods raise what :meth:`Database.run` raises.

    Args:
        database: Where it is kept.
        rows_max: So many rows are kept, the youngest.
    """

    def __init__(self, database: Database, rows_max: int = AUDITS_MAX) -> None:
        self._database = database
        self._rows_max = rows_max

    async def load(self) -> list[AuditRecord]:
        """Return all records, the oldest first."""

        def read(connection: Connection) -> list[AuditRecord]:
            rows = connection.execute(
                "SELECT origin, digest, block_count, is_right, at_s, boot, at_ns FROM audits"
                " ORDER BY at_s, origin, digest"
            )
            return [
                AuditRecord(
                    Origin(origin),
                    Digest(digest),
                    block_count,
                    bool(is_right),
                    at_s,
                    BootMoment(boot, at_ns),
                )
                for origin, digest, block_count, is_right, at_s, boot, at_ns in rows
            ]

        return await self._database.run(read)

    async def write(self, records: Iterable[AuditRecord], *, not_before_s: float) -> None:
        """Keep records; each replaces that of the same claim. Durable on return.

        Args:
            records: What is new.
            not_before_s: Older ones are removed, in Unix time.
        """
        rows = [(*record[:-1], *record.moment) for record in records]

        def work(connection: Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO audits (origin, digest, block_count, is_right, at_s, boot,"
                " at_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            connection.execute("DELETE FROM audits WHERE at_s < ?", (not_before_s,))
            (count,) = connection.execute("SELECT count(*) FROM audits").fetchone()
            if count > self._rows_max:
                connection.execute(
                    "DELETE FROM audits WHERE rowid IN"
                    " (SELECT rowid FROM audits ORDER BY at_s, origin, digest LIMIT ?)",
                    (count - self._rows_max,),
                )

        await self._database.run(work)
