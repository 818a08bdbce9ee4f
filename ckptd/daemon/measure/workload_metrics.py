"""What jobs that save do to this node, all together, for the page of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ckptd.model.workload import Workload
from ckptd.model.workload_judgements import hashing_share_together
from ckptd.observe.metrics import MetricRow, gauge, gauges


class WorkloadSeen(NamedTuple):
    """What all jobs that still save do to this node; ``None``: that is not known.

    Attributes:
        intervals_s: Between saves, of the two extremes.
        hashing: For which share of the time saves are hashed.
        copying: How long it takes until a second node has a version, as a share of the interval
            between saves, of the job of which that is the largest.
        saved_bytes_per_s: How much is saved.
        changed_bytes_per_s: How much of that is not in the version before.
        absorbed_bytes_per_s: How fast the fastest recovery brought a version here.
    """

    intervals_s: Mapping[str, float] = {}
    hashing: Mapping[str, float] = {}
    copying: float | None = None
    saved_bytes_per_s: float | None = None
    changed_bytes_per_s: float | None = None
    absorbed_bytes_per_s: float | None = None


def seen_of(workloads: Iterable[Workload], *, now_s: float) -> WorkloadSeen:
    """Return what all jobs that still save do together.

    Args:
        workloads: What each does.
        now_s: The moment, in Unix time.
    """
    current = [each for each in workloads if each.is_current(now_s=now_s)]
    saved = [
        (each.size_bytes / each.interval_s, each.changed_share)
        for each in current
        if each.size_bytes is not None and each.interval_s
    ]
    changed = [rate * share for rate, share in saved if share is not None]
    return WorkloadSeen(
        intervals_s=_extremes([each.interval_s for each in current]),
        hashing=_shares(
            worst=max(_known(each.hashing_share for each in current), default=None),
            together=hashing_share_together(current, now_s=now_s),
        ),
        copying=max(_known(each.copying_share for each in current), default=None),
        saved_bytes_per_s=sum(rate for rate, _ in saved) if saved else None,
        changed_bytes_per_s=sum(changed) if saved and len(changed) == len(saved) else None,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [each for each in values if each is not None]


def _extremes(values: Iterable[float | None]) -> dict[str, float]:
    known = _known(values)
    return {"shortest": min(known), "longest": max(known)} if known else {}


def _shares(**shares: float | None) -> dict[str, float]:
    return {name: share for name, share in shares.items() if share is not None}


WORKLOAD_METRICS: Final[Sequence[MetricRow[WorkloadSeen]]] = (
    gauges(
        "workload_save_interval_seconds",
        "Between two saves of a checkpoint that is still saved: the median of its latest.",
        ("which",),
        lambda seen: seen.intervals_s,
    ),
    gauge(
        "workload_saved_bytes_per_second",
        "What is saved here, on average.",
        lambda seen: seen.saved_bytes_per_s,
    ),
    gauge(
        "workload_changed_bytes_per_second",
        "How much of that is not in the version before.",
        lambda seen: seen.changed_bytes_per_s,
    ),
    gauges(
        "workload_hashing_ratio",
        "Time to hash a save by the interval between saves; above 1 saving outruns hashing.",
        ("which",),
        lambda seen: seen.hashing,
    ),
    gauge(
        "workload_copying_ratio",
        "Time until a second node has a version by that interval, where it is largest.",
        lambda seen: seen.copying,
    ),
    gauge(
        "workload_absorbed_bytes_per_second",
        "How fast the fastest of the last recoveries brought a version here.",
        lambda seen: seen.absorbed_bytes_per_s,
    ),
)
