"""What jobs that still save do together; nothing is made up of what is not known."""

from __future__ import annotations

import pytest

from ckptd.daemon.measure.workload_metrics import WorkloadSeen, seen_of
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.workload import SavedVersion, Workload

NOW_S = 1000.0


def workload(
    interval_s: float = 10.0, *, last_s: float = NOW_S, name: str = "a", **more: float
) -> Workload:
    checkpoint = CheckpointName(name)
    versions = [
        SavedVersion(
            checkpoint,
            Version(number),
            NOW_S,
            saved_at_s=last_s - (3 - number) * interval_s,
            **more,  # type: ignore[arg-type]
        )
        for number in range(4)
    ]
    return Workload(checkpoint, tuple(versions))


def test_extremes_and_sums_are_shown_of_jobs_that_still_save() -> None:
    seen = seen_of(
        [
            workload(10, size_bytes=100, changed_bytes=50, hashed_s=2.0, copied_s=15.0),
            workload(20, size_bytes=100, changed_bytes=20, hashed_s=8.0, copied_s=5.0),
            workload(1, last_s=NOW_S - 700, size_bytes=100, hashed_s=9.0, copied_s=99.0),
        ],
        now_s=NOW_S,
    )
    assert seen.intervals_s == {"shortest": 10, "longest": 20}
    assert seen.hashing == pytest.approx({"worst": 0.4, "together": 0.6})
    assert seen.copying == 1.5
    assert (seen.saved_bytes_per_s, seen.changed_bytes_per_s) == (15, 6)


def test_where_of_one_nothing_is_known_of_what_is_new_nothing_is_said_of_all() -> None:
    seen = seen_of(
        [workload(size_bytes=100, changed_bytes=50), workload(name="b", size_bytes=100)],
        now_s=NOW_S,
    )
    assert (seen.saved_bytes_per_s, seen.changed_bytes_per_s) == (20, None)


def test_of_nothing_nothing_is_said() -> None:
    assert seen_of([], now_s=NOW_S) == WorkloadSeen()
    assert seen_of([workload()], now_s=NOW_S) == WorkloadSeen({"shortest": 10, "longest": 10})
