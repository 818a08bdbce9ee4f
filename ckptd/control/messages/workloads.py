"""What jobs that save do to a node."""

from __future__ import annotations

import msgspec

from ckptd.model.words import Outrun


class WorkloadRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask what jobs do.

    Attributes:
        name: Of one checkpoint or job alone, with its shards and its versions; empty: of all.
    """

    name: str = ""


class WorkloadVersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one version.

    Attributes:
        version: Which one.
        is_published: It was published here.
        saved_age_s: How long ago its content changed last; ``None``: not known.
        size_bytes: How long it is; likewise.
        changed_share: How much of it is not in the version before that was here; likewise.
        hashed_s: How long it took to read and hash it here; likewise.
        copied_s: From when it was on offer here until a second node said that it had all of it.
        brought_s: How long the recovery took that brought it here.
    """

    version: int
    is_published: bool
    saved_age_s: float | None
    size_bytes: int | None
    changed_share: float | None
    hashed_s: float | None
    copied_s: float | None
    brought_s: float | None


class WorkloadRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one checkpoint, or the shards of a job that are here together, does to this node.

    What is a median is one over its latest 16 versions; ``None``: that is not known.

    Attributes:
        checkpoint: Which checkpoint or job.
        shards: How many shards are here; 0: it is no job.
        versions: So many of its versions were seen lately …
        published: … and so many of them published here.
        newest: The version that was saved last.
        is_current: It is still being saved, as far as can be known.
        saved_age_s: How long ago it was saved last.
        interval_s: How often it is saved: the median.
        last_interval_s: How long the last interval was.
        size_bytes: How long its latest version is.
        changed_share: How much of a version is not in the one before: the median.
        hashed_s: How long it takes to read and hash one: the median.
        paced_s: How much of that goes by to keep to the rate of its ``[[watch]]``: the median.
        hashing_bytes_per_s: How fast that is: the median.
        copied_s: How long it takes until a second node says that it has all of one: the median.
        brought_s: How long it takes to bring one here: the median.
        outrun: What it is faster than.
    """

    checkpoint: str
    shards: int
    versions: int
    published: int
    newest: int
    is_current: bool
    saved_age_s: float | None
    interval_s: float | None
    last_interval_s: float | None
    size_bytes: int | None
    changed_share: float | None
    hashed_s: float | None
    paced_s: float
    hashing_bytes_per_s: float | None
    copied_s: float | None
    brought_s: float | None
    outrun: tuple[Outrun, ...]


class OutrunRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a job which saves is faster than.

    Attributes:
        checkpoint: Which job; empty: all of them together.
        outrun: What it is faster than.
        finding: How much, for people.
        remedy: What would mend it.
    """

    checkpoint: str
    outrun: Outrun
    finding: str
    remedy: str


class AbsorbingView(msgspec.Struct, frozen=True, kw_only=True):
    """What this node can take in.

    Attributes:
        recoveries: So many of the last recoveries were long enough to say …
        brought_bytes_per_s: … how fast the fastest of them was, with its writing; ``None``: none.
        peer: Which peer was measured to deliver fastest; empty: none was.
        peer_bytes_per_s: How fast that one delivers.
    """

    recoveries: int
    brought_bytes_per_s: float | None
    peer: str
    peer_bytes_per_s: float | None


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """What jobs that save do to this node.

    Attributes:
        rows: Of each checkpoint and each job, by name.
        shards: Of the one that was named, if it is a job: of each shard that is here.
        versions: Of the one that was named, the latest last.
        outrun: What jobs are faster than.
        hashing_share: For which share of the time saves are hashed here, all jobs together.
        absorbing: What this node can take in.
    """

    rows: tuple[WorkloadRow, ...]
    shards: tuple[WorkloadRow, ...]
    versions: tuple[WorkloadVersionRow, ...]
    outrun: tuple[OutrunRow, ...]
    hashing_share: float | None
    absorbing: AbsorbingView
