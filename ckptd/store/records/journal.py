"""The journal: running recoveries and the blocks they verified, so that a restart resumes them.

Blocks are appended after their data is durable. Even so the journal is only a hint: after a
restart staging hashes the blocks that it names before they count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Final

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId, Version
from ckptd.model.words import PlaceMode
from ckptd.store.records.database import Database
from ckptd.store.records.ended import ENDED_FORMAT, EndedRecovery, decode_ended, encode_ended
from ckptd.store.records.manifest_pieces import (
    forget_pieces,
    is_long,
    read_packed,
    unpack,
    write_pieces,
)
from ckptd.store.records.member_records import (
    pack_members,
    read_digests,
    read_member,
    write_members,
)
from ckptd.store.records.schema import Connection

ENDED_MAX: Final = 100
"""Records of ended recoveries kept, of a few kilobytes each."""
_INSERT: Final = (
    "INSERT INTO recoveries (recovery, checkpoint, version, digest, root, target,"
    " patience_ns, is_paused, started_at_s, is_background, digest_prefix, from_node,"
    " is_named, is_overwriting, allow_partial, is_name_awaited, is_repair, shards,"
    " choice, rest_follows, is_on_demand, place, is_activating)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ROWS_MAX: Final = 4096
"""Rows of one recovery above which its runs are merged."""


@dataclass(frozen=True, slots=True)
class JournaledRecovery:
    """A recovery that has not ended.

    Attributes:
        recovery: Its name.
        checkpoint: What it recovers.
        version: Which version; ``None`` while none was asked for or chosen.
        digest: The identity that was chosen; ``None`` before.
        root: Name of the root it recovers into.
        target: The version's directory, relative to the root.
        patience_ns: How long to wait for blocks that no source has; ``None``: without a limit.
        is_paused: An operator paused it.
        started_at_s: Unix time of the request; a date, by which nothing is measured.
        is_background: It yields sources to recoveries that are not in the background.
        digest_prefix: Which content was asked for: the beginning of its digest; empty: any.
        from_node: Whose content was asked for; ``None``: anybody's.
        is_named: The version was asked for, and not chosen.
        is_overwriting: Where the version stands already it replaces also what somebody changed.
        allow_partial: It may be placed without required units when patience ends.
        is_name_awaited: It waits for a name that nobody has, as long as patience lasts.
        is_repair: It was begun because something is wrong at its target.
        shards: Which shards of a job it is for, as ``parse_shards`` reads them; empty: it is for
            a checkpoint.
        choice: Which units are wanted, as ``format_choice`` writes it; empty: all.
        rest_follows: When those are placed, another recovery brings the others.
        is_on_demand: It fetches what somebody waits for or reads, and nothing else.
        place: How it becomes visible.
        is_activating: What it places becomes the active version.
    """

    recovery: RecoveryId
    checkpoint: CheckpointName
    version: Version | None
    digest: Digest | None
    root: str
    target: str
    patience_ns: int | None
    is_paused: bool
    started_at_s: float
    is_background: bool = False
    digest_prefix: str = ""
    from_node: NodeId | None = None
    is_named: bool = True
    is_overwriting: bool = False
    allow_partial: bool = False
    is_name_awaited: bool = False
    is_repair: bool = False
    shards: str = ""
    choice: str = ""
    rest_follows: bool = False
    is_on_demand: bool = False
    place: PlaceMode = PlaceMode.ATOMIC
    is_activating: bool = False


class Journal:
    """Recoveries in the database. Every method is durable when it returns.

    All raise what :meth:`Database.run` raises. A recovery that is not in the journal has no
    blocks and no manifest, and changes to it change nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, *recoveries: JournaledRecovery) -> None:
        """Record recoveries that were just requested, under names that were never used before.

        Either all are recorded or none is.
        """

        def work(connection: Connection) -> None:
            connection.executemany(_INSERT, map(astuple, recoveries))

        await self._database.run(work)

    async def choose(
        self,
        recovery: RecoveryId,
        version: Version,
        digest: Digest,
        manifest: bytes | memoryview,
        members: Mapping[Digest, bytes | memoryview] | None = None,
    ) -> None:
        """Record the version of a recovery and its manifest, so that resuming it needs no peer.

        Blocks that were journaled for another digest are kept in case that is chosen again; of
        one digest before, those of others are forgotten.

        Args:
            recovery: Which recovery.
            version: The version that was chosen for it.
            digest: The version's identity.
            manifest: The encoded manifest.
            members: Of a job: the manifests that were joined to that one, by identity.
        """
        packed = await asyncio.to_thread(pack_members, members or {})

        def work(connection: Connection) -> None:
            before = _digest(connection, recovery)
            if before is not None and before != digest:
                _swap_blocks(connection, recovery, before, digest)
            connection.execute(
                "UPDATE recoveries SET version = ?, digest = ?, manifest = ? WHERE recovery = ?",
                (version, digest, None if is_long(manifest) else manifest, recovery),
            )
            if is_long(manifest):
                write_pieces(connection, digest, manifest)
            forget_pieces(connection)
            write_members(connection, recovery, packed)

        await self._database.run(work)

    def append(self, recovery: RecoveryId, blocks: BlockSet) -> None:
        """Record blocks that are verified and durable, besides those recorded already.

        Blocks, unlike the other methods: called by the thread that made the blocks durable.
        """

        def work(connection: Connection) -> None:
            # The row itself stays as it is: its manifest may be long, and would be written again.
            if connection.execute(
                "SELECT 1 FROM recoveries WHERE recovery = ?", (recovery,)
            ).fetchone():
                _insert_runs(connection, recovery, blocks)
                _compact(connection, recovery)

        self._database.run_blocking(work)

    async def blocks(self, recovery: RecoveryId) -> BlockSet:
        """Return all blocks that were recorded."""
        return await self._database.run(lambda connection: _blocks(connection, recovery))

    async def manifest(self, recovery: RecoveryId) -> bytes | None:
        """Return the manifest of the version that was chosen; ``None`` before."""
        return await self._database.run(lambda connection: _manifest(connection, recovery))

    async def members(self, recovery: RecoveryId) -> tuple[Digest, ...]:
        """Return what was joined to the manifest of a recovery; nothing: it is for no job.

        They come in the order in which they were recorded.
        """
        return await self._database.run(lambda connection: read_digests(connection, recovery))

    async def member(self, recovery: RecoveryId, digest: Digest) -> bytes | None:
        """Return the manifest of one of them; ``None``: it is none.

        Raises:
            DamagedState: It is damaged.
        """
        packed = await self._database.run(
            lambda connection: read_member(connection, recovery, digest)
        )
        return unpack(packed) if packed else None

    async def digest(self, recovery: RecoveryId) -> Digest | None:
        """Return the digest whose blocks and manifest are recorded; ``None`` before any is."""
        return await self._database.run(lambda connection: _digest(connection, recovery))

    async def set_paused(self, recovery: RecoveryId, *, is_paused: bool) -> None:
        """Record that a recovery was paused or resumed."""
        await self._execute(
            "UPDATE recoveries SET is_paused = ? WHERE recovery = ?", (is_paused, recovery)
        )

    async def promote(self, recovery: RecoveryId) -> None:
        """Record that a recovery is not in the background any more."""
        await self._execute(
            "UPDATE recoveries SET is_background = 0 WHERE recovery = ?", (recovery,)
        )

    async def activate(self, recovery: RecoveryId) -> None:
        """Record that what a recovery places becomes the active version."""
        await self._execute(
            "UPDATE recoveries SET is_activating = 1 WHERE recovery = ?", (recovery,)
        )

    async def widen(self, recovery: RecoveryId, choice: str, *, rest_follows: bool) -> None:
        """Record that more of a version is wanted than was asked for.

        Args:
            recovery: Which recovery.
            choice: All that is wanted, as ``format_choice`` writes it.
            rest_follows: When that is placed, another recovery brings the rest.
        """
        await self._execute(
            "UPDATE recoveries SET choice = ?, rest_follows = ? WHERE recovery = ?",
            (choice, rest_follows, recovery),
        )

    async def want_rest(self, recovery: RecoveryId, *, is_background: bool) -> None:
        """Record that all of a recovery on demand is wanted, and whether in the background."""
        await self._execute(
            "UPDATE recoveries SET is_on_demand = 0, is_background = ? WHERE recovery = ?",
            (is_background, recovery),
        )

    async def unfinished(self) -> tuple[JournaledRecovery, ...]:
        """Return the recoveries that did not end, in the order in which they were begun."""
        return await self._database.run(_unfinished)

    async def end(self, record: EndedRecovery, follower: JournaledRecovery | None = None) -> None:
        """Forget a recovery but for how it ended; of that only the last 100 are kept.

        Args:
            record: How it ended.
            follower: Another recovery that begins with that; both are recorded, or neither.
        """

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM recoveries WHERE recovery = ?", (record.recovery,))
            if follower is not None:
                connection.execute(_INSERT, astuple(follower))
            forget_pieces(connection)
            connection.execute(
                "INSERT INTO ended (format, record) VALUES (?, ?)",
                (ENDED_FORMAT, encode_ended(record)),
            )
            connection.execute(
                "DELETE FROM ended WHERE number <= (SELECT max(number) FROM ended) - ?",
                (ENDED_MAX,),
            )

        await self._database.run(work)

    async def forget(self, recovery: RecoveryId) -> None:
        """Forget a recovery of which nothing was begun."""
        await self._execute("DELETE FROM recoveries WHERE recovery = ?", (recovery,))

    async def ended(self) -> tuple[EndedRecovery, ...]:
        """Return how recoveries ended, newest first.

        Raises:
            DamagedState: A record is damaged.
            StorageError: A newer ckptd has written one.
        """
        return await self._database.run(_ended)

    async def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        await self._database.run(lambda connection: connection.execute(statement, values))


