"""What lanes do with their time, by clocks that stand still until they are told."""

from __future__ import annotations

from ckptd.limits import MS, SECOND
from ckptd.store.staging.lane_times import LaneTimes


class Clocks:
    """The clocks of one lane's thread."""

    def __init__(self) -> None:
        self.wall_ns = 1000 * SECOND
        self.cpu_ns = 0
        self.cpu_readings = 0
        self.times = LaneTimes(lambda: self.wall_ns, self._read_cpu)

    def _read_cpu(self) -> int:
        self.cpu_readings += 1
        return self.cpu_ns

    def pass_ms(self, wall_ms: int, cpu_ms: int = 0) -> None:
        self.wall_ns += wall_ms * MS
        self.cpu_ns += cpu_ms * MS

    def deliver(
        self, *, waiting_ms: int = 0, verifying_ms: int = 0, writing_ms: int = 0, cpu_ms: int = 0
    ) -> None:
        """Deal with a group of blocks; ``cpu_ms`` is what writing takes of a processor."""
        sample = self.times.begin()
        self.pass_ms(waiting_ms)
        if sample is not None:
            sample.admit()
        self.pass_ms(verifying_ms, verifying_ms)
        if sample is not None:
            sample.begin_writing()
        self.pass_ms(writing_ms, cpu_ms)
        if sample is not None:
            sample.end_writing()
        self.times.end(sample)


def test_lanes_that_delivered_nothing_do_nothing() -> None:
    assert Clocks().times.shares() == (0.0, 0.0)


def test_waiting_for_a_commit_and_for_a_write_is_the_disk_and_the_rest_is_computing() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=50, verifying_ms=20, writing_ms=30, cpu_ms=5)
    assert clocks.times.shares() == (0.75, 0.25)


def test_time_between_groups_is_waiting_for_bytes_but_for_what_receiving_costs() -> None:
    clocks = Clocks()
    clocks.deliver(verifying_ms=100)
    clocks.pass_ms(800, cpu_ms=200)
    clocks.deliver(verifying_ms=100)
    assert clocks.times.shares() == (0.0, 0.4)


def test_of_many_short_groups_few_are_looked_at_and_those_tell_the_shares() -> None:
    clocks = Clocks()
    for _ in range(900):
        clocks.deliver(waiting_ms=1)
        clocks.pass_ms(1)
    assert clocks.cpu_readings < 900  # around each group there would be five
    disk_share, cpu_share = clocks.times.shares()
    assert 0.4 < disk_share < 0.6
    assert cpu_share == 0.0


def test_a_lane_that_waits_for_a_processor_computes() -> None:
    clocks = Clocks()
    sample = clocks.times.begin()
    clocks.pass_ms(100, cpu_ms=10)
    clocks.times.end(sample)
    assert clocks.times.shares() == (0.0, 1.0)


def test_shares_are_of_the_last_whole_second_and_forgotten_after_another() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=100)
    clocks.pass_ms(1000)
    clocks.deliver(verifying_ms=1)
    assert clocks.times.shares() == (1.0, 0.0)
    clocks.pass_ms(5000)
    assert clocks.times.shares() == (0.0, 0.0)


def test_a_window_ends_exactly_after_a_second() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=100)  # its end begins a window
    clocks.pass_ms(999)
    clocks.deliver()
    assert clocks.times.shares() == (100 / 1099, 0.0)
    clocks = Clocks()
    clocks.deliver(waiting_ms=100)
    clocks.pass_ms(1000)
    clocks.deliver()
    assert clocks.times.shares() == (1.0, 0.0)


def test_what_is_two_windows_old_is_forgotten_exactly_then() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=100)
    clocks.pass_ms(1999)
    assert clocks.times.shares() == (1.0, 0.0)
    clocks = Clocks()
    clocks.deliver(waiting_ms=100)
    clocks.pass_ms(2000)
    assert clocks.times.shares() == (0.0, 0.0)


def test_a_lane_is_sampled_again_exactly_when_that_is_due() -> None:
    clocks = Clocks()
    clocks.deliver(verifying_ms=100)
    assert clocks.times.begin() is not None
    clocks = Clocks()
    clocks.deliver(verifying_ms=99)
    for passed_ms in (0, 99):
        clocks.pass_ms(passed_ms)
        clocks.times.end(None)
        assert clocks.times.begin() is None
    clocks.pass_ms(1)
    assert clocks.times.begin() is None, "a group that began before is not sampled"
    clocks.times.end(None)
    assert clocks.times.begin() is not None


def test_a_write_that_computes_longer_than_it_lasts_waited_for_nothing() -> None:
    clocks = Clocks()
    clocks.deliver(waiting_ms=10, writing_ms=10, cpu_ms=40)
    assert clocks.times.shares() == (0.5, 1.0)


def test_the_disk_takes_no_more_than_all_of_the_time() -> None:
    clocks = Clocks()
    sample = clocks.times.begin()
    assert sample is not None
    clocks.pass_ms(10)
    sample.admit()
    sample.begin_writing()
    clocks.pass_ms(10)
    sample.end_writing()
    clocks.times.end(sample)
    assert clocks.times.shares() == (1.0, 0.0)
