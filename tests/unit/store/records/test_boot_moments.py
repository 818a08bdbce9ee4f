from __future__ import annotations

import pytest

from ckptd.store.records.boot_moments import UNKNOWN, BootMoment


@pytest.mark.parametrize(
    ("now", "then", "since_ns"),
    [
        (BootMoment("a", 30), BootMoment("a", 10), 20),
        (BootMoment("a", 30), BootMoment("a", -10), 40),
        (BootMoment("a", 10), BootMoment("a", 30), 0),
        (BootMoment("a", 30), BootMoment("b", 10), None),
        (BootMoment("a", 30), UNKNOWN, None),
        (UNKNOWN, UNKNOWN, None),
    ],
)
def test_moments_of_one_boot_can_be_compared(
    now: BootMoment, then: BootMoment, since_ns: int | None
) -> None:
    assert now.since_ns(then) == since_ns
