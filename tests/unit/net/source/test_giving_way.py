"""Who gives way to whom, by a clock and counters that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ckptd.limits import MIB, MS
from ckptd.model.words import Urgency
from ckptd.net.source.giving_way import GivingWay
from ckptd.net.throttle import Throttle
from ckptd.traffic.allowance import ALLOWANCE_MIN_BYTES_PER_S
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
