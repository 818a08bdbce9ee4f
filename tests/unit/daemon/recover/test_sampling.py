"""What to fetch a little of, and what that says."""

from __future__ import annotations

import pytest

from ckptd.daemon.recover.sampling import SAMPLE_BYTES_MAX, Sample, worth_sampling
from ckptd.limits import KIB, MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import RangeOutcome


def sample(
    size_bytes: int, duration_s: float, *, first: tuple[float, int] = (0.0, 0), bad: int = 0
) -> Sample:
    return Sample(size_bytes, duration_s, *first, bad, RangeOutcome.DELIVERED)


def held(size_bytes: int, block_count: int, *, is_empty: bool = False) -> Holding:
    return Holding(
        CheckpointName("a"), Version(size_bytes), Digest("0" * 64), size_bytes, block_count,
        BlockSet() if is_empty else BlockSet.full(block_count),
    )  # fmt: skip


def test_the_way_to_the_first_byte_is_not_part_of_the_rate() -> None:
    far = sample(8 * MIB, 0.3, first=(0.2, 1 * MIB))
    assert far.rate_bytes_per_s == pytest.approx(70 * MIB)
    assert far.latency_ns == 100 * MS


@pytest.mark.parametrize("first", [(0.095, 1 * MIB), (0.04, 8 * MIB), (0.1, 8 * MIB)])
def test_what_came_all_at_once_counts_over_the_whole_time(first: tuple[float, int]) -> None:
    assert sample(8 * MIB, 0.1, first=first).rate_bytes_per_s == pytest.approx(80 * MIB)


def test_nothing_or_a_wrong_block_says_nothing_of_the_rate() -> None:
    assert sample(1, 0.1).rate_bytes_per_s == 10
    assert sample(0, 0.1).rate_bytes_per_s is None
    assert sample(8 * MIB, 0.1, bad=1).rate_bytes_per_s is None


def test_enough_bytes_come_first_and_then_the_short_manifest() -> None:
    tiny, enough, long = held(KIB, 1), held(SAMPLE_BYTES_MAX, 8), held(9 * SAMPLE_BYTES_MAX, 9)
    assert worth_sampling([long, tiny, enough]) == enough
    assert worth_sampling([tiny, held(2 * KIB, 2)]) == held(2 * KIB, 2)
    assert worth_sampling([tiny, held(SAMPLE_BYTES_MAX, 64 * KIB + 1)]) == tiny


def test_nothing_is_worth_it_where_nothing_is_held() -> None:
    assert worth_sampling([held(SAMPLE_BYTES_MAX, 8, is_empty=True)]) is None
    assert worth_sampling([held(SAMPLE_BYTES_MAX, 64 * KIB + 1)]) is None
    assert worth_sampling([]) is None


def test_a_rate_is_sound_from_a_mebibyte_on() -> None:
    assert sample(MIB, 0.1).is_sound
    assert not sample(MIB - 1, 0.1).is_sound
