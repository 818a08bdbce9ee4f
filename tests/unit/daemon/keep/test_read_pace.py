import threading

import pytest

from ckptd.daemon.keep.read_pace import ReadPace


class Clock:
    """Seconds that go on only while somebody waits, or when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, timeout: float) -> bool:
        self.waits_s.append(round(timeout, 6))
        self.now_s += timeout
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ReadPace:
    stopped = threading.Event()
    monkeypatch.setattr(stopped, "wait", clock.wait)
    return ReadPace(1000, stopped, clock=clock)


def test_reading_takes_as_long_as_the_rate_says(pace: ReadPace, clock: Clock) -> None:
    for size in (500, 250, 2000, 0):
        pace(size)
    assert clock.waits_s == [0.5, 0.25, 2.0]


def test_the_time_of_reading_itself_counts(pace: ReadPace, clock: Clock) -> None:
    clock.now_s += 0.25
    pace(500)
    clock.now_s += 0.5
    pace(500)
    assert clock.waits_s == [0.25]


def test_what_was_not_read_in_time_is_caught_up_with_for_a_second(
    pace: ReadPace, clock: Clock
) -> None:
    clock.now_s += 60
    pace(1000)
    assert clock.waits_s == []
    pace(1000)
    assert clock.waits_s == [1.0]


def test_a_wait_ends_when_nobody_wants_the_bytes_any_more() -> None:
    stopped = threading.Event()
    stopped.set()
    ReadPace(1, stopped)(10**9)