def _digest(connection: Connection, recovery: RecoveryId) -> Digest | None:
    row: tuple[Digest | None] | None = connection.execute(
        "SELECT digest FROM recoveries WHERE recovery = ?", (recovery,)
    ).fetchone()
    return row[0] if row else None


def _swap_blocks(connection: Connection, recovery: RecoveryId, before: Digest, now: Digest) -> None:
    """Keep the blocks of one digest, and take those of another for recorded that were kept."""
    again = connection.execute(
        "SELECT start, end FROM kept WHERE recovery = ? AND digest = ?", (recovery, now)
    ).fetchall()
    connection.execute("DELETE FROM kept WHERE recovery = ?", (recovery,))
    connection.execute(
        "INSERT INTO kept SELECT recovery, ?, start, end FROM verified WHERE recovery = ?",
        (before, recovery),
    )
    connection.execute("DELETE FROM verified WHERE recovery = ?", (recovery,))
    _insert_runs(connection, recovery, BlockSet(again))


def _insert_runs(connection: Connection, recovery: RecoveryId, blocks: BlockSet) -> None:
    connection.executemany(
        "INSERT INTO verified VALUES (?, ?, ?)",
        ((recovery, start, end) for start, end in blocks.runs()),
    )


def _compact(connection: Connection, recovery: RecoveryId) -> None:
    """Merge the runs of a recovery that has many."""
    (count,) = connection.execute(
        "SELECT count(*) FROM verified WHERE recovery = ?", (recovery,)
    ).fetchone()
    if count > _ROWS_MAX:
        blocks = _blocks(connection, recovery)
        connection.execute("DELETE FROM verified WHERE recovery = ?", (recovery,))
        _insert_runs(connection, recovery, blocks)


