from __future__ import annotations

import pytest

from ckptd.copies.fleet import FleetVersion, Room
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import Criticality


def test_a_class_takes_with_it_what_is_more_urgent() -> None:
    sizes = {Criticality.CRITICAL: 5, Criticality.DEFERRED: 7}
    version = FleetVersion(CheckpointName("llama"), Version(1), Digest("0" * 64), sizes, ())
    assert [version.size_down_to(each) for each in Criticality] == [5, 5, 12]


@pytest.mark.parametrize(
    ("more_bytes", "has_room"), [(0, True), (50, True), (51, False), (60, False), (61, False)]
)
def test_a_copy_fits_into_the_quota_and_leaves_a_tenth_of_the_disk(
    more_bytes: int, has_room: bool
) -> None:
    room = Room(quota_bytes=100, used_bytes=40, disk_bytes=1000, free_bytes=150)
    assert (more_bytes <= room.left_bytes) is has_room


def test_the_quota_counts_to_the_byte() -> None:
    assert Room(quota_bytes=100, used_bytes=40, disk_bytes=0, free_bytes=10**6).left_bytes == 60


def test_a_tenth_of_the_disk_is_rounded_up() -> None:
    assert Room(quota_bytes=100, disk_bytes=1001, free_bytes=150).left_bytes == 49
