"""Whether jobs save faster than this node hashes and copies, and what would have to be otherwise.

A job that saves every ten seconds what takes twelve to hash is never caught up with: saves are
passed over, and what is on offer grows older. Judged is only what was seen at least twice, of jobs
that still save.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.model.ids import CheckpointName
from ckptd.model.quantities import format_duration, format_rate
from ckptd.model.words import Outrun
from ckptd.model.workload import Workload

_SHARE_AIM: Final = 0.8
"""What mends it is to leave a fifth of the interval: saves vary, and so do disks."""
_PACED_SHARE_MIN: Final = 0.1
"""So much of the time must go by to keep to a rate for that rate to be what binds."""
_LIMIT_SHARE_MIN: Final = 0.5
"""What is copied at less than half of a limit is not bound by it."""


class LimitInForce(NamedTuple):
    """A limit of ``[limits]`` that counts now.

    Attributes:
        key: Its name there.
        bytes_per_s: How much it permits.
    """

    key: str
    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """What an operator set that may be what binds.

    Attributes:
        watch_rate_bytes_per_s: How fast the ``[[watch]]`` reads that publishes it; ``None``: it is
            published otherwise.
        egress: The lowest limit on what goes out; ``None``: there is none.
        ingress: Likewise on what comes in.
        copies: How many copies ``[copies]`` asks for of what is not critical; ``None``: it is not
            listed there.
    """

    watch_rate_bytes_per_s: int | None = None
    egress: LimitInForce | None = None
    ingress: LimitInForce | None = None
    copies: int | None = None


class OutrunJudgement(NamedTuple):
    """Something that a job which saves is faster than.

    Attributes:
        outrun: What.
        checkpoint: Which job; ``None``: all together.
        finding: How much faster, for people, to stand behind its name.
        remedy: What would mend it.
    """

    outrun: Outrun
    checkpoint: CheckpointName | None
    finding: str
    remedy: str


def judge(
    workload: Workload, settings: WorkloadSettings, *, now_s: float
) -> Iterator[OutrunJudgement]:
    """Yield what a job is faster than.

    Args:
        workload: What it does.
        settings: What may bind.
        now_s: The moment, in Unix time.
    """
    if not workload.is_current(now_s=now_s):
        return
    shares = (
        (Outrun.HASHING, workload.hashing_share, _of_hashing),
        (Outrun.COPYING, workload.copying_share, _of_copying),
        (Outrun.BRINGING, workload.bringing_share, _of_bringing),
    )
    for outrun, share, words in shares:
        if share is not None and share > 1:
            finding, remedy = words(workload, settings)
            yield OutrunJudgement(outrun, workload.checkpoint, finding, remedy)


def hashing_share_together(workloads: Iterable[Workload], *, now_s: float) -> float | None:
    """Return for which share of the time this node hashes what is saved here, if it can.

    Args:
        workloads: All of them.
        now_s: The moment, in Unix time.

    Returns:
        Above 1 all jobs together save faster than that; ``None``: it is known of none.
    """
    shares = [
        share
        for each in workloads
        if each.is_current(now_s=now_s) and (share := each.hashing_share) is not None
    ]
    return sum(shares) if shares else None


def judge_together(workloads: Iterable[Workload], *, now_s: float) -> Iterator[OutrunJudgement]:
    """Yield that all jobs are faster together than hashing, if none of them is alone.

    Args:
        workloads: All of them.
        now_s: The moment, in Unix time.
    """
    known = list(workloads)
    share = hashing_share_together(known, now_s=now_s)
    alone = [each.hashing_share or 0.0 for each in known if each.is_current(now_s=now_s)]
    if share is None or share <= 1 or max(alone) > 1:
        return
    yield OutrunJudgement(
        Outrun.HASHING,
        None,
        f"are saved faster together than this node hashes: that takes {share:.0%} of the time",
        f"Save {share / _SHARE_AIM:.1f} times more rarely, or raise rate of the [[watch]] tables "
        "where 'ckptctl checkpoints --workload' shows that hashing waits for it.",
    )


def _of_hashing(workload: Workload, settings: WorkloadSettings) -> tuple[str, str]:
    interval_s, hashed_s = workload.interval_s or 0.0, workload.hashed_s or 0.0
    rate = workload.hashing_bytes_per_s
    speed = "" if rate is None else f", at {format_rate(rate)}"
    finding = (
        f"is saved every {format_duration(interval_s)}, and a version takes "
        f"{format_duration(hashed_s)} to hash{speed}: ckptd falls behind"
    )
    aim_s, unpaced_s = interval_s * _SHARE_AIM, hashed_s - workload.paced_s
    set_rate = settings.watch_rate_bytes_per_s
    is_paced = workload.paced_s > hashed_s * _PACED_SHARE_MIN
    if set_rate is not None and is_paced and unpaced_s <= aim_s:
        needed = set_rate * hashed_s / aim_s
        return finding, (
            f"Set rate of its [[watch]] to {format_rate(needed)}; it is {format_rate(set_rate)}."
        )
    rarely = f"save it no more often than every {format_duration(unpaced_s / _SHARE_AIM)}"
    first = "Raise rate of its [[watch]], and " if set_rate is not None and is_paced else ""
    others = "put it on a faster disk, or save shards of which each node hashes its own"
    sentence = f"{first}{rarely}, {others}."
    return finding, sentence[0].upper() + sentence[1:]


def _of_copying(workload: Workload, settings: WorkloadSettings) -> tuple[str, str]:
    interval_s, copied_s = workload.interval_s or 0.0, workload.copied_s or 0.0
    finding = (
        f"is saved every {format_duration(interval_s)}, and {format_duration(copied_s)} pass until "
        "a second node has a version: the newest is at one node alone"
    )
    fewer = ""
    if settings.copies is not None and settings.copies > 1:
        fewer = f", or ask for fewer than {settings.copies} copies of it in [copies]"
    return finding, _remedy(workload, copied_s, settings.egress, fewer)


def _of_bringing(workload: Workload, settings: WorkloadSettings) -> tuple[str, str]:
    interval_s, brought_s = workload.interval_s or 0.0, workload.brought_s or 0.0
    finding = (
        f"is saved every {format_duration(interval_s)}, and it takes {format_duration(brought_s)} "
        "to bring a version here: versions are passed over"
    )
    fewer = "" if settings.copies is None else ", or take it out of [copies] names here"
    return finding, _remedy(workload, brought_s, settings.ingress, fewer)


def _remedy(workload: Workload, takes_s: float, limit: LimitInForce | None, otherwise: str) -> str:
    """Say what would have to be faster, by how much, or how rarely it may be saved."""
    interval_s = workload.interval_s or 0.0
    factor = takes_s / (interval_s * _SHARE_AIM)
    share = workload.changed_share
    moved_bytes = (workload.size_bytes or 0) * (1.0 if share is None else share)
    rarely = f"save it no more often than every {format_duration(takes_s / _SHARE_AIM)}"
    if limit is not None and moved_bytes / takes_s >= limit.bytes_per_s * _LIMIT_SHARE_MIN:
        needed = format_rate(limit.bytes_per_s * factor)
        return (
            f"Raise the limit {limit.key} to {needed} (it is {format_rate(limit.bytes_per_s)}), "
            f"or {rarely}{otherwise}."
        )
    needed = f" ({format_rate(moved_bytes / (interval_s * _SHARE_AIM))})" if moved_bytes else ""
    return (
        f"It would have to be {factor:.1f} times as fast{needed}: 'ckptctl explain' of such a "
        f"recovery says what binds it. Else {rarely}{otherwise}."
    )