def _blocks(connection: Connection, recovery: RecoveryId) -> BlockSet:
    runs: Iterable[tuple[int, int]] = connection.execute(
        "SELECT start, end FROM verified WHERE recovery = ?", (recovery,)
    )
    return BlockSet(runs)


def _manifest(connection: Connection, recovery: RecoveryId) -> bytes | None:
    row: tuple[bytes | None, Digest | None] | None = connection.execute(
        "SELECT manifest, digest FROM recoveries WHERE recovery = ?", (recovery,)
    ).fetchone()
    if row is None or row[0] is not None or row[1] is None:
        return row[0] if row else None
    return unpack(read_packed(connection, row[1])) or None


def _unfinished(connection: Connection) -> tuple[JournaledRecovery, ...]:
    rows = connection.execute(
        "SELECT recovery, checkpoint, version, digest, root, target, patience_ns, is_paused,"
        " started_at_s, is_background, digest_prefix, from_node, is_named, is_overwriting,"
        " allow_partial, is_name_awaited, is_repair, shards, choice, rest_follows, is_on_demand,"
        " place, is_activating FROM recoveries ORDER BY rowid"
    )
    recoveries = (JournaledRecovery(*row) for row in rows)
    # SQLite keeps a truth value as a number.
    return tuple(
        replace(
            each,
            is_paused=bool(each.is_paused),
            is_background=bool(each.is_background),
            is_named=bool(each.is_named),
            is_overwriting=bool(each.is_overwriting),
            allow_partial=bool(each.allow_partial),
            is_name_awaited=bool(each.is_name_awaited),
            is_repair=bool(each.is_repair),
            rest_follows=bool(each.rest_follows),
            is_on_demand=bool(each.is_on_demand),
            place=PlaceMode(each.place),
            is_activating=bool(each.is_activating),
        )
        for each in recoveries
    )


def _ended(connection: Connection) -> tuple[EndedRecovery, ...]:
    rows = connection.execute("SELECT number, format, record FROM ended ORDER BY number DESC")
    return tuple(decode_ended(*row) for row in rows)
