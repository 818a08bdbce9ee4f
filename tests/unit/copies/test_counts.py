from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.copies.counts import COPY_COUNT_MAX, KEEP_MAX, CopyCounts, CopyRule
from ckptd.errors import UsageError
from ckptd.model.words import Criticality


def test_the_holder_of_each_rank_keeps_what_has_so_many_copies() -> None:
    counts = CopyCounts(critical=3, normal=2, deferred=1)
    assert [counts.at(rank) for rank in range(4)] == [
        Criticality.DEFERRED,
        Criticality.NORMAL,
        Criticality.CRITICAL,
        None,
    ]


@given(st.lists(st.integers(0, COPY_COUNT_MAX), min_size=3, max_size=3))
def test_ranks_make_as_many_copies_of_each_class_as_asked(numbers: list[int]) -> None:
    critical, normal, deferred = sorted(numbers, reverse=True)
    counts = CopyCounts(max(critical, 1), normal, deferred)
    kept = [counts.at(rank) for rank in range(COPY_COUNT_MAX + 1)]
    for each in Criticality:
        assert sum(least is not None and least >= each for least in kept) == counts.of(each)


@pytest.mark.parametrize("counts", [(0, 0, 0), (COPY_COUNT_MAX + 1, 1, 1), (3, 4, 1), (3, 2, -1)])
def test_counts_out_of_bounds_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        CopyCounts(*counts)


@pytest.mark.parametrize("keep", [0, KEEP_MAX + 1])
def test_at_least_one_version_is_kept(keep: int) -> None:
    with pytest.raises(UsageError):
        CopyRule(keep=keep)
