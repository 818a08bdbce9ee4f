"""Which checkpoints a pattern means, and what is refused before anything begins."""

from __future__ import annotations

import pytest

from ckptd.daemon.answer.matching_names import checkpoints_matching
from ckptd.errors import Missing, UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX, MATCHING_NAMES_MAX
from ckptd.model.ids import CheckpointName


def known(*names: str) -> set[CheckpointName]:
    return set(map(CheckpointName, names))


KNOWN = known("llama/rank-10", "llama/rank-3", "evals", "gpt/shard-0-of-2", "gpt/shard-1-of-2")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("llama/*", ["llama/rank-10", "llama/rank-3"]),
        ("llama/rank-?", ["llama/rank-3"]),
        ("*/rank-[3-5]", ["llama/rank-3"]),
        ("e*", ["evals"]),
    ],
)
def test_a_pattern_means_the_checkpoints_it_matches(pattern: str, found: list[str]) -> None:
    assert checkpoints_matching(pattern, KNOWN) == found


@pytest.mark.parametrize("pattern", ["*", "gp?", "gpt/*", "*/shard-1-of-2"])
def test_a_job_is_recovered_as_one(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"matches the job gpt, .*ckptctl recover gpt,"):
        checkpoints_matching(pattern, KNOWN)


def test_what_matches_nothing_is_said_with_the_names_most_like_it() -> None:
    with pytest.raises(Missing, match=r"matches no checkpoint.*most like it: llama/rank-3"):
        checkpoints_matching("lama/rank-3*", KNOWN)
    with pytest.raises(Missing, match=r"matches no checkpoint here or at a peer that answers$"):
        checkpoints_matching("*", known())


def test_as_many_begin_at_once_as_can_be_reported() -> None:
    names = known(*(f"a/{number}" for number in range(MATCHING_NAMES_MAX)))
    assert len(checkpoints_matching("a/*", names)) == MATCHING_NAMES_MAX
    with pytest.raises(UsageError, match=f"matches {MATCHING_NAMES_MAX + 1} checkpoints"):
        checkpoints_matching("a/*", names | known("a/x"))


def test_no_pattern_is_longer_than_a_name() -> None:
    with pytest.raises(UsageError, match="is longer than"):
        checkpoints_matching("*" * (CHECKPOINT_NAME_BYTES_MAX + 1), KNOWN)
