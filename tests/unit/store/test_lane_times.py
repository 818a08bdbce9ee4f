"""What lanes do with their time, by clocks that stand still until they are told."""

from __future__ import annotations

from ckptd.limits import MS, SECOND
from ckptd.store.lane_times import LaneTimes


class Clocks:
    """The clocks of one lane's thread."""

    def __init__(self) -> None:
        self.wall_ns = 1000 * SECOND
        self.cpu_ns = 0
        self.times = LaneTimes(lambda: self.wall_ns, lambda: self.cpu_ns)

    def pass_ms(self, wall_ms: int, cpu_ms: int = 0) -> None:
        self.wall_ns += wall_ms * MS
        self.cpu_ns += cpu_ms * MS

    def deliver(
        self, *, waiting_ms: int = 0, verifying_ms: int = 0, writing_ms: int = 0, cpu_ms: int = 0
    ) -> None:
        """Deal with a group of blocks; ``cpu_ms`` is what writing takes of a processor."""
        began = (self.wall_ns, self.cpu_ns)
        self.pass_ms(waiting_ms)
        admitted_ns = self.wall_ns
        self.pass_ms(verifying_ms, verifying_ms)
        self.pass_ms(writing_ms, cpu_ms)
        wrote = (writing_ms * MS, cpu_ms * MS)
        self.times.note(began=began, admitted_ns=admitted_ns, wrote=wrote)


def test_lanes_that_delivered_nothing_do_nothing() -> None:
    assert Clocks().times.shares() == (0.0, 0.0)


def test_waiting_for_a_commit_and_for_a_write_is_the_disk_and_the_rest_is_computing() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=50, verifying_ms=20, writing_ms=30, cpu_ms=5)
    assert clocks.times.shares() == (0.75, 0.25)


def test_time_between_groups_is_waiting_for_bytes_but_for_what_receiving_costs() -> None:
    clocks = Clocks()
    clocks.deliver(verifying_ms=10)
    clocks.pass_ms(80, cpu_ms=20)
    clocks.deliver(verifying_ms=10)
    assert clocks.times.shares() == (0.0, 0.4)


def test_a_lane_that_waits_for_a_processor_computes() -> None:
    clocks = Clocks()
    began = (clocks.wall_ns, clocks.cpu_ns)
    clocks.pass_ms(100, cpu_ms=10)
    clocks.times.note(began=began, admitted_ns=began[0], wrote=(0, 0))
    assert clocks.times.shares() == (0.0, 1.0)


def test_shares_are_of_the_last_whole_second_and_forgotten_after_another() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=100)
    clocks.pass_ms(1000)
    clocks.deliver(verifying_ms=1)
    assert clocks.times.shares() == (1.0, 0.0)
    clocks.pass_ms(5000)
    assert clocks.times.shares() == (0.0, 0.0)
