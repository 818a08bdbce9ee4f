"""The tables of the state database, and how those of an older ckptd become these.

Every table that was ever released can be brought up to date. Steps that were released stay as
they are: each one writes what its successor expects, in the words of its time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from ckptd.errors import DamagedState

Connection: TypeAlias = sqlite3.Connection

_TABLES: Final = """
CREATE TABLE versions (
    digest TEXT PRIMARY KEY,
    checkpoint TEXT NOT NULL,
    version INTEGER NOT NULL,
    root TEXT NOT NULL,
    directory TEXT NOT NULL,
    is_published INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    block_count INTEGER NOT NULL,
    manifest BLOB NOT NULL,  -- zstd
    files BLOB NOT NULL,     -- MessagePack: a UnitFile or nil for each unit
    UNIQUE (checkpoint, version)
) STRICT;
CREATE TABLE recoveries (
    recovery TEXT PRIMARY KEY,
    checkpoint TEXT NOT NULL,
    version INTEGER,
    digest TEXT,
    root TEXT NOT NULL,
    target TEXT NOT NULL,
    patience_ns INTEGER,
    is_paused INTEGER NOT NULL,
    started_at_s REAL NOT NULL,
    manifest BLOB
) STRICT;
CREATE TABLE verified (
    recovery TEXT NOT NULL REFERENCES recoveries ON DELETE CASCADE,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL
) STRICT;
CREATE INDEX verified_by_recovery ON verified (recovery);
CREATE TABLE reports (
    number INTEGER PRIMARY KEY,
    report BLOB NOT NULL
) STRICT;
"""

_BACKGROUND: Final = """
ALTER TABLE recoveries ADD COLUMN is_background INTEGER NOT NULL DEFAULT 0;
"""

_SIGNATURES_AND_MARKS: Final = """
CREATE TABLE signatures (
    digest TEXT PRIMARY KEY,  -- of the manifest
    document BLOB NOT NULL
) STRICT;
CREATE TABLE newest (
    checkpoint TEXT PRIMARY KEY,
    version INTEGER NOT NULL  -- the highest that was ever published or recovered here
) STRICT;
INSERT INTO newest SELECT checkpoint, max(version) FROM versions GROUP BY checkpoint;
"""

_ENDED: Final = """
CREATE TABLE ended (
    number INTEGER PRIMARY KEY,
    format INTEGER NOT NULL,  -- of the record
    record BLOB NOT NULL      -- JSON: an EndedRecovery
) STRICT;
"""


_PLACES: Final = """
ALTER TABLE versions RENAME TO old_versions;
CREATE TABLE versions (
    digest TEXT PRIMARY KEY,
    checkpoint TEXT NOT NULL,
    version INTEGER NOT NULL,  -- several digests can have the same
    size_bytes INTEGER NOT NULL,
    block_count INTEGER NOT NULL,
    manifest BLOB NOT NULL  -- zstd
) STRICT;
CREATE TABLE places (
    place INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again for another one
    digest TEXT NOT NULL REFERENCES versions ON DELETE CASCADE,
    root TEXT NOT NULL,
    directory TEXT NOT NULL,
    is_published INTEGER NOT NULL,
    is_withdrawn INTEGER NOT NULL,
    files BLOB NOT NULL,         -- MessagePack: a UnitFile or nil for each unit
    added_at_s REAL NOT NULL,    -- Unix time; 0: not known
    checked_at_s REAL NOT NULL,  -- the same
    scrubbed_units INTEGER NOT NULL,
    UNIQUE (digest, root, directory)
) STRICT;
INSERT INTO versions
    SELECT digest, checkpoint, version, size_bytes, block_count, manifest FROM old_versions;
INSERT INTO places (digest, root, directory, is_published, is_withdrawn, files, added_at_s,
    checked_at_s, scrubbed_units)
    SELECT digest, root, directory, is_published, 0, files, 0, 0, 0 FROM old_versions
    ORDER BY rowid;
