"""What would happen if a recovery were asked for now."""

from __future__ import annotations

import msgspec

from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.control.messages.rivals import RivalRow
from ckptd.errors import ExitCode
from ckptd.model.words import RateOrigin, SourceState


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of a plan.

    Attributes:
        checkpoint: What would be recovered.
        version: Which version; ``None`` for the newest that is available.
        units: As in ``RecoverRequest``.
        min_criticality: Likewise; of the rest, which follows, the plan says nothing.
        shards: Likewise.
    """

    checkpoint: str
    version: int | None = None
    units: tuple[str, ...] = ()
    min_criticality: str | None = None
    shards: str = ""


class PassedOverRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version that would not be recovered, and why.

    Attributes:
        version: Which version.
        digest: Its identity; empty: it is of a job.
        why: Why not; of a job, which shard is missing and where it was last.
    """

    version: int
    digest: str
    why: str


class PlanSource(msgspec.Struct, frozen=True, kw_only=True):
    """A live peer that has some of the version, on one of the paths to it.

    Attributes:
        node: Its node id.
        path: The node id for the first path to it, ``NODE via ADDRESS`` for each further one.
        state: What it does for this node.
        bytes: How much it holds; an estimate if the manifest is not here.
        is_complete: It holds all of it.
        rate_bytes_per_s: How fast it delivers; ``None``: not known yet.
        latency_s: Time to its first byte; ``None``: not known yet.
        rate_age_s: How long ago it was so fast, perhaps before a restart.
        rate_from: What measured that: a recovery or ``doctor``.
        proven_at_s: When a block of it, drawn at random, came last and was right, in Unix time;
            ``None``: none did within a day, or nobody asked for one.
        coding: How its blocks are expected to come where they came coded last; else empty. The
            prediction counts on it, ``rate_bytes_per_s`` is what was seen.
    """

    node: str
    path: str
    state: SourceState
    bytes: int
    is_complete: bool
    rate_bytes_per_s: float | None
    latency_s: float | None
    rate_age_s: float | None = None
    rate_from: RateOrigin | None = None
    proven_at_s: float | None = None
    coding: str = ""


class ClassBytes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by criticality.

    Attributes:
        critical: Fetched first.
        normal: Neither.
        deferred: Fetched last.
    """

    critical: int
    normal: int
    deferred: int


class HereRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where the version is on this node already.

    Attributes:
        directory: Its directory.
        bytes: How much of it is there.
        is_complete: All of it is there.
        is_stale: Its files changed since it was published; none of it is used.
    """

    directory: str
    bytes: int
    is_complete: bool
    is_stale: bool


class ReusedRow(msgspec.Struct, frozen=True, kw_only=True):
    """Another version on this node that has equal blocks.

    Attributes:
        directory: Where it stands.
        bytes: How much would be copied from there.
    """

    directory: str
    bytes: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery would do.

    Everything from ``digest`` on is empty or ``None`` if no version can be chosen.

    Attributes:
        checkpoint: What would be recovered.
        version: Which version; ``None``: none can be chosen now.
        why: Why this one, or why none.
        passed_over: The newest other versions, at most 5.
        is_settled: Every peer has answered or is unreachable; otherwise more versions may be found
            soon.
        rivals: Several contents that go by the version, among which somebody would have to choose;
            the rest of the plan is for the first of them. Empty if there is nothing to choose.
        digest: Digest of the manifest; ``None`` of a job, each of whose shards has one.
        bytes_total: Length of what is wanted of it; of all of it without the manifest.
        units: How many units those are; ``None`` without the manifest.
        bytes_by_class: That length by criticality; ``None`` without the manifest.
        manifest_problem: Why the manifest could not be fetched; empty if it could.
        sources: Peers that have some of it, by name.
        missing_blocks: Blocks that neither a live peer nor this node has.
        missing_critical_blocks: Those of them that are critical; ``None`` without the manifest.
        missing_required_blocks: Those of them without which the version is not complete; ``None``
            without the manifest.
        missing_units: Paths of units with missing blocks, at most 20.
        here: Where it is on this node already; ``None`` if it is not.
        target: The directory that it would have.
        is_target_taken: Something else is there: the recovery would be refused.
        is_here: All that is wanted stands at the target already: there is nothing to do.
        bytes_local: Bytes that need not travel: zeros, and those that are at the target or would
            be copied on this node's disks.
        bytes_reused: Of those, what would be copied.
        reused_from: How much of it from other versions, by where they stand.
        needed_bytes: Bytes that would be fetched.
        room_bytes: Bytes that need room, because they would be fetched or copied.
        free_bytes: Free bytes on the file system of the target.
        memory_bytes: If that is in memory: bytes that are left below the memory limit of the
            daemon's cgroup; what is written counts. ``None``: no such limit, or not in memory.
        could_free: If room is too little: what retention would free, a sentence; often empty.
        predicted_critical_s: Seconds until the critical units are here; ``None``: not known, or
            there are none.
        predicted_complete_s: Seconds until everything is here; ``None``: not known.
        prediction_remark: Why that is not known, or what the prediction ignores; may be empty.
        minimal_set: What of it has to be here first; ``None`` without the manifest, or if nothing
            of that is wanted.
        size_problem: Why a version of that length would be refused; empty if it would not.
        shards: Of a job: which shards the plan is for, as in ``RecoverRequest``.
    """

    checkpoint: str
    version: int | None
    why: str
    passed_over: tuple[PassedOverRow, ...]
    is_settled: bool
    rivals: tuple[RivalRow, ...] = ()
    digest: str | None = None
    bytes_total: int = 0
    units: int | None = None
    bytes_by_class: ClassBytes | None = None
    manifest_problem: str = ""
    sources: tuple[PlanSource, ...] = ()
    missing_blocks: int = 0
    missing_critical_blocks: int | None = None
    missing_required_blocks: int | None = None
    missing_units: tuple[str, ...] = ()
    here: HereRow | None = None
    target: str = ""
    is_target_taken: bool = False
    needed_bytes: int = 0
    free_bytes: int = 0
    predicted_critical_s: float | None = None
    predicted_complete_s: float | None = None
    prediction_remark: str = ""
    is_here: bool = False
    bytes_local: int = 0
    bytes_reused: int = 0
    reused_from: tuple[ReusedRow, ...] = ()
    room_bytes: int = 0
    memory_bytes: int | None = None
    size_problem: str = ""
    shards: str = ""
    minimal_set: MinimalSetView | None = None
    could_free: str = ""


def exit_code_of_plan(plan: Plan) -> ExitCode:
    """Return what a command ends with: what the recovery would, if nothing changed.

    A result in part is one that has to be asked for: without that the recovery would fail. One
    that would wait for room is none that succeeds.
    """
    if plan.version is None:
        return ExitCode.MISSING
    if plan.rivals:
        return ExitCode.CONFLICT
    if plan.is_here:
        return ExitCode.DONE
    room_bytes = plan.free_bytes if plan.memory_bytes is None else plan.memory_bytes
    is_refused = plan.is_target_taken or plan.size_problem
    if is_refused or plan.room_bytes > min(plan.free_bytes, room_bytes):
        return ExitCode.FAILED
    is_complete = not plan.missing_blocks or plan.missing_required_blocks == 0
    return ExitCode.DONE if is_complete else ExitCode.MISSING
