"""How fast each peer delivered when that was measured last, kept over restarts.

Nothing is decided by it and nothing is served from it: a row that cannot be read is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from ckptd.errors import UsageError
from ckptd.limits import PEERS_MAX
from ckptd.model.ids import PathId, parse_node_id
from ckptd.model.words import RateOrigin
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection


class LinkRecord(NamedTuple):
    """The path to one peer.

    Attributes:
        path: Which path.
        rate_bytes_per_s: How fast it delivered.
        latency_s: Usual time to its first byte; ``None``: not measured.
        measured_at_s: When, in Unix time.
        origin: By what.
    """

    path: PathId
    rate_bytes_per_s: float
    latency_s: float | None
    measured_at_s: float
    origin: RateOrigin


class LinkRecords:
    """The table ``links``: at most ``PEERS_MAX`` rows, those that were measured last.

    All methods raise what :meth:`Database.run` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[LinkRecord]:
        """Return all records, the oldest first."""
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT node, rate_bytes_per_s, latency_s, measured_at_s, origin FROM links"
                " ORDER BY measured_at_s, node"
            ).fetchall()
        )
        return [record for row in rows if (record := _record_of(*row)) is not None]

    async def write(self, records: Iterable[LinkRecord]) -> None:
        """Keep records; each replaces what was known of its peer. Durable on return."""
        rows = [(*record[:4], record.origin.value) for record in records]

        def work(connection: Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute(
                "DELETE FROM links WHERE node NOT IN"
                " (SELECT node FROM links ORDER BY measured_at_s DESC, node LIMIT ?)",
                (PEERS_MAX,),
            )

        await self._database.run(work)


def _record_of(
    node: str, rate_bytes_per_s: float, latency_s: float | None, measured_at_s: float, origin: str
) -> LinkRecord | None:
    """Return a record; ``None`` if no ckptd wrote it so."""
    numbers = (rate_bytes_per_s, latency_s or 0.0, measured_at_s)
    if rate_bytes_per_s <= 0 or min(numbers) < 0 or not all(map(math.isfinite, numbers)):
        return None
    try:
        return LinkRecord(
            parse_node_id(node), rate_bytes_per_s, latency_s, measured_at_s, RateOrigin(origin)
        )
    except (UsageError, ValueError):
        return None
