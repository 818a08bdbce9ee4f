"""Threads that wait for leave, by a clock that the test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ckptd.limits import MIB, MS, SECOND
from ckptd.model.words import Direction, Urgency
from ckptd.net import throttle
from ckptd.net.throttle import (
    RECHECK_NS,
    SEND_TRICKLE_BYTES,
    TAKE_TRICKLE_BYTES,
    Throttle,
    Throttles,
    _Queue,
)
from ckptd.traffic import buckets
from ckptd.traffic.buckets import Ceilings, Flow

NORMAL, CRITICAL = Flow(Urgency.NORMAL, "a"), Flow(Urgency.CRITICAL, "b")
PIECE = MIB // 100


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Stage:
    """A throttle, and threads that ask it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.throttle = Throttle(clock=self.clock)
        self.threads = ThreadPoolExecutor(8)

    def take(self, flow: Flow, *, unless: Callable[[], bool] = lambda: False) -> Future[int]:
        """Let a thread ask for a mebibyte, and wait until it has or has been granted some."""
        asked = threading.Event()

        def ask() -> int:
            asked.set()
            return self.throttle.take(flow, MIB, unless=unless)

        future = self.threads.submit(ask)
        asked.wait()
        return future

    def empty(self) -> None:
        """Take what a limit of 1 MiB/s leaves after a pause."""
        self.throttle.change(Ceilings(total=MIB))
        for _ in range(2):
            assert self.throttle.take(NORMAL, MIB, unless=lambda: False) == PIECE

    def block(self) -> None:
        """Take all that a limit of a byte a second leaves for minutes."""
        self.throttle.change(Ceilings(total=1))
        assert self.throttle.take(NORMAL, MIB, unless=lambda: False) == 512

    def until_somebody_waits(self) -> None:
        while not self.throttle._wakes:
            time.sleep(0)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_limit_grants_a_piece_at_once_and_the_next_when_its_time_has_come(stage: Stage) -> None:
    stage.empty()
    waiting = stage.take(NORMAL)
    stage.clock.now += 10 * MS
    assert waiting.result() == PIECE
    assert stage.throttle.moved_bytes[Urgency.NORMAL] == 3 * PIECE


def test_a_limit_that_is_lifted_lets_everybody_go(stage: Stage) -> None:
    stage.empty()
    waiting = [stage.take(NORMAL) for _ in range(5)]
    stage.throttle.change(Ceilings())
    assert [each.result() for each in waiting] == [MIB] * 5
    assert not stage.throttle.is_limiting


def test_who_is_not_wanted_any_more_goes_with_nothing(stage: Stage) -> None:
    stage.empty()
    is_unwanted = threading.Event()
    waiting, other = stage.take(NORMAL, unless=is_unwanted.is_set), stage.take(NORMAL)
    is_unwanted.set()
    stage.clock.now += 60 * MS  # two bursts: one is lost
    granted = {waiting.result(), other.result()}
    assert granted <= {0, PIECE}
    assert other.result() == PIECE


def test_what_was_granted_and_did_not_move_is_there_for_others(stage: Stage) -> None:
    stage.empty()
    waiting = stage.take(NORMAL)
    stage.throttle.give_back(NORMAL, PIECE)
    assert waiting.result() == PIECE
    assert stage.throttle.moved_bytes[Urgency.NORMAL] == 2 * PIECE


def test_classes_that_give_way_wait_for_their_allowance(stage: Stage) -> None:
    stage.throttle.allow("eth0", Urgency.NORMAL, MIB)
    assert stage.throttle.is_limiting
    assert stage.throttle.take(CRITICAL, MIB, unless=lambda: False) == MIB
    assert stage.throttle.take(NORMAL, MIB, unless=lambda: False) == PIECE
    assert stage.throttle.limit_of(NORMAL) is None, "it is no limit that anybody set"
    stage.throttle.allow("eth0", Urgency.NORMAL, None)
    assert not stage.throttle.is_limiting


def test_it_is_known_for_how_long_each_class_waited(stage: Stage) -> None:
    stage.clock.now = 10 * SECOND
    stage.empty()
    stop = threading.Event()
    waiting = stage.take(NORMAL, unless=stop.is_set)
    while not stage.throttle.share(Urgency.NORMAL):
        stage.clock.now += 1
    stage.clock.now += 5 * MS
    assert 0.005 <= stage.throttle.throttled_s()[Urgency.NORMAL] < 0.01
    assert stage.throttle.throttled_s()[Urgency.CRITICAL] == 0
    stage.clock.now += 5 * MS
    waiting.result()
    assert stage.throttle.share(Urgency.CRITICAL) == 0


def test_who_is_not_wanted_any_more_leaves_the_queue(stage: Stage) -> None:
    stage.block()
    waiting = stage.take(NORMAL, unless=lambda: True)
    stage.until_somebody_waits()
    stage.clock.now += RECHECK_NS - MS
    assert waiting.result() == 0
    assert not stage.throttle._shaper.waiting
    assert not stage.throttle._wakes
    assert stage.throttle.moved_bytes[Urgency.NORMAL] == 512
    for _ in range(2):
        assert stage.throttle.throttled_s()[Urgency.NORMAL] == (RECHECK_NS - MS) / SECOND
        stage.clock.now += SECOND


def test_who_waits_is_not_asked_whether_it_still_should_before_its_time(stage: Stage) -> None:
    stage.clock.now = SECOND
    stage.block()
    asked = threading.Event()

    def unless() -> bool:
        asked.set()
        return True

    waiting = stage.take(NORMAL, unless=unless)
    stage.until_somebody_waits()
    stage.clock.now += RECHECK_NS - MS - 1
    stage.throttle.change(Ceilings(total=1))  # wakes it
    assert not asked.wait(0.01)
    stage.clock.now += 1
    assert waiting.result() == 0


