"""How fast each peer delivered on each path when that was measured last, kept over restarts.

Nothing is decided by it and nothing is served from it: a row that cannot be read is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from ckptd.errors import UsageError
from ckptd.limits import PEERS_MAX
from ckptd.model.ids import NodeId, PathId, further_path_suffix, parse_node_id
from ckptd.model.words import RateOrigin
from ckptd.store.records.boot_moments import UNKNOWN, BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection

_Row: TypeAlias = tuple[str, float, float | None, float, str, str, str, int]


class LinkRecord(NamedTuple):
    """The path to one peer.

    Attributes:
        path: Which path.
        rate_bytes_per_s: How fast it delivered.
        latency_s: Usual time to its first byte; ``None``: not measured.
        measured_at_s: When, in Unix time.
        origin: By what.
        address: Where the path led to, as the configuration calls it; empty: not known.
        moment: When, on the monotonic clock of that boot of the machine.
    """

    path: PathId
    rate_bytes_per_s: float
    latency_s: float | None
    measured_at_s: float
    origin: RateOrigin
    address: str = ""
    moment: BootMoment = UNKNOWN

    @property
    def node(self) -> NodeId:
        """Whose path it is.

        Raises:
            UsageError: Nobody's.
        """
        return parse_node_id(self.path.removesuffix(further_path_suffix(self.address)))


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
                "SELECT node, rate_bytes_per_s, latency_s, measured_at_s, origin, address, boot,"
                " at_ns FROM links ORDER BY measured_at_s, node"
            ).fetchall()
        )
        return [record for row in rows if (record := _record_of(row)) is not None]

    async def write(self, records: Iterable[LinkRecord]) -> None:
        """Keep records; each replaces what was known of its peer. Durable on return."""
        rows = [
            (*record[:4], record.origin.value, record.address, *record.moment) for record in records
        ]

        def work(connection: Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO links (node, rate_bytes_per_s, latency_s, measured_at_s,"
                " origin, address, boot, at_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            connection.execute(
                "DELETE FROM links WHERE node NOT IN"
                " (SELECT node FROM links ORDER BY measured_at_s DESC, node LIMIT ?)",
                (PEERS_MAX,),
            )

        await self._database.run(work)


def _record_of(row: _Row) -> LinkRecord | None:
    """Return a record; ``None`` if no ckptd wrote it so."""
    path, rate_bytes_per_s, latency_s, measured_at_s, by, address, boot, at_ns = row
    numbers = (rate_bytes_per_s, latency_s or 0.0, measured_at_s)
    if rate_bytes_per_s <= 0 or min(numbers) < 0 or not all(map(math.isfinite, numbers)):
        return None
    try:
        origin = RateOrigin(by)
        moment = BootMoment(boot, at_ns)
        rate = (rate_bytes_per_s, latency_s, measured_at_s, origin)
        record = LinkRecord(PathId(path), *rate, address, moment)
        parse_node_id(record.node)
    except (UsageError, ValueError):
        return None
    return record
