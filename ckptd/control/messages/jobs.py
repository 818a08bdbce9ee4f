"""Jobs: versions that stand here under names of their own and become shards."""

from __future__ import annotations

import msgspec


class AdoptRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Publish versions that are here as shards of a job, without hashing them again.

    Attributes:
        pattern: Names of checkpoints, with one ``*`` where the number of the shard stands.
        job: The job.
        count: How many shards it has; ``None``: one more than the highest number that this node or
            a peer has a checkpoint of.
        is_dry_run: Only say what would be done.
    """

    pattern: str
    job: str
    count: int | None = None
    is_dry_run: bool = False


class AdoptedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version that became a shard of a version of the job.

    Attributes:
        checkpoint: As what it stood here.
        version: Which version.
        shard: The checkpoint that it is now.
        digest: Digest of its manifest by now; empty: nothing was done.
        size_bytes: Length of the whole version.
        directory: Where it stands.
    """

    checkpoint: str
    version: int
    shard: str
    digest: str
    size_bytes: int
    directory: str


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What became shards of a job.

    Attributes:
        job: The job.
        count: How many shards it has.
        versions: Each version at each place.
        is_dry_run: Nothing was done: so it would be.
    """

    job: str
    count: int
    versions: tuple[AdoptedRow, ...]
    is_dry_run: bool
