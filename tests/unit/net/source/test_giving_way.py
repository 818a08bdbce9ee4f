"""Who gives way to whom, by a clock and counters that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ckptd.limits import KIB, MIB, MS
from ckptd.model.words import Urgency
from ckptd.net.source.giving_way import GivingWay
from ckptd.net.throttle import Throttle
from ckptd.traffic.allowance import ALLOWANCE_MIN_BYTES_PER_S, Yielding
from ckptd.traffic.buckets import Flow

CRITICAL, NORMAL, DEFERRED = Urgency.CRITICAL, Urgency.NORMAL, Urgency.DEFERRED


class Sender:
    def __init__(self) -> None:
        self.taken_bytes = 0


class Stage:
    """What a node sends, and what its classes may use."""

    def __init__(self) -> None:
        self.now = 0
        self.throttle = Throttle(clock=lambda: self.now)
        self.giving_way = GivingWay(self.throttle, clock=lambda: self.now)

    def may_send(self, urgency: Urgency) -> int:
        """Return how much of a mebibyte a class may send at once."""
        is_over = iter([False, True])
        return self.throttle.take(Flow(urgency, "a"), MIB, unless=lambda: next(is_over, True))

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.now += 50 * MS
            await asyncio.sleep(0.005)


async def test_one_class_alone_gives_way_to_nobody() -> None:
    stage = Stage()
    with (
        stage.giving_way.sending(Sender(), DEFERRED),
        stage.giving_way.sending(Sender(), DEFERRED),
    ):
        assert not stage.throttle.is_limiting


async def test_a_more_urgent_body_leaves_next_to_nothing_to_others_at_once() -> None:
    stage = Stage()
    with stage.giving_way.sending(Sender(), DEFERRED):
        with stage.giving_way.sending(Sender(), NORMAL):
            assert stage.may_send(NORMAL) == MIB
            assert stage.may_send(DEFERRED) <= ALLOWANCE_MIN_BYTES_PER_S // 100
            with stage.giving_way.sending(Sender(), CRITICAL):
                assert stage.may_send(CRITICAL) == MIB
                assert stage.may_send(NORMAL) <= ALLOWANCE_MIN_BYTES_PER_S // 100
        await stage.until(lambda: not stage.throttle.is_limiting)


async def test_others_get_what_a_body_leaves_that_is_held_up_elsewhere() -> None:
    """The urgent one gets 1 MiB in 50 ms whatever the other one sends."""
    stage, urgent, other = Stage(), Sender(), Sender()
    with (
        stage.giving_way.sending(urgent, CRITICAL),
        stage.giving_way.sending(other, DEFERRED),
    ):

        def has_a_piece_of_a_megabyte() -> bool:
            urgent.taken_bytes += MIB
            granted = stage.may_send(DEFERRED)
            other.taken_bytes += 200 * granted
            return granted >= MIB // 4

        await stage.until(has_a_piece_of_a_megabyte)


def rate(stage: Stage) -> int:
    """Return what those who give way may use now, as the throttle knows it."""
    ((since, bucket),) = stage.throttle._shaper._allowances.values()
    assert since is Urgency.NORMAL
    return bucket.rate_bytes_per_s


async def test_the_allowance_follows_what_each_side_gets() -> None:
    """Of three classes the two less urgent ones give way together."""
    stage, twin = Stage(), Yielding()
    urgent, normal, deferred = Sender(), Sender(), Sender()
    urgent.taken_bytes = 50 * MIB  # of before
    with (
        stage.giving_way.sending(urgent, CRITICAL),
        stage.giving_way.sending(normal, NORMAL),
        stage.giving_way.sending(deferred, DEFERRED),
    ):
        for step in range(40):
            stage.now += 50 * MS
            urgent.taken_bytes += 5 * MIB if step != 30 else MIB
            normal.taken_bytes += twin.allowance_bytes_per_s // 40
            deferred.taken_bytes += twin.allowance_bytes_per_s // 40
            used = 2 * (twin.allowance_bytes_per_s // 40)
            stage.giving_way._look()
            others = 5 * MIB if step != 30 else MIB
            twin.observe(others * 20, used * 20, now=stage.now)
            assert rate(stage) == twin.allowance_bytes_per_s
    assert twin.allowance_bytes_per_s > 64 * KIB


async def test_what_was_taken_before_anybody_gave_way_does_not_count() -> None:
    stage, twin = Stage(), Yielding()
    urgent, other = Sender(), Sender()
    with stage.giving_way.sending(urgent, CRITICAL):
        urgent.taken_bytes += 50 * MIB
        with stage.giving_way.sending(other, NORMAL):
            for _ in range(10):
                stage.now += 50 * MS
                urgent.taken_bytes += 5 * MIB
                used_bytes = twin.allowance_bytes_per_s // 20
                other.taken_bytes += used_bytes
                stage.giving_way._look()
                twin.observe(5 * MIB * 20, used_bytes * 20, now=stage.now)
                assert rate(stage) == twin.allowance_bytes_per_s


async def test_a_look_that_comes_when_nobody_gives_way_any_more_allows_nothing() -> None:
    stage, sender = Stage(), Sender()
    with stage.giving_way.sending(Sender(), NORMAL):
        with stage.giving_way.sending(sender, CRITICAL):
            assert is_limiting(stage)
        with stage.giving_way.sending(sender, NORMAL):
            assert not is_limiting(stage)
            stage.now += 50 * MS
            stage.giving_way._look()
            assert not is_limiting(stage)


async def test_a_look_without_time_between_changes_nothing() -> None:
    stage = Stage()
    with stage.giving_way.sending(Sender(), CRITICAL), stage.giving_way.sending(Sender(), NORMAL):
        stage.now += 50 * MS
        stage.giving_way._look()
        before = rate(stage)
        stage.giving_way._look()
        assert rate(stage) == before


async def test_what_less_was_taken_than_before_is_nothing() -> None:
    """A connection that was closed says that everything was taken; a number may go back."""
    stage, sender = Stage(), Sender()
    sender.taken_bytes = MIB
    with stage.giving_way.sending(sender, CRITICAL):
        sender.taken_bytes = 0
        assert stage.giving_way._measure()[CRITICAL] == 0
        sender.taken_bytes = 10
        assert stage.giving_way._measure() == {**dict.fromkeys(Urgency, 0), CRITICAL: 10}


async def test_a_connection_without_a_body_is_forgotten_at_once_if_nobody_waits() -> None:
    stage, sender = Stage(), Sender()
    stage.now = 1
    with stage.giving_way.sending(sender, CRITICAL):
        with stage.giving_way.sending(sender, CRITICAL):
            pass
        assert stage.giving_way._meters
    assert not stage.giving_way._meters


def is_limiting(stage: Stage) -> bool:
    return stage.throttle.is_limiting


async def test_who_waits_does_so_a_moment_longer_for_the_next_request() -> None:
    stage, urgent = Stage(), Sender()
    with stage.giving_way.sending(Sender(), NORMAL):
        with stage.giving_way.sending(urgent, CRITICAL):
            stage.now += 50 * MS
        stage.now += 99 * MS
        stage.giving_way._look()
        assert is_limiting(stage)
        stage.now += 1 * MS
        stage.giving_way._look()
        assert not is_limiting(stage)
        (meter,) = stage.giving_way._meters.values()
        assert meter.urgency == NORMAL


async def test_a_connection_counts_with_the_class_of_its_last_body() -> None:
    stage, sender = Stage(), Sender()
    with stage.giving_way.sending(Sender(), NORMAL):
        with stage.giving_way.sending(sender, CRITICAL):
            assert is_limiting(stage)
        with stage.giving_way.sending(sender, NORMAL):
            stage.giving_way._judge()
            assert not is_limiting(stage)


async def test_it_is_looked_at_now_and_then_as_long_as_somebody_gives_way() -> None:
    stage = Stage()
    loop = asyncio.get_running_loop()
    before_s = loop.time()
    with stage.giving_way.sending(Sender(), CRITICAL), stage.giving_way.sending(Sender(), NORMAL):
        timer = stage.giving_way._next_look
        assert timer is not None
        assert before_s + 0.049 < timer.when() < loop.time() + 0.051
        with stage.giving_way.sending(Sender(), NORMAL):
            assert stage.giving_way._next_look is timer
