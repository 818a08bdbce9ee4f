"""Work that slow sources hold while others have none left."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, Effect, FetchRange
from ckptd.core.events import RangeProgressed
from ckptd.core.options import Options
from ckptd.core.ranges.picker import cut, find_offer, is_detour
from ckptd.core.state.offer import Offer
from ckptd.limits import KIB, MIB, SECOND
from ckptd.model.words import CloseReason, RangeOutcome
from tests.support.scheduling import (
    NO_COMMITS,
    A,
    B,
    Saved,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    saved,
)

LONG_RANGES = adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB})
"""Of eight blocks the first source is given four, and the second one the others."""


def stolen(effects: list[Effect]) -> list[CloseLane]:
    closings = [effect for effect in effects if isinstance(effect, CloseLane)]
    return [closing for closing in closings if closing.reason is CloseReason.STOLEN]


def near_the_end(script: Script, version: Saved, slow_rate: int, fast_rate: int) -> FetchRange:
    """Let both sources show their rates (bytes/s); leave only what the slow one still owes."""
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    for node, rate in ((A, slow_rate), (B, fast_rate)):
        link = script.scheduler.inspect().peers[node].link
        link.rate.bytes_per_s = link.rate.latest_bytes_per_s = rate
    owed = orders[A]
    script.arrive(owed, owed.blocks.start + 1, after_ms=1)
    return owed


def finish_others(script: Script, owed: FetchRange) -> list[Effect]:
    """Deliver everything but one range; return the orders."""
    effects: list[Effect] = []
    while others := [order for order in script.in_flight if order.source != owed.source]:
        effects += script.deliver(others[0], after_ms=1)
    return effects


def test_an_idle_source_takes_over_what_a_slow_one_would_need_long_for() -> None:
    script, version = Script(options=LONG_RANGES), saved(8)
    owed = near_the_end(script, version, slow_rate=MIB, fast_rate=100 * MIB)
    [closing] = stolen(finish_others(script, owed))
    assert closing.source == A
    left = [order for order in script.in_flight if order.source == A]
    effects = [effect for order in left for effect in script.end(order, RangeOutcome.CLOSED)]
    [taken_over] = [order for order in ranges(effects) if order.source == B]
    assert taken_over.blocks.start == owed.blocks.start + 1  # what was verified is not lost


def test_who_work_was_taken_from_is_not_given_some_of_it_again() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    owed = near_the_end(script, version, slow_rate=10 * MIB, fast_rate=100 * MIB)
    received = MIB
    for _ in range(3):  # the estimate is at 6 MiB/s then, and a tenth of that comes
        received += 64 * KIB
        progress = RangeProgressed(owed.transfer, received, owed.blocks.start + 1)
        script.tell(progress, after_ms=100)
    [closing] = stolen(finish_others(script, owed))
    assert closing.source == A

    left = [order for order in script.in_flight if order.source == A]
    effects = [effect for order in left for effect in script.end(order, RangeOutcome.CLOSED)]
    assert {order.source for order in ranges(effects)} == {B}


def test_nothing_is_stolen_for_a_small_difference() -> None:
    script, version = Script(options=LONG_RANGES), saved(8)
    owed = near_the_end(script, version, slow_rate=2 * MIB, fast_rate=6 * MIB)
    assert stolen(finish_others(script, owed)) == []


def test_nothing_is_stolen_that_is_nearly_here() -> None:
    script, version = Script(options=LONG_RANGES), saved(8)
    owed = near_the_end(script, version, slow_rate=20 * MIB, fast_rate=1000 * MIB)
    script.arrive(owed, owed.blocks.end - 1, after_ms=1)
    assert stolen(finish_others(script, owed)) == []


def test_a_source_steals_only_what_it_has() -> None:
    script, version = Script(options=LONG_RANGES), saved(8)
    owed = near_the_end(script, version, slow_rate=MIB, fast_rate=100 * MIB)
    script.tell(holds(B, holding(version, blocks((4, 8)))))
    assert owed.blocks.end <= 4
    assert stolen(finish_others(script, owed)) == []


def offer_of(script: Script, version: Saved, rate: int, left: int) -> Offer:
    """Let one of two sources offer a range of a recovery of which so many blocks are left."""
    script.start(version, A, B)
    recovery = script.recovery()
    recovery.coverage.unclaimed = blocks((64 - left, 64))
    recovery.work.owed_bytes = 0
    recovery.work.lanes.clear()
    recovery.work.bundles.clear()
    peer = script.scheduler.inspect().peers[A]
    peer.link.rate.bytes_per_s = rate
    peer.link.outstanding_bytes = 0
    script.scheduler.inspect().peers[B].link.rate.bytes_per_s = 100 * MIB
    recovery.swarm.total_rate = rate + 100 * MIB
    offer = find_offer(recovery, peer, Options(), now=script.now)
    assert offer is not None
    return offer


@pytest.mark.parametrize(
    ("rate", "left", "expected"),
    [
        (MIB, 64, False),  # 1 s for a block, while the rest takes 0.6 s
        (MIB, 8, True),
        (90 * MIB, 8, False),
        (0, 8, False),  # who is not known gets a chance
    ],
)
def test_a_source_that_would_hold_up_the_end_is_passed_over(
    rate: int, left: int, expected: bool
) -> None:
    script = Script()
    offer = offer_of(script, saved(64), rate, left)
    peers = script.scheduler.inspect().peers
    run = cut(offer.recovery, offer.run, offer.peer, Options())

    def is_passed_over() -> bool:
        others = peers.values()
        return is_detour(offer.recovery, offer.peer, run, others, Options(), now=script.now)

    assert is_passed_over() is expected
    peers[B].link.usable_at_ns = script.now + SECOND
    assert not is_passed_over(), "the other one rests"
    peers[B].link.usable_at_ns = 0
    peers[B].holdings.clear()
    assert not is_passed_over(), "nobody else has it"
