"""Jobs: the newest version that is whole, and versions that become shards of one."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

NEWEST_WAIT_S_MAX: Final = 3600.0
"""Longer no launcher waits, and a request is held open meanwhile."""


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


class NewestRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say which version of a job all nodes would recover now.

    Attributes:
        job: The job.
        for_s: Wait for so long until there is one and no node that answers is on the way to
            another.
    """

    job: str
    for_s: Annotated[float, msgspec.Meta(ge=0, le=NEWEST_WAIT_S_MAX)] = 0.0


class DifferingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A node that recovers, or placed, another version.

    Attributes:
        node: Which node.
        version: Which version.
    """

    node: str
    version: int


class NewestView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a job that is whole.

    Attributes:
        job: The job.
        version: Which version; ``None``: none is whole.
        shards: How many shards it has.
        is_agreed: There is one, every peer was asked, none that answers recovers another, and all
            that placed one last placed the same.
        why: Why this one; of none what the newest ones lack.
        differing: Who recovers another one.
        silent: Peers that do not answer; what they would take is not known.
        placed: If not all placed the same: who placed which version last, this node included. What
            is placed stays until the job is recovered there again.
    """

    job: str
    version: int | None
    shards: int
    is_agreed: bool
    why: str
    differing: tuple[DifferingRow, ...] = ()
    silent: tuple[str, ...] = ()
    placed: tuple[DifferingRow, ...] = ()
