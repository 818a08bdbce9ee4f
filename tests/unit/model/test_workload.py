"""What jobs do to a node, counted from some versions; nothing is made up of what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.model.ids import CheckpointName, Version
from ckptd.model.workload import SavedVersion, Workload, joint_workloads_of, workloads_of

LLAMA = CheckpointName("llama")
NOW_S = 10_000.0


def saved(
    version: int, at_s: float | None = None, name: str = LLAMA, **more: float | None
) -> SavedVersion:
    return SavedVersion(
        CheckpointName(name),
        Version(version),
        NOW_S,
        f"{version}",
        saved_at_s=at_s,
        **more,  # type: ignore[arg-type]
    )


def one(*versions: SavedVersion) -> Workload:
    (found,) = joint_workloads_of(versions)
    return found


def test_how_often_it_is_saved_is_the_median_and_forgives_a_pause() -> None:
    found = one(*(saved(number, at_s) for number, at_s in enumerate([10, 20, 31, 500, 509, 519])))
    assert found.intervals_s == [10, 11, 469, 9, 10]
    assert found.interval_s == 10
    assert found.saved_at_s == 519
    assert found.is_current(now_s=519 + 600)
    assert not found.is_current(now_s=519 + 601)


def test_a_job_that_saves_once_a_day_is_current_for_days() -> None:
    day = 86_400
    found = one(saved(1, day), saved(2, 2 * day), saved(3, 3 * day))
    assert found.is_current(now_s=8 * day)
    assert not found.is_current(now_s=8 * day + 1)


def test_versions_that_were_saved_at_the_same_moment_make_no_interval() -> None:
    assert one(saved(1, 5.0), saved(2, 5.0), saved(3, 5.0)).intervals_s == []


def test_order_is_that_of_saving_and_not_that_of_numbers() -> None:
    found = one(saved(200, 10.0), saved(100, 30.0), saved(110, 20.0))
    assert [each.version for each in found.versions] == [200, 110, 100]


def test_what_is_not_known_is_none() -> None:
    found = one(saved(1), saved(2, 5.0))
    assert found.interval_s is None
    assert (found.size_bytes, found.changed_share, found.hashing_bytes_per_s) == (None, None, None)
    assert (found.hashed_s, found.copied_s, found.brought_s) == (None, None, None)
    assert (found.hashing_share, found.copying_share, found.bringing_share) == (None, None, None)
    assert found.paced_s == 0.0
    assert not found.is_current(now_s=5.0)


def test_shares_of_the_interval_need_two_intervals_and_two_durations() -> None:
    def share(intervals: int, durations: int) -> float | None:
        return one(
            *(
                saved(number, 10.0 * number, hashed_s=5.0 if number < durations else None)
                for number in range(intervals + 1)
            )
        ).hashing_share

    assert share(2, 2) == 0.5
    assert share(1, 2) is None
    assert share(2, 1) is None


def test_typical_is_the_median() -> None:
    found = one(
        saved(1, 10.0, size_bytes=100, changed_bytes=None, hashed_s=2.0, copied_s=20.0),
        saved(2, 20.0, size_bytes=100, changed_bytes=20, hashed_s=4.0, paced_s=1.0, copied_s=30.0),
        saved(3, 30.0, size_bytes=200, changed_bytes=80, hashed_s=5.0, paced_s=3.0, copied_s=40.0),
        saved(4, 40.0),
    )
    assert found.size_bytes == 200
    assert found.changed_share == pytest.approx(0.3)
    assert (found.hashed_s, found.paced_s) == (4.0, 1.0)
    assert found.hashing_bytes_per_s == pytest.approx(40.0)
    assert len(found.published) == 3
    assert (found.hashing_share, found.copying_share) == (0.4, 3.0)


def shard(index: int, version: int, at_s: float, count: int = 2, **more: float) -> SavedVersion:
    return saved(version, at_s, f"gpt/shard-{index}-of-{count}", **more)


def test_shards_of_a_job_are_one_version_once_all_that_are_here_are_known() -> None:
    versions = [
        shard(0, 1, 10.0, size_bytes=5, changed_bytes=1, hashed_s=2.0, copied_s=3.0),
        shard(1, 1, 12.0, size_bytes=7, changed_bytes=2, hashed_s=3.0, paced_s=1.0, copied_s=9.0),
        shard(0, 2, 20.0, size_bytes=5, hashed_s=2.0),
        shard(1, 2, 21.0, size_bytes=7, hashed_s=3.0, copied_s=9.0),
        shard(0, 3, 30.0, size_bytes=5),
        saved(9, 50.0),
    ]
    gpt, llama = joint_workloads_of(versions)
    assert (gpt.checkpoint, gpt.shards, llama.checkpoint, llama.shards) == ("gpt", 2, LLAMA, 0)
    first, second = gpt.versions
    assert (first.version, first.saved_at_s, first.size_bytes, first.changed_bytes) == (
        1,
        12,
        12,
        3,
    )
    assert (first.hashed_s, first.paced_s, first.copied_s) == (5.0, 1.0, 9.0)
    assert (second.version, second.changed_bytes, second.copied_s) == (2, None, None)
    assert [each.checkpoint for each in workloads_of(versions)] == [
        "gpt/shard-0-of-2",
        "gpt/shard-1-of-2",
        LLAMA,
    ]


def test_layouts_of_a_job_count_each_by_its_own_shards() -> None:
    found = one(shard(0, 1, 10.0), shard(1, 1, 11.0), shard(0, 2, 20.0, count=1))
    assert [(each.version, each.shards) for each in found.versions] == [(1, 2), (2, 1)]
    assert found.shards == 2


def test_copies_of_other_shards_are_no_part_of_what_is_saved_here() -> None:
    copy = replace(shard(1, 1, 10.0), size_bytes=90, brought_s=1.0)
    found = one(
        *(shard(0, number, 10.0 * number, size_bytes=5, hashed_s=2.0) for number in (1, 2, 3)),
        *(replace(copy, version=Version(number)) for number in (1, 2, 3)),
    )
    assert (found.shards, found.size_bytes, found.hashed_s, found.interval_s) == (1, 5, 2.0, 10.0)
    holder = one(copy, replace(copy, checkpoint=CheckpointName("gpt/shard-0-of-2")))
    assert (holder.shards, holder.size_bytes, holder.brought_s) == (2, 180, 1.0)


def test_what_a_recovery_of_a_job_brought_is_known_of_its_version() -> None:
    found = one(
        saved(1, 10.0, "gpt", size_bytes=12, brought_s=4.0),
        shard(0, 1, 12.0, size_bytes=5, hashed_s=2.0),
    )
    (version,) = found.versions
    assert (version.shards, version.size_bytes, version.hashed_s) == (1, 5, 2.0)
    assert (version.saved_at_s, version.brought_s) == (12.0, 4.0)


def test_a_rate_needs_both_a_size_and_a_duration() -> None:
    found = one(saved(1, 10.0, hashed_s=2.0), saved(2, 20.0, size_bytes=8), saved(3, 30.0))
    assert found.hashing_bytes_per_s is None


def test_shards_are_in_order_of_the_last_that_was_noted() -> None:
    early, late = (
        replace(shard(0, 1, 1.0), noted_at_s=5.0),
        replace(shard(1, 1, 1.0), noted_at_s=7.0),
    )
    (version,) = one(early, late).versions
    assert version.noted_at_s == 7.0