DROP TABLE old_versions;
"""


class _ShareInReport(msgspec.Struct, frozen=True):
    node: str
    bytes: int


class _Report(msgspec.Struct, frozen=True):
    """What schemas 1 to 3 kept of an ended recovery: the answer of the control API, as JSON."""

    recovery: str
    checkpoint: str
    version: int | None
    digest: str | None
    result: str
    is_degraded: bool
    missing_units: tuple[str, ...]
    cause: str | None
    message: str
    target: str
    bytes_total: int
    bytes_received: int
    bytes_resumed: int
    bytes_wasted: int
    duration_s: float
    time_to_critical_s: float | None
    sources: tuple[_ShareInReport, ...]
    predicted_duration_s: float | None = None
    predicted_critical_s: float | None = None
    wasted: dict[str, int] = {}
    happenings: dict[str, int] = {}


def _convert_reports(connection: Connection) -> None:
    """Turn reports into records of format 1.

    Raises:
        DamagedState: One of them is not what the schema says.
    """
    _run(connection, _ENDED)
    for number, report in connection.execute("SELECT number, report FROM reports").fetchall():
        try:
            old = msgspec.json.decode(report, type=_Report)
        except msgspec.DecodeError as error:
            raise DamagedState(
                f"report {number} of an ended recovery in the state database",
                f"is damaged: {error}",
                f"Remove row {number} of the table 'reports': that recovery is forgotten then.",
            ) from error
        connection.execute("INSERT INTO ended VALUES (?, 1, ?)", (number, _record_of(old)))
    connection.execute("DROP TABLE reports")


def _record_of(old: _Report) -> bytes:
    return msgspec.json.encode(
        {
            "recovery": old.recovery,
            "checkpoint": old.checkpoint,
            "version": old.version,
            "digest": old.digest,
            "target": old.target,
            "result": old.result,
            "cause": old.cause,
            "message": old.message,
            "is_degraded": old.is_degraded,
            "missing_units": old.missing_units,
            "total_bytes": old.bytes_total,
            "received_bytes": old.bytes_received,
            "resumed_bytes": old.bytes_resumed,
            "wasted_bytes": old.bytes_wasted,
            "wasted_bytes_by_reason": old.wasted,
            "sources": [
                {"node": share.node, "verified_bytes": share.bytes} for share in old.sources
            ],
            "happenings": old.happenings,
            "duration_s": old.duration_s,
            "critical_s": old.time_to_critical_s,
            "predicted_duration_s": old.predicted_duration_s,
            "predicted_critical_s": old.predicted_critical_s,
        }
    )


_LINKS: Final = """
CREATE TABLE links (
    node TEXT PRIMARY KEY,
    rate_bytes_per_s REAL NOT NULL,
    latency_s REAL,
    measured_at_s REAL NOT NULL,
    origin TEXT NOT NULL  -- 'recovery' or 'doctor'
) STRICT;
"""

_RIVALS: Final = """
ALTER TABLE recoveries ADD COLUMN digest_prefix TEXT NOT NULL DEFAULT '';
ALTER TABLE recoveries ADD COLUMN from_node TEXT;
ALTER TABLE recoveries ADD COLUMN is_named INTEGER NOT NULL DEFAULT 1;
ALTER TABLE newest ADD COLUMN digest TEXT;
"""

_MOMENTS: Final = """
CREATE TABLE successes (
    work TEXT PRIMARY KEY,  -- 'recovery' or 'publish'
    at_s REAL NOT NULL      -- when one last ended well
) STRICT;
CREATE TABLE first_heard (
    checkpoint TEXT PRIMARY KEY,
    version INTEGER NOT NULL,  -- the newest that was whole somewhere
    at_s REAL NOT NULL
) STRICT;
"""
_COMPLETENESS: Final = """
ALTER TABLE recoveries ADD COLUMN allow_partial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recoveries ADD COLUMN is_name_awaited INTEGER NOT NULL DEFAULT 1;
"""


class _Ending(msgspec.Struct, frozen=True):
    """What format 1 says of how a recovery ended; units could be missing in a complete one."""

    result: str
    is_degraded: bool
    total_bytes: int
    received_bytes: int
    resumed_bytes: int
    wasted_bytes: int

    @property
    def placed_bytes(self) -> int:
        if self.result != "complete":
            return 0
        used_bytes = self.resumed_bytes + self.received_bytes - self.wasted_bytes
        return used_bytes if self.is_degraded else self.total_bytes


def _tell_partial_from_complete(connection: Connection) -> None:
    """Add what a recovery may be without, and turn records of format 1 into those of format 2.

    A record that is damaged stays as it is: whoever reads it says so.
    """
    _run(connection, _COMPLETENESS)
    for number, record in connection.execute(
        "SELECT number, record FROM ended WHERE format = 1"
    ).fetchall():
        try:
            ending = msgspec.json.decode(record, type=_Ending)
            fields = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError:
            continue
        if ending.is_degraded and ending.result == "complete":
            fields["result"] = msgspec.Raw(b'"partial"')
        fields["placed_bytes"] = msgspec.Raw(msgspec.json.encode(ending.placed_bytes))
        connection.execute(
            "UPDATE ended SET format = 2, record = ? WHERE number = ?",
            (msgspec.json.encode(fields), number),
        )


_OVERWRITING: Final = """
ALTER TABLE recoveries ADD COLUMN is_overwriting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recoveries ADD COLUMN is_repair INTEGER NOT NULL DEFAULT 0;
"""

_KEPT: Final = """
CREATE TABLE kept (
    recovery TEXT NOT NULL REFERENCES recoveries ON DELETE CASCADE,
    digest TEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL
) STRICT;
CREATE INDEX kept_by_recovery ON kept (recovery);
"""

_ELAPSED: Final = """
CREATE TABLE elapsed (
    recovery TEXT PRIMARY KEY REFERENCES recoveries ON DELETE CASCADE,
    elapsed_ns INTEGER NOT NULL,  -- since it was asked for
    boot TEXT NOT NULL,           -- of the machine, in which that was
    at_ns INTEGER NOT NULL        -- when, on the monotonic clock of that boot
) STRICT;
"""

_ADDRESSES_OF_LINKS: Final = """
ALTER TABLE links ADD COLUMN address TEXT NOT NULL DEFAULT '';
"""
"""``node`` is the path, which has the node's name if it is the first one; the address is that at
which it led to the node, as the configuration calls it."""

_MANIFEST_PIECES: Final = """
CREATE TABLE manifest_pieces (
    digest TEXT NOT NULL,  -- of a version or of recoveries; their own column is empty then
    piece INTEGER NOT NULL,
    data BLOB NOT NULL,  -- zstd, each on its own
    PRIMARY KEY (digest, piece)
) STRICT;
"""


# In which boot of the machine that was, and when on its monotonic clock.
_BOOTS: Final = """
ALTER TABLE links ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE links ADD COLUMN at_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE first_heard ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE first_heard ADD COLUMN at_ns INTEGER NOT NULL DEFAULT 0;
"""

_ATTRIBUTES: Final = """
CREATE TABLE attributes (
    digest TEXT NOT NULL,  -- of the manifest
    piece INTEGER NOT NULL,
    data BLOB NOT NULL,  -- zstd, each on its own: signatures and document, as they travel
    PRIMARY KEY (digest, piece)
) STRICT;
"""

_PASSED: Final = """
CREATE TABLE passed (  -- places with files that are read through descriptors of their owner
    place INTEGER PRIMARY KEY REFERENCES places ON DELETE CASCADE
) STRICT;
"""

_FILES_IN_COLUMNS: Final = """
-- places.files: of what is written from now on UnitFiles.encoded, zstd; older rows stay as they are
"""

_JOBS: Final = """
ALTER TABLE recoveries ADD COLUMN shards TEXT NOT NULL DEFAULT '';
CREATE TABLE members (
    recovery TEXT NOT NULL REFERENCES recoveries ON DELETE CASCADE,
    digest TEXT NOT NULL,  -- of a shard of the version that was chosen
    piece INTEGER NOT NULL,
    data BLOB NOT NULL,  -- of its manifest; zstd, each on its own
    PRIMARY KEY (recovery, digest, piece)
) STRICT;
"""
"""``shards``: which of a job, as ``parse_shards`` reads them; empty: it is for no job."""

_CHOICES: Final = """
ALTER TABLE recoveries ADD COLUMN choice TEXT NOT NULL DEFAULT '';
ALTER TABLE recoveries ADD COLUMN rest_follows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE places ADD COLUMN is_by_choice INTEGER NOT NULL DEFAULT 0;
"""
"""``choice``: which units, as ``format_choice`` writes it; empty: all. Records of ended recoveries
are of format 3 from here on, which has one more word and one more field."""

_ON_DEMAND: Final = """
ALTER TABLE recoveries ADD COLUMN is_on_demand INTEGER NOT NULL DEFAULT 0;
"""

_ACTIVE: Final = """
CREATE TABLE active (
    is_next INTEGER NOT NULL,  -- 1: it is to be so; 0: it is so
    root TEXT NOT NULL,
    checkpoint TEXT NOT NULL,  -- or a job
    link TEXT NOT NULL,
    directory TEXT,            -- where it leads to; NULL: it is to be taken away
    version INTEGER,
    digest TEXT,
    at_s REAL NOT NULL,
    PRIMARY KEY (is_next, root, checkpoint)
) STRICT;
ALTER TABLE recoveries ADD COLUMN is_activating INTEGER NOT NULL DEFAULT 0;
"""

_PLACED_JOBS: Final = """
CREATE TABLE placed_jobs (
    job TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    shard TEXT NOT NULL,
    at_s REAL NOT NULL
) STRICT;
"""

_PLACED_UNITS: Final = """
ALTER TABLE recoveries ADD COLUMN place TEXT NOT NULL DEFAULT 'atomic';
ALTER TABLE recoveries ADD COLUMN is_target_made INTEGER NOT NULL DEFAULT 0;
CREATE TABLE placed_units (
    recovery TEXT NOT NULL REFERENCES recoveries ON DELETE CASCADE,
    start INTEGER NOT NULL,  -- units of its version that it puts where nothing was
    end INTEGER NOT NULL
) STRICT;
CREATE INDEX placed_units_by_recovery ON placed_units (recovery);
"""

_MILESTONES: Final = """
CREATE TABLE milestones (
    recovery TEXT NOT NULL REFERENCES recoveries ON DELETE CASCADE,
    digest TEXT NOT NULL,         -- of the version of which it was reached
    kind TEXT NOT NULL,
    phase INTEGER NOT NULL,       -- 0 if it is of none
    elapsed_ns INTEGER NOT NULL,  -- since the recovery was asked for
    PRIMARY KEY (recovery, kind, phase)
) STRICT;
"""
"""Records of ended recoveries are of format 4 from here on, which has three more fields."""

_RETENTION: Final = """
CREATE TABLE removals (  -- what retention has begun to remove
    place INTEGER PRIMARY KEY REFERENCES places ON DELETE CASCADE
) STRICT;
CREATE TABLE leases (  -- directories of versions that somebody reads
    root TEXT NOT NULL,
    directory TEXT NOT NULL,
    PRIMARY KEY (root, directory)
) STRICT
"""

_CONFIGURED: Final = """
CREATE TABLE configured_recoveries (  -- which the daemon asked for itself, in this order
    number INTEGER PRIMARY KEY,
    checkpoint TEXT NOT NULL,  -- or a job
    boot TEXT NOT NULL,        -- of the machine, in which that was
    recovery TEXT NOT NULL
) STRICT;
"""

_AUDITS: Final = """
CREATE TABLE audits (  -- what came of the last block that was drawn from each claim of a peer
    origin TEXT NOT NULL,          -- who answered
    digest TEXT NOT NULL,          -- of which version
    block_count INTEGER NOT NULL,  -- so much of it was claimed then
    is_right INTEGER NOT NULL,
    at_s REAL NOT NULL,
    boot TEXT NOT NULL,            -- of the machine, in which that was
    at_ns INTEGER NOT NULL,
    PRIMARY KEY (origin, digest)
) STRICT;
"""

_WORKLOAD: Final = """
CREATE TABLE workload (  -- what is known of the latest versions of each checkpoint
    checkpoint TEXT NOT NULL,
    version INTEGER NOT NULL,
    noted_at_s REAL NOT NULL,
    digest TEXT NOT NULL,  -- empty: it was seen, and is not published
    saved_at_s REAL,
    size_bytes INTEGER,
    changed_bytes INTEGER,
    hashed_s REAL,
    paced_s REAL NOT NULL,
    copied_s REAL,
    brought_s REAL,
    PRIMARY KEY (checkpoint, version)
) STRICT;
"""

_STEPS: Final[tuple[str | Callable[[Connection], None], ...]] = (
    _TABLES,
    _BACKGROUND,
    _SIGNATURES_AND_MARKS,
    _convert_reports,
    _LINKS,
    _RIVALS,
    _MOMENTS,
    _OVERWRITING,
    _tell_partial_from_complete,
    _PLACES,
    _KEPT,
    _ELAPSED,
    _ADDRESSES_OF_LINKS,
    _MANIFEST_PIECES,
    _BOOTS,
    _ATTRIBUTES,
    _PASSED,
    _FILES_IN_COLUMNS,
    _JOBS,
    _CHOICES,
    _ON_DEMAND,
    _ACTIVE,
    _PLACED_JOBS,
    _PLACED_UNITS,
    _MILESTONES,
    _RETENTION,
    _CONFIGURED,
    _AUDITS,
    _WORKLOAD,
)
"""What leads from each schema to the next one."""

SCHEMA_VERSION: Final = len(_STEPS)


def bring_up_to_date(connection: Connection, version: int) -> None:
    """Take the steps that a database of an older schema lacks, all of them or none.

    Args:
        connection: To the database; no transaction is under way.
        version: The schema it has; 0 if it is new.

    Raises:
        DamagedState: What it holds is not what its schema says.
        sqlite3.Error: SQLite refused.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[version:]:
            if isinstance(step, str):
                _run(connection, step)
            else:
                step(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run(connection: Connection, script: str) -> None:
    """Run some statements; ``executescript`` would commit first."""
    for statement in script.split(";\n"):
        connection.execute(statement)
