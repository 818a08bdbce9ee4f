"""Which jobs save faster than a node hashes and copies, and which setting would mend it."""

from __future__ import annotations

import pytest

from ckptd.limits import GIB, MIB
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import Outrun
from ckptd.model.workload import SavedVersion, Workload
from ckptd.model.workload_judgements import (
    LimitInForce,
    OutrunJudgement,
    WorkloadSettings,
    hashing_share_together,
    judge,
    judge_together,
)

NOW_S = 1000.0
NO_SETTINGS = WorkloadSettings()


def workload(
    interval_s: float = 10.0,
    *,
    name: str = "llama",
    size_bytes: int = 2 * GIB,
    changed_bytes: int | None = None,
    hashed_s: float | None = None,
    paced_s: float = 0.0,
    copied_s: float | None = None,
    brought_s: float | None = None,
) -> Workload:
    """Return what a job does that saved five times, the last time just now."""
    return Workload(
        CheckpointName(name),
        tuple(
            SavedVersion(
                CheckpointName(name),
                Version(number),
                NOW_S,
                "d",
                NOW_S - (4 - number) * interval_s,
                size_bytes,
                changed_bytes,
                hashed_s,
                paced_s,
                copied_s,
                brought_s,
            )
            for number in range(5)
        ),
    )


def judged(of: Workload, settings: WorkloadSettings = NO_SETTINGS) -> list[OutrunJudgement]:
    return list(judge(of, settings, now_s=NOW_S))


def test_nothing_is_said_of_a_job_that_is_caught_up_with() -> None:
    assert judged(workload(hashed_s=10.0, copied_s=10.0, brought_s=10.0)) == []


def test_nothing_is_said_where_too_little_is_known() -> None:
    known = workload(hashed_s=30.0).versions
    assert judged(Workload(CheckpointName("llama"), known[:2])) == []
    assert judged(workload()) == []


def test_nothing_is_said_of_a_job_that_saves_no_more() -> None:
    assert list(judge(workload(hashed_s=30.0), NO_SETTINGS, now_s=NOW_S + 601)) == []


def test_a_rate_that_hashing_waits_for_is_to_be_raised_to_what_is_needed() -> None:
    settings = WorkloadSettings(watch_rate_bytes_per_s=100 * MIB)
    (found,) = judged(workload(hashed_s=20.0, paced_s=16.0), settings)
    assert found == OutrunJudgement(
        Outrun.HASHING,
        CheckpointName("llama"),
        "is saved every 10s, and a version takes 20s to hash, at 102 MiB/s: ckptd falls behind",
        "Set rate of its [[watch]] to 250 MiB/s; it is 100 MiB/s.",
    )


@pytest.mark.parametrize(
    ("paced_s", "rate", "remedy"),
    [
        # Without any waiting it takes 12 s, and a fifth of the interval is to be left.
        (8.0, 100 * MIB, "Raise rate of its [[watch]], and save it no more often than every 15s,"),
        (1.0, 100 * MIB, "Save it no more often than every 24s,"),
        (0.0, None, "Save it no more often than every 25s,"),
    ],
)
def test_what_no_rate_mends_is_to_be_saved_more_rarely(
    paced_s: float, rate: int | None, remedy: str
) -> None:
    settings = WorkloadSettings(watch_rate_bytes_per_s=rate)
    (found,) = judged(workload(hashed_s=20.0, paced_s=paced_s), settings)
    others = "put it on a faster disk, or save shards of which each node hashes its own."
    assert found.remedy == f"{remedy} {others}"


def test_a_limit_that_copying_runs_into_is_to_be_raised_to_what_is_needed() -> None:
    settings = WorkloadSettings(egress=LimitInForce("egress.background", 64 * MIB))
    (found,) = judged(workload(copied_s=40.0), settings)
    assert found.outrun is Outrun.COPYING
    assert found.finding == (
        "is saved every 10s, and 40s pass until a second node has a version: the newest is at one "
        "node alone"
    )
    assert found.remedy == (
        "Raise the limit egress.background to 320 MiB/s (it is 64 MiB/s), "
        "or save it no more often than every 50s."
    )


def test_a_limit_far_above_what_is_copied_is_not_what_binds() -> None:
    settings = WorkloadSettings(egress=LimitInForce("egress.total", 10 * GIB), copies=3)
    (found,) = judged(workload(copied_s=40.0, changed_bytes=GIB), settings)
    assert found.remedy == (
        "It would have to be 5.0 times as fast (128 MiB/s): 'ckptctl explain' of such a recovery "
        "says what binds it. Else save it no more often than every 50s, or ask for fewer than 3 "
        "copies of it in [copies]."
    )


def test_what_comes_here_too_slowly_is_judged_by_what_limits_that() -> None:
    settings = WorkloadSettings(
        egress=LimitInForce("egress.total", MIB),
        ingress=LimitInForce("disk_write.total", 60 * MIB),
        copies=2,
    )
    (found,) = judged(workload(brought_s=40.0), settings)
    assert found.outrun is Outrun.BRINGING
    assert found.finding == (
        "is saved every 10s, and it takes 40s to bring a version here: versions are passed over"
    )
    assert found.remedy == (
        "Raise the limit disk_write.total to 300 MiB/s (it is 60 MiB/s), or save it no more "
        "often than every 50s, or take it out of [copies] names here."
    )


def test_jobs_that_fit_alone_may_not_fit_together() -> None:
    jobs = [workload(name=name, hashed_s=6.0) for name in ("a", "b")]
    assert hashing_share_together(jobs, now_s=NOW_S) == pytest.approx(1.2)
    (found,) = judge_together(jobs, now_s=NOW_S)
    assert (found.outrun, found.checkpoint) == (Outrun.HASHING, None)
    assert found.finding == (
        "are saved faster together than this node hashes: that takes 120% of the time"
    )
    assert found.remedy.startswith("Save 1.5 times more rarely,")


def test_of_all_together_nothing_is_said_where_one_is_too_fast_alone_or_all_fit() -> None:
    assert not list(judge_together([workload(hashed_s=11.0)], now_s=NOW_S))
    assert not list(judge_together([workload(hashed_s=5.0)] * 2, now_s=NOW_S))
    assert not list(judge_together([workload(hashed_s=6.0)] * 2, now_s=NOW_S + 601))
    assert not list(judge_together([], now_s=NOW_S))
    assert hashing_share_together([workload()], now_s=NOW_S) is None
