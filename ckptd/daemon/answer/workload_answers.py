"""Says what jobs that save do to this node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ckptd.control.messages.workloads import (
    AbsorbingView,
    OutrunRow,
    WorkloadRequest,
    WorkloadRow,
    WorkloadVersionRow,
    WorkloadView,
)
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.absorbing import Absorbing, absorbing_of
from ckptd.daemon.recover.recovering import Recovering
from ckptd.model.ids import CheckpointName, Version, parse_checkpoint_name
from ckptd.model.shards import job_of
from ckptd.model.words import Outrun, Result
from ckptd.model.workload import SavedVersion, Workload
from ckptd.model.workload_judgements import OutrunJudgement, hashing_share_together
from ckptd.store.files.hashed_directories import HashedDirectory


class Workloads(Protocol):
    """Knows the latest versions of each checkpoint."""

    def note_seen(self, checkpoint: CheckpointName, version: Version, saved_at_s: float) -> None:
        """Take note of a save that is complete in a watched directory."""

    def note_published(
        self, hashed: HashedDirectory, size_bytes: int, *, took_s: float, paced_s: float
    ) -> None:
        """Take note of a version that is on offer now, and of how long hashing took."""

    def joint(self) -> Sequence[Workload]:
        """Return what each checkpoint and each job does."""

    def of_family(self, name: CheckpointName) -> list[Workload]:
        """Return what a checkpoint does, or each shard of a job that is here."""


class Measures(Protocol):
    """Measures what is published here."""

    @property
    def workloads(self) -> Workloads:
        """What knows the latest versions."""

    def note_publish(self, result: Result, duration_ns: int) -> None:
        """Take in how a directory was published, or was not."""

    def outrun(self) -> Sequence[OutrunJudgement]:
        """Return what jobs that save are faster than."""


class WorkloadAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about what jobs do to this node.

    Args:
        measures: Knows it.
        recovering: Knows what came here, and how fast.
        parts: What the daemon is made of.
    """

    def __init__(self, measures: Measures, recovering: Recovering, parts: Parts) -> None:
        self._measures = measures
        self._recovering = recovering
        self._wall_clock = parts.wall_clock

    def workload(self, request: WorkloadRequest) -> WorkloadView:
        """Return what jobs do, and which of them save too fast.

        Raises:
            UsageError: What is named is no name.
        """
        name = parse_checkpoint_name(request.name) if request.name else None
        workloads, found = self._measures.workloads, self._measures.outrun()
        joint, now_s = workloads.joint(), self._wall_clock()
        shown = joint if name is None else [each for each in joint if each.checkpoint == name]
        family = [] if name is None else workloads.of_family(name)
        if name is not None and not shown:  # of a shard its own versions
            shown, family = family, []
        is_about = set() if name is None else {None, name, job_of(name)}
        return WorkloadView(
            rows=tuple(_row(each, found, now_s=now_s) for each in shown),
            shards=tuple(_row(each, (), now_s=now_s) for each in family if each.checkpoint != name),
            versions=()
            if name is None
            else tuple(_version(each, now_s=now_s) for of in shown for each in of.versions),
            outrun=tuple(
                _outrun(each) for each in found if not is_about or each.checkpoint in is_about
            ),
            hashing_share=_rounded(hashing_share_together(joint, now_s=now_s)),
            absorbing=_absorbing(absorbing_of(self._recovering)),
        )


def _absorbing(absorbing: Absorbing) -> AbsorbingView:
    return AbsorbingView(
        recoveries=absorbing.recoveries,
        brought_bytes_per_s=_rounded(absorbing.brought_bytes_per_s),
        peer=absorbing.peer,
        peer_bytes_per_s=_rounded(absorbing.peer_bytes_per_s),
    )


def _row(workload: Workload, found: Iterable[OutrunJudgement], *, now_s: float) -> WorkloadRow:
    intervals_s, saved_at_s = workload.intervals_s, workload.saved_at_s
    outrun: list[Outrun] = [each.outrun for each in found if each.checkpoint == workload.checkpoint]
    return WorkloadRow(
        checkpoint=workload.checkpoint,
        shards=workload.shards,
        versions=len(workload.versions),
        published=len(workload.published),
        newest=workload.versions[-1].version,
        is_current=workload.is_current(now_s=now_s),
        saved_age_s=_rounded(None if saved_at_s is None else max(now_s - saved_at_s, 0.0)),
        interval_s=_rounded(workload.interval_s),
        last_interval_s=_rounded(intervals_s[-1] if intervals_s else None),
        size_bytes=workload.size_bytes,
        changed_share=_rounded(workload.changed_share),
        hashed_s=_rounded(workload.hashed_s),
        paced_s=round(workload.paced_s, 3),
        hashing_bytes_per_s=_rounded(workload.hashing_bytes_per_s),
        copied_s=_rounded(workload.copied_s),
        brought_s=_rounded(workload.brought_s),
        outrun=tuple(outrun),
    )


def _version(version: SavedVersion, *, now_s: float) -> WorkloadVersionRow:
    saved_at_s, changed, size = version.saved_at_s, version.changed_bytes, version.size_bytes
    return WorkloadVersionRow(
        version=version.version,
        is_published=version.hashed_s is not None,
        saved_age_s=_rounded(None if saved_at_s is None else max(now_s - saved_at_s, 0.0)),
        size_bytes=size,
        changed_share=None if changed is None or not size else round(changed / size, 3),
        hashed_s=_rounded(version.hashed_s),
        copied_s=_rounded(version.copied_s),
        brought_s=_rounded(version.brought_s),
    )


def _outrun(judgement: OutrunJudgement) -> OutrunRow:
    return OutrunRow(
        checkpoint=judgement.checkpoint or "",
        outrun=judgement.outrun,
        finding=judgement.finding,
        remedy=judgement.remedy,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
