"""Names that are spelled most like one that nobody has."""

from __future__ import annotations

import pytest

from ckptd.model.nearest import NEAREST_SHOWN, nearest_names

RANKS = [f"llama/rank-{rank}" for rank in range(12)]


@pytest.mark.parametrize(
    ("wanted", "names", "first"),
    [
        ("llama/rank0", [*RANKS, "opt"], "llama/rank-0"),
        ("lama/rank-3", [*RANKS, "opt"], "llama/rank-3"),
        ("otp", [*RANKS, "opt"], "opt"),
        ("rank-11", RANKS, "llama/rank-11"),
        ("x", ["y", "x/1"], "x/1"),
    ],
)
def test_the_most_similar_name_comes_first(wanted: str, names: list[str], first: str) -> None:
    assert nearest_names(wanted, names)[0] == first
    assert nearest_names(wanted, reversed(names)) == nearest_names(wanted, names)


def test_a_few_different_names_are_given() -> None:
    assert len(nearest_names("llama", RANKS)) == NEAREST_SHOWN
    assert nearest_names("llama", ["opt", "opt"]) == ("opt",)
    assert nearest_names("llama", []) == ()
    assert len(nearest_names("llama", RANKS, 5)) == 5


def test_among_very_many_the_right_one_is_found() -> None:
    names = [f"job-{job}/rank-{rank}" for job in range(1000) for rank in range(20)]
    assert nearest_names("job-512/rank_7", names)[0] == "job-512/rank-7"
