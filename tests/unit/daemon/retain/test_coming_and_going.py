"""Versions come and go while recoveries read; ``tests/benchmarks`` has the same with a thousand."""

from __future__ import annotations

from pathlib import Path

from tests.support.coming_and_going import CAPACITY_BYTES, come_and_go


async def test_no_reader_loses_a_file_no_last_copy_goes_and_disks_stay_below_their_mark(
    tmp_path: Path,
) -> None:
    tally = await come_and_go(tmp_path, versions=60, seed=1)
    assert tally.lost == []
    assert tally.gone == []
    assert tally.over_mark == 0
    assert tally.most_bytes < CAPACITY_BYTES
    assert tally.removed > tally.saved // 2
    assert tally.read > tally.saved
