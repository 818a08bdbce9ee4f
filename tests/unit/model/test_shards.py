"""Shards of a job, and the checkpoints that they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX, SHARDS_MAX
from ckptd.model.ids import CheckpointName
from ckptd.model.shards import (
    Shard,
    WantedShards,
    job_of,
    parse_shard,
    parse_shards,
    rival_names,
    shard_name,
    split_shard,
)

LLAMA = CheckpointName("llama")

shards = st.integers(1, SHARDS_MAX).flatmap(
    lambda count: st.builds(Shard, st.integers(0, count - 1), st.just(count))
)


@pytest.mark.parametrize(
    ("text", "shard"),
    [("0/1", Shard(0, 1)), ("3/8", Shard(3, 8)), (f"0/{SHARDS_MAX}", Shard(0, SHARDS_MAX))],
)
def test_a_shard_as_a_person_writes_it(text: str, shard: Shard) -> None:
    assert parse_shard(text) == shard
    assert str(shard) == text


@pytest.mark.parametrize(
    "text",
    ["", "3", "3/", "/8", "8/8", "-1/8", "3/0", "03/8", "3/08", "3 / 8", "٣/8", "3/8/1",
     f"0/{SHARDS_MAX + 1}", "1/99999999999999999999"],
)  # fmt: skip
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="is not the number of a shard"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("text", "numbers", "count"),
    [
        ("all", None, None),
        ("all/8", None, 8),
        ("3", {3}, None),
        ("3,7/8", {3, 7}, 8),
        ("0-2,7", {0, 1, 2, 7}, None),
        ("7,3,3-3", {3, 7}, None),
    ],
)
def test_shards_as_a_person_writes_them(
    text: str, numbers: set[int] | None, count: int | None
) -> None:
    found = parse_shards(text)
    assert (found.numbers, found.count) == (numbers, count)


@pytest.mark.parametrize(
    "text",
    ["", "all,3", "3,", "-3", "3-", "7-3", "3 7", f"{SHARDS_MAX}", f"0-{SHARDS_MAX}", "8/8",
     "3/", "all/0", "all/x", "3/4/5", "0-8/8", f"all/{SHARDS_MAX + 1}"],
)  # fmt: skip
def test_what_are_no_shards(text: str) -> None:
    with pytest.raises(UsageError, match="are not 'all' or numbers"):
        parse_shards(text)


@given(
    st.none() | st.frozensets(st.integers(0, SHARDS_MAX - 1), min_size=1, max_size=20),
    st.none() | st.just(SHARDS_MAX),
)
def test_what_was_written_of_shards_is_read_again(
    numbers: frozenset[int] | None, count: int | None
) -> None:
    wanted = WantedShards(numbers, count)
    assert parse_shards(str(wanted)) == wanted


def test_runs_of_shards_are_written_short() -> None:
    assert str(WantedShards(frozenset({0, 1, 2, 3, 7}), 8)) == "0-3,7/8"
    assert str(WantedShards()) == "all"


def test_the_checkpoint_that_a_shard_is() -> None:
    assert shard_name(LLAMA, Shard(3, 8)) == "llama/shard-3-of-8"


@given(st.sampled_from(["llama", "team/llama", "a", "shard", "x/shard-3"]), shards)
def test_the_name_of_a_shard_says_of_what_it_is_one(job: str, shard: Shard) -> None:
    name = shard_name(CheckpointName(job), shard)
    assert split_shard(name) == (job, shard)


@pytest.mark.parametrize(
    "name",
    ["llama", "llama/rank-3", "shard-3-of-8", "llama/shard-8-of-8", "llama/shard-03-of-8",
     "llama/shard-3-of-8/x", "llama/shard-3-of-0", "llama/xshard-3-of-8", "llama/shard-3-of-99999",
     "llama/shard-0-of-2/shard-0-of-2"],
)  # fmt: skip
def test_what_is_no_name_of_a_shard(name: str) -> None:
    assert split_shard(CheckpointName(name)) is None


def test_what_the_job_of_a_name_is() -> None:
    assert job_of(CheckpointName("team/llama/shard-3-of-8")) == "team/llama"
    assert job_of(CheckpointName("llama/rank-3")) == "llama/rank-3"


def test_a_shard_has_no_shards() -> None:
    with pytest.raises(UsageError, match="is that of a shard already"):
        shard_name(CheckpointName("llama/shard-0-of-2"), Shard(0, 2))


def test_a_name_that_has_no_room_for_its_shards() -> None:
    with pytest.raises(UsageError, match="checkpoint name"):
        shard_name(CheckpointName("n" * (CHECKPOINT_NAME_BYTES_MAX - 5)), Shard(0, 2))


@pytest.mark.parametrize(
    ("name", "known", "rivals"),
    [
        ("llama/shard-0-of-2", ["llama/shard-1-of-2", "llama/shard-0-of-4", "llama2"], []),
        ("llama/shard-0-of-2", ["llama"], ["llama"]),
        ("llama/shard-0-of-2", ["llama/rank-1", "llama/rank-0"], ["llama/rank-0", "llama/rank-1"]),
        ("llama", ["llama/rank-0", "llama2/shard-0-of-2"], []),
        ("llama", ["llama/shard-0-of-2", "llama/shard-1-of-2"], ["llama"]),
        ("llama/rank-0", ["llama/shard-0-of-2"], ["llama"]),
        ("llama/eval/x", ["llama/shard-0-of-2"], ["llama"]),
        ("team/llama/shard-0-of-2", ["team"], []),
    ],
)
def test_which_names_may_not_stand_beside_each_other(
    name: str, known: list[str], rivals: list[str]
) -> None:
    known_names = [CheckpointName(each) for each in known]
    assert rival_names(CheckpointName(name), known_names) == rivals
