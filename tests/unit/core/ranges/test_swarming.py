"""Nodes that recover the same version together."""

from __future__ import annotations

from collections import defaultdict

from ckptd.core.effects import FetchRange
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.words import RangeOutcome
from tests.support.scheduling import A, B, C, Saved, Script, blocks, holding, holds, ranges, saved


def first_orders(script: Script, version: Saved, *others: BlockSet) -> list[FetchRange]:
    """Recover from A, which has everything, while other receivers have some blocks."""
    peers = zip((B, C), others, strict=False)
    partial = [holds(node, holding(version, held)) for node, held in peers]
    return ranges(script.start(version, A, *partial))


def test_alone_a_class_is_taken_in_order() -> None:
    [order] = first_orders(Script(seed=1), saved(64))
    assert order.blocks.start == 0


def test_receivers_begin_at_places_of_their_own() -> None:
    starts = {
        first_orders(Script(seed=seed), saved(64), BlockSet())[0].blocks.start for seed in range(20)
    }
    assert len(starts) > 10


def test_the_most_urgent_class_still_goes_first() -> None:
    for seed in range(20):
        version = saved(32, critical=[8], deferred=[32])
        script = Script(seed=seed)
        others = holds(B, holding(version, BlockSet()))
        [order] = ranges(script.start(version, A, others, verified=blocks((4, 8))))
        assert order.blocks.end <= 4


def test_who_has_everything_is_asked_for_what_no_other_receiver_has() -> None:
    for seed in range(20):
        spread = blocks((0, 20), (24, 64))
        orders = first_orders(Script(seed=seed), saved(64), spread)
        [asked] = [order.blocks for order in orders if order.source == A]
        assert BlockSet((asked,)).issubset(blocks((20, 24)))


def test_what_others_have_is_asked_of_the_source_too_when_nothing_else_is_left() -> None:
    script, version = Script(seed=3), saved(64)
    orders = first_orders(script, version, version.blocks - blocks((5, 6)))
    [asked] = [order for order in orders if order.source == A]
    assert asked.blocks == (5, 6)
    more = ranges(script.deliver(asked, after_ms=1))
    assert [order.source for order in more] == [A]


def test_a_receiver_is_asked_only_for_what_it_has() -> None:
    for seed in range(20):
        held = blocks((10, 20), (40, 45))
        orders = first_orders(Script(seed=seed), saved(64), held)
        [asked] = [order.blocks for order in orders if order.source == B]
        assert BlockSet((asked,)).issubset(held)


def test_a_receiver_is_asked_for_what_the_fewest_others_have() -> None:
    for seed in range(20):
        orders = first_orders(Script(seed=seed), saved(64), blocks((0, 40)), blocks((0, 36)))
        [asked] = [order.blocks for order in orders if order.source == B]
        assert BlockSet((asked,)).issubset(blocks((36, 40)))


def test_it_goes_on_where_it_began_at_who_has_everything() -> None:
    script, version = Script(seed=3), saved(64)
    [order] = first_orders(script, version, BlockSet())
    [following] = ranges(script.arrive(order, order.blocks.start + 1, after_ms=1))
    assert following.blocks.start == order.blocks.end


def test_receivers_that_began_at_one_place_part_where_they_meet_another_one() -> None:
    """Else they ask for the same blocks at the same moments to the end."""
    version, followings = saved(32), defaultdict(set)
    for seed in range(200):
        script = Script(seed=seed)
        [order] = first_orders(script, version, BlockSet())
        if order.blocks.end < 32:
            script.tell(holds(B, holding(version, blocks((order.blocks.end, 32)))))
            following = ranges(script.deliver(order, after_ms=1))
            starts = [asked.blocks.start for asked in following if asked.source == A]
            followings[order.blocks.start].update(starts)
    assert max(map(len, followings.values())) > 4


def asked_again(*, grows: bool) -> list[FetchRange]:
    """Let A deliver all that B does not have, B being fast; return what A is asked for then."""
    script, version = Script(seed=3), saved(64)
    most = version.blocks - blocks((5, 7))
    orders = first_orders(script, version, most)
    [asked] = [order for order in orders if order.source == A]
    [brought] = [order for order in orders if order.source == B]
    script.arrive(brought, brought.blocks.start + 1, after_ms=200)
    script.scheduler.inspect().peers[B].link.rate.bytes_per_s = 1000 * MIB
    script.recovery().swarm.total_rate_ns = 0
    if grows:
        script.tell(holds(B, holding(version, most | blocks((6, 7)))))
    return [order for order in ranges(script.deliver(asked, after_ms=1)) if order.source == A]


def test_what_other_receivers_bring_as_fast_is_left_to_them() -> None:
    assert not asked_again(grows=True)


def test_nothing_is_left_to_who_has_a_part_and_gets_no_more_of_it() -> None:
    assert asked_again(grows=False)


def test_who_has_everything_is_asked_again_when_other_receivers_bring_nothing() -> None:
    script, version = Script(seed=3), saved(64)
    orders = first_orders(script, version, version.blocks - blocks((5, 6)))
    [asked] = [order for order in orders if order.source == A]
    script.deliver(asked, after_ms=1)
    script.end_all(RangeOutcome.UNREACHABLE)
    script.wait(250)
    assert {order.source for order in script.in_flight} >= {A}
