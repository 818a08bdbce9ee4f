from __future__ import annotations

import pytest

from ckptd.limits import MIB, MS, SECOND
from ckptd.traffic.disk_yielding import SHARE_MIN, DiskUse, DiskYielding

LOOK_NS = 250 * MS
COLD = DiskUse(0, 0, 100 * MIB, 100 * MIB, LOOK_NS)


def shares(*uses: DiskUse) -> list[float]:
    yielding = DiskYielding()
    return [yielding.observe(use, now=number * LOOK_NS) for number, use in enumerate(uses, start=1)]


def test_without_others_it_reads_at_its_rate() -> None:
    assert shares(*[COLD] * 20) == [1.0] * 20


@pytest.mark.parametrize(
    "use",
    [
        COLD._replace(others_bytes=MIB),  # in a quarter of a second
        COLD._replace(others_writes=25),  # small ones, with an fsync each
    ],
)
def test_beside_others_the_share_falls_at_once_and_never_to_nothing(use: DiskUse) -> None:
    assert shares(*[use] * 8) == [1 / 2, 1 / 4, 1 / 8] + [SHARE_MIN] * 5


def test_a_little_of_others_counts_for_nothing() -> None:
    assert shares(COLD._replace(others_bytes=MIB - 1, others_writes=24)) == [1.0]


def test_what_is_in_memory_needs_no_disk() -> None:
    warm = DiskUse(100 * MIB, 1000, 10 * MIB, 100 * MIB, LOOK_NS)
    assert shares(*[warm] * 4) == [1.0] * 4
    assert shares(warm._replace(own_bytes=10 * MIB + 1)) == [0.5]


def test_it_rises_step_by_step_once_others_are_still() -> None:
    busy = COLD._replace(others_bytes=100 * MIB)
    calm = shares(busy, busy, *[COLD] * 12)[2:]
    assert calm == [1 / 4] * 4 + [1 / 2] * 4 + [1.0] * 4


def test_a_burst_in_between_begins_that_again() -> None:
    busy = COLD._replace(others_bytes=100 * MIB)
    found = shares(busy, *[COLD] * 4, busy, *[COLD] * 5)
    assert found == [1 / 2] * 5 + [1 / 4] * 5 + [1 / 2]


def test_what_no_time_has_passed_for_is_no_use() -> None:
    use = DiskUse(0, 0, 0, 0, SECOND)
    assert not use.is_used_by_others()
    assert use.is_from_memory()
