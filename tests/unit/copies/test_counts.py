from __future__ import annotations

import pytest

from ckptd.copies.counts import COPY_COUNT_MAX, KEEP_MAX, CopyCounts, CopyRule
from ckptd.errors import UsageError


@pytest.mark.parametrize("counts", [(0, 0, 0), (COPY_COUNT_MAX + 1, 1, 1), (3, 4, 1), (3, 2, -1)])
def test_counts_out_of_bounds_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        CopyCounts(*counts)


@pytest.mark.parametrize("keep", [0, KEEP_MAX + 1])
def test_at_least_one_version_is_kept(keep: int) -> None:
    with pytest.raises(UsageError):
        CopyRule(keep=keep)
