"""Which jobs save faster than this node hashes and copies, by what is configured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptd.config import Config
from ckptd.model.ids import CheckpointName
from ckptd.model.rate_limits import LimitKey
from ckptd.model.shards import job_of
from ckptd.model.words import Direction
from ckptd.model.workload import Workload
from ckptd.model.workload_judgements import (
    LimitInForce,
    OutrunJudgement,
    WorkloadSettings,
    judge,
    judge_together,
)


def outrun_by(
    workloads: Sequence[Workload],
    config: Config,
    limits: Mapping[LimitKey, int],
    *,
    now_s: float,
) -> list[OutrunJudgement]:
    """Return what jobs are faster than, and which setting would mend it.

    Args:
        workloads: What each of them does.
        config: What is configured.
        limits: Those that count now.
        now_s: The moment, in Unix time.
    """
    found = [
        each
        for workload in workloads
        for each in judge(workload, settings_for(workload.checkpoint, config, limits), now_s=now_s)
    ]
    return [*found, *judge_together(workloads, now_s=now_s)]


def settings_for(
    checkpoint: CheckpointName, config: Config, limits: Mapping[LimitKey, int]
) -> WorkloadSettings:
    """Return what may bind the saves of a checkpoint or a job.

    Args:
        checkpoint: Which one.
        config: What is configured.
        limits: Those that count now.
    """
    rates = [
        rule.rate_bytes_per_s for rule in config.watch if job_of(rule.checkpoint) == checkpoint
    ]
    counts = config.copies.counts_of(checkpoint)
    return WorkloadSettings(
        watch_rate_bytes_per_s=min(rates, default=None),
        egress=_lowest(limits, Direction.EGRESS),
        ingress=_lowest(limits, Direction.INGRESS, Direction.DISK_WRITE),
        copies=None if counts is None else counts.normal,
    )


def _lowest(limits: Mapping[LimitKey, int], *directions: Direction) -> LimitInForce | None:
    """Return the lowest limit on all peers together."""
    found = [
        LimitInForce(str(key), rate)
        for key, rate in limits.items()
        if key.direction in directions and not key.peer
    ]
    return min(found, key=lambda each: each.bytes_per_s, default=None)
