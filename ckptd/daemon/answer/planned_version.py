"""What a recovery would bring, and where to, as it goes into a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from msgspec import structs

from ckptd.control.messages.plans import HereRow, PassedOverRow, Plan, PlanSource, ReusedRow
from ckptd.control.messages.rivals import RivalRow
from ckptd.core.report.choice import PassedOver
from ckptd.core.report.views import PeerSnapshot
from ckptd.daemon.answer.minimal_sets import minimal_set_view
from ckptd.daemon.answer.plan_figures import PlanFigures, PlannedContent
from ckptd.daemon.host.memory_limits import memory_limit
from ckptd.limits import SECOND
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, PathId, Version
from ckptd.store.files.roots import Root

ProvenAt: TypeAlias = Callable[[NodeId, Digest], float | None]
"""Returns when it was last shown that a node has a version, in Unix time; ``None``: it was not."""


class Target(NamedTuple):
    """What is where a version would go.

    Attributes:
        found: What is there; ``None``: nothing.
        free_bytes: What its file system has free.
        memory_bytes: Memory that is left if it is in memory; ``None``: it is not.
    """

    found: os.stat_result | None
    free_bytes: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """What a recovery would bring.

    Attributes:
        checkpoint: Of which checkpoint, or which job.
        version: Which version.
        digest: Its identity; ``None``: it is of a job.
        why: Why this one.
        is_settled: Every peer had been asked before the first look at what they have.
        passed_over: The newest others.
        rivals: What a person would have to choose from; empty if nothing.
        problem: Why the manifest could not be had; empty if it could.
        content: The content, and who has what of it.
        sources: Live peers that have some of it, with what each has, as in ``content.offered``.
        here: Where it is on this node; ``None``: nowhere. Its bytes are counted later.
        root: Where it would stand …
        target: … and the directory there.
        there: What is there now.
        is_there: It is what is there, or some of it.
        is_whole: All that is wanted of it is there.
        shards: Of a job: which shards, as a person writes it.
        coding: Of sources whose blocks are expected to come coded: what is expected.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest | None
    why: str
    is_settled: bool
    passed_over: tuple[PassedOverRow, ...]
    rivals: tuple[RivalRow, ...]
    problem: str
    content: PlannedContent
    sources: tuple[tuple[PeerSnapshot, Holding], ...]
    here: HereRow | None
    root: Root
    target: str
    there: Target
    is_there: bool
    is_whole: bool
    shards: str = ""
    coding: Mapping[PathId, str] = field(default_factory=dict)


def plan_of(
    planned: PlannedVersion,
    figures: PlanFigures,
    *,
    promised_bytes: int,
    size_problem: str,
    now: int,
    proven_at_s: ProvenAt,
) -> Plan:
    """Return the plan.

    Args:
        planned: What a recovery would bring.
        figures: The numbers of that.
        promised_bytes: Room that recoveries under way will need there.
        size_problem: Why a version of that length would be refused, if it is not there already.
        now: The moment, in nanoseconds.
        proven_at_s: Returns when a node last showed that it has a version.
    """
    prediction, there, here = figures.prediction, planned.there, planned.here
    return Plan(
        checkpoint=planned.checkpoint,
        version=planned.version,
        why=planned.why,
        passed_over=planned.passed_over,
        is_settled=planned.is_settled,
        rivals=planned.rivals,
        digest=planned.digest,
        bytes_total=figures.size_bytes,
        units=figures.units,
        bytes_by_class=figures.by_class,
        manifest_problem=planned.problem,
        sources=tuple(
            structs.replace(
                _source(holder, holding, has_bytes, now=now),
                proven_at_s=proven_at_s(holder.source.node, holding.digest),
                coding=planned.coding.get(holder.source.path, ""),
            )
            for (holder, holding), has_bytes in zip(
                planned.sources, figures.offered_bytes, strict=True
            )
        ),
        missing_blocks=figures.missing_blocks,
        missing_required_blocks=figures.missing_required,
        missing_critical_blocks=figures.missing_critical,
        missing_units=figures.missing_units,
        here=here and structs.replace(here, bytes=figures.held_bytes),
        target=planned.root.absolute(planned.target),
        is_target_taken=there.found is not None and not planned.is_there,
        is_here=planned.is_whole,
        bytes_local=figures.local_bytes,
        bytes_reused=figures.copied_bytes,
        reused_from=tuple(
            ReusedRow(directory=each.known.root.absolute(each.known.directory), bytes=size_bytes)
            for each, size_bytes in zip(
                planned.content.similar, figures.similar_bytes, strict=False
            )
            if size_bytes
        ),
        needed_bytes=figures.needed_bytes,
        room_bytes=figures.needed_bytes + figures.copied_bytes,
        free_bytes=max(there.free_bytes - promised_bytes, 0),
        memory_bytes=there.memory_bytes,
        predicted_critical_s=_seconds(prediction.critical_ns),
        predicted_complete_s=_seconds(prediction.complete_ns),
        prediction_remark=_remark(prediction.remark, figures.copied_bytes),
        size_problem="" if planned.is_there else size_problem,
        shards=planned.shards,
        minimal_set=(
            minimal_set_view(figures.minimal, _seconds(figures.minimal_ns))
            if figures.minimal
            else None
        ),
    )


def passed_over_rows(passed_over: Iterable[PassedOver]) -> tuple[PassedOverRow, ...]:
    """Return versions that would not be recovered as rows of a plan."""
    return tuple(
        PassedOverRow(version=other.version, digest=other.digest, why=other.why)
        for other in passed_over
    )


def look_at_target(root: Root, target: str) -> Target:
    """Return what is where a version would go. Asks the disk."""
    limit = memory_limit() if root.is_in_memory() else None
    memory_bytes = None if limit is None else limit.left_bytes
    return Target(root.stat(target), root.free_bytes(), memory_bytes)


def holding_of(holder: PeerSnapshot, digest: Digest) -> Holding:
    """Return what a peer has of a version; only asked of one that has some of it."""
    return next(holding for holding in holder.holdings if holding.digest == digest)


def _source(holder: PeerSnapshot, holding: Holding, size_bytes: int, *, now: int) -> PlanSource:
    rate, latency_ns = holder.learned, holder.latency_ns
    if latency_ns is None and rate is not None:
        latency_ns = rate.latency_ns
    return PlanSource(
        node=holder.source.node,
        path=holder.source.path,
        state=holder.source.state,
        bytes=size_bytes,
        is_complete=holding.is_complete,
        rate_bytes_per_s=None if rate is None else int(rate.bytes_per_s),
        latency_s=_seconds(latency_ns),
        rate_age_s=None if rate is None else _seconds(rate.age_ns(now=now)),
        rate_from=None if rate is None else rate.origin,
    )


def _remark(remark: str, copied_bytes: int) -> str:
    copying = "not counting the copying on this node" if copied_bytes else ""
    return "; ".join(each for each in (remark, copying) if each)


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else round(time_ns / SECOND, 3)
