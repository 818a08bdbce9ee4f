"""A link that is shared: what those who give way are allowed, tick by tick."""

from __future__ import annotations

import pytest

from ckptd.limits import MIB, MS
from ckptd.traffic.allowance import ALLOWANCE_MIN_BYTES_PER_S, Yielding

TICK_NS = 100 * MS


class SharedLink:
    """A link on which everybody gets a share of what is missing, like with TCP.

    Those who give way use all that they are allowed, and ask for ``appetite``.
    """

    def __init__(self, yielding: Yielding, capacity: float) -> None:
        self.yielding = yielding
        self.capacity = capacity
        self.appetite = float("inf")
        self.now = 0
        self.got: list[tuple[float, float]] = []

    def run(self, ticks: int, *, others: float) -> None:
        """Let time pass while the others want so much."""
        for _ in range(ticks):
            wanted = min(self.yielding.allowance_bytes_per_s, self.appetite)
            squeeze = min(1.0, self.capacity / max(others + wanted, 1))
            self.got.append((others * squeeze, wanted * squeeze))
            self.now += TICK_NS
            self.yielding.observe(*self.got[-1], now=self.now)

    def means(self, last: int) -> tuple[float, float]:
        """Return what the others and those who give way got in the last ticks."""
        taken = self.got[-last:]
        return sum(a for a, _ in taken) / last, sum(b for _, b in taken) / last


def test_what_others_leave_of_a_known_link_is_used_at_once() -> None:
    link = SharedLink(Yielding(int(100 * MIB)), 100 * MIB)
    link.run(1, others=50 * MIB)
    assert link.yielding.allowance_bytes_per_s == 45 * MIB
    link.run(20, others=50 * MIB)
    others, used = link.means(20)
    assert others == 50 * MIB
    assert used == pytest.approx(45 * MIB, rel=0.01)


def test_others_that_grow_get_room_and_what_they_leave_is_taken_three_seconds_later() -> None:
    link = SharedLink(Yielding(int(100 * MIB)), 100 * MIB)
    link.run(10, others=0)
    link.run(3, others=80 * MIB)
    assert link.yielding.allowance_bytes_per_s < 60 * MIB
    link.run(10, others=80 * MIB)
    assert link.means(5)[0] >= 0.99 * 80 * MIB
    link.run(35, others=10 * MIB)
    assert link.yielding.allowance_bytes_per_s == 85 * MIB


def test_something_always_flows() -> None:
    link = SharedLink(Yielding(int(100 * MIB)), 100 * MIB)
    link.run(10, others=200 * MIB)
    assert link.yielding.allowance_bytes_per_s == ALLOWANCE_MIN_BYTES_PER_S


def test_the_rest_of_an_unknown_link_is_found() -> None:
    link = SharedLink(Yielding(), 100 * MIB)
    link.run(300, others=50 * MIB)
    others, used = link.means(200)
    assert others >= 0.97 * 50 * MIB
    assert used >= 0.7 * 50 * MIB


def test_others_that_want_all_of_an_unknown_link_get_nearly_all() -> None:
    link = SharedLink(Yielding(), 100 * MIB)
    link.run(300, others=100 * MIB)
    assert link.means(280)[0] >= 0.95 * 100 * MIB


def test_a_link_that_carries_less_than_is_said_is_found_out() -> None:
    link = SharedLink(Yielding(int(1000 * MIB), is_certain=False), 100 * MIB)
    link.run(300, others=50 * MIB)
    others, used = link.means(200)
    assert others >= 0.97 * 50 * MIB
    assert used >= 0.7 * 50 * MIB
    narrow = SharedLink(Yielding(int(100 * MIB), is_certain=False), 100 * MIB)
    narrow.run(300, others=60 * MIB)
    assert narrow.yielding.allowance_bytes_per_s <= 35 * MIB


def test_nothing_is_allowed_that_nobody_asks_for() -> None:
    link = SharedLink(Yielding(), 100 * MIB)
    link.appetite = MIB
    link.run(300, others=MIB)
    assert link.yielding.allowance_bytes_per_s <= 4 * MIB
