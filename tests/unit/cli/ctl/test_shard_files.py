"""Which files belong to which shard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ckptd.cli.ctl.shard_files import ShardFiles, paths_below
from ckptd.errors import NotFound, UsageError
from ckptd.limits import SHARDS_MAX
from ckptd.model.patterns import compile_pattern

PATHS = [
    "latest",
    "mp_rank_00_model_states.pt",
    "zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "zero_pp_rank_11_mp_rank_00_optim_states.pt",
]


def test_each_shard_leaves_out_what_others_saved() -> None:
    files = ShardFiles("zero_pp_rank_{shard}_*.pt")
    numbers = files.numbers(PATHS)
    assert numbers == {0: {"0"}, 1: {"1"}, 11: {"11"}}
    left = {
        shard: [
            path
            for path in PATHS
            if not any(
                compile_pattern(each).match(path) for each in files.of_others(numbers, shard)
            )
        ]
        for shard in numbers
    }
    assert left[1] == ["latest", PATHS[1], PATHS[3]]
    assert left[11] == ["latest", PATHS[1], PATHS[4]]


def test_zeros_before_a_number_and_several_directories() -> None:
    files = ShardFiles("iter_5/mp_rank_{shard}/*")
    numbers = files.numbers(["iter_5/mp_rank_07/a", "iter_5/mp_rank_7/b", "iter_5/mp_rank_08/a"])
    assert numbers == {7: {"07", "7"}, 8: {"08"}}
    assert files.of_others(numbers, 8) == ("iter_5/mp_rank_07/*", "iter_5/mp_rank_7/*")


@pytest.mark.parametrize("pattern", ["", "rank_*", "{shard}/{shard}", "{rank}"])
def test_a_pattern_has_one_place_for_the_number(pattern: str) -> None:
    with pytest.raises(UsageError, match="one \\{shard\\}"):
        ShardFiles(pattern)


def test_what_matches_nothing_or_too_much_is_refused() -> None:
    files = ShardFiles("rank-{shard}")
    with pytest.raises(NotFound, match="matches no file"):
        files.numbers(PATHS)
    with pytest.raises(UsageError, match=re.escape(f"not below {SHARDS_MAX}")):
        files.numbers([f"rank-{SHARDS_MAX}"])


def test_files_below_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/one").touch()
    (tmp_path / "two").touch()
    assert sorted(paths_below(str(tmp_path))) == ["a/b/one", "two"]
    with pytest.raises(NotFound, match="cannot be read"):
        list(paths_below(str(tmp_path / "gone")))