def test_who_is_granted_something_while_it_is_asked_has_it(stage: Stage) -> None:
    stage.block()

    def unless() -> bool:
        stage.throttle.change(Ceilings())  # it must not be asked with the lock held
        return True

    waiting = stage.take(NORMAL, unless=unless)
    stage.until_somebody_waits()
    stage.clock.now += RECHECK_NS
    assert waiting.result() == MIB


def test_who_is_still_wanted_goes_on_waiting(stage: Stage) -> None:
    stage.block()
    asked = threading.Event()

    def unless() -> bool:
        asked.set()
        return False

    waiting = stage.take(NORMAL, unless=unless)
    stage.until_somebody_waits()
    stage.clock.now += RECHECK_NS
    assert asked.wait(60)
    stage.throttle.change(Ceilings())
    assert waiting.result() == MIB


def test_who_was_granted_something_is_not_asked_whether_it_is_wanted(stage: Stage) -> None:
    asked = threading.Event()

    def unless() -> bool:
        asked.set()
        return False

    stage.empty()
    waiting = stage.take(NORMAL, unless=unless)
    stage.until_somebody_waits()
    stage.clock.now += RECHECK_NS
    assert waiting.result() == PIECE
    assert not asked.is_set()


@pytest.mark.parametrize("is_soon", [True, False])
def test_the_watcher_sleeps_until_the_next_piece_or_the_next_check(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, is_soon: bool
) -> None:
    sleeps_s: list[float | None] = []

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            sleeps_s.append(timeout)
            return super().wait(timeout)

    monkeypatch.setattr(throttle, "threading", SimpleNamespace(Condition=Condition))
    if is_soon:
        stage.empty()
    else:
        stage.block()
    waiting = stage.take(NORMAL)
    stage.until_somebody_waits()
    stage.throttle.change(Ceilings())
    assert waiting.result() == MIB
    assert sleeps_s[0] == (pytest.approx(0.005, abs=0.0001) if is_soon else RECHECK_NS / SECOND)


@pytest.fixture
def patient_stage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage on which nobody looks again by itself while the test runs."""
    monkeypatch.setattr(throttle, "RECHECK_NS", 3600 * SECOND)
    monkeypatch.setattr(buckets, "TRICKLE_NS", 3600 * SECOND)
    return stage


def test_a_limit_that_is_lifted_wakes_everybody_at_once(patient_stage: Stage) -> None:
    patient_stage.block()
    waiting = [patient_stage.take(NORMAL) for _ in range(3)]
    while len(patient_stage.throttle._wakes) < 3:
        time.sleep(0)
    patient_stage.throttle.change(Ceilings())
    assert [each.result(60) for each in waiting] == [MIB] * 3


def test_a_limit_that_is_raised_wakes_the_watcher_to_sleep_less(patient_stage: Stage) -> None:
    patient_stage.block()
    waiting = patient_stage.take(NORMAL)
    patient_stage.until_somebody_waits()
    patient_stage.throttle.change(Ceilings(total=MIB))
    patient_stage.clock.now += SECOND
    assert waiting.result(60) == PIECE


def test_a_watcher_that_goes_hands_the_watch_on(patient_stage: Stage) -> None:
    patient_stage.block()
    first = patient_stage.take(NORMAL)
    patient_stage.until_somebody_waits()
    watcher = patient_stage.take(CRITICAL)
    while len(patient_stage.throttle._wakes) < 2:
        time.sleep(0)
    patient_stage.throttle.change(Ceilings(total=MIB))
    watching = patient_stage.throttle._watcher
    assert watching is not None
    assert watching.flow == CRITICAL, "who came last still watches"
    patient_stage.clock.now += 10 * MS
    assert watcher.result(60) == PIECE
    patient_stage.clock.now += SECOND
    assert first.result(60) == PIECE
    assert patient_stage.throttle._watcher is None


def test_the_share_of_waiting_is_of_the_last_second_or_two() -> None:
    queue = _Queue()
    assert queue.share(now=0) == 0
    queue.change(1, now=10 * SECOND)
    assert queue.share(now=10 * SECOND) == 0
    assert queue.share(now=11 * SECOND - 1) == pytest.approx(1 / 11, rel=1e-6)
    assert queue.share(now=11 * SECOND) == 1
    assert queue.share(now=11 * SECOND + 500 * MS) == 1
    queue.change(1, now=12 * SECOND)
    queue.change(-1, now=12 * SECOND)
    queue.change(-1, now=12 * SECOND)
    assert queue.share(now=12 * SECOND + 500 * MS) == pytest.approx(1 / 1.5)
    assert queue.share(now=13 * SECOND) == 0
    assert queue.total_ns(now=20 * SECOND) == 2 * SECOND


def test_each_direction_has_its_throttle_and_its_trickle() -> None:
    throttles = Throttles.create()
    assert throttles.by_direction() == {
        Direction.INGRESS: throttles.ingress,
        Direction.EGRESS: throttles.egress,
        Direction.DISK_WRITE: throttles.disk_write,
    }
    trickles = [throttle._shaper._trickle_bytes for throttle in throttles]
    assert trickles == [TAKE_TRICKLE_BYTES, SEND_TRICKLE_BYTES, TAKE_TRICKLE_BYTES]


def test_nothing_is_limited_before_anybody_said_so() -> None:
    throttle = Throttle()
    assert not throttle.is_limiting
    assert throttle.take(NORMAL, MIB, unless=lambda: False) == MIB
    throttle.give_back(NORMAL, 1)
    assert throttle.moved_bytes[Urgency.NORMAL] == MIB - 1
