"""A limit on what may come: asked for is what will be here soon, and nobody is blamed for it."""

from __future__ import annotations

from ckptd.core.effects import CloseLane
from ckptd.core.events import IngressLimited, RangeProgressed
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.limits import KIB, MIB
from ckptd.model.words import Bottleneck, CloseReason
from tests.support.scheduling import NO_COMMITS, A, B, C, R, Script, ranges, saved, whom


def test_no_more_is_in_flight_than_comes_in_a_second() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    script.tell(IngressLimited(4 * MIB))
    orders = ranges(script.start(version, A, B, C))
    for _ in range(20):
        assert sum(
            known.work.owed_bytes for known in script.scheduler.inspect().recoveries.values()
        ) <= (4 * MIB)
        if orders:
            script.deliver(orders.pop(0), after_ms=250)
        orders = list(script.in_flight)
    assert script.recovery().tally.received_bytes == 20 * MIB


def test_one_range_is_asked_for_however_low_the_limit() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(IngressLimited(128 * KIB))
    assert whom(script.start(saved(8), A, B)) == [(A, (0, 1))]


def test_every_source_is_looked_at_again_when_less_is_in_flight() -> None:
    """A has sent what was asked of it, and B gets the next range although nothing came of B."""
    script = Script(options=NO_COMMITS)
    script.tell(IngressLimited(1 * MIB))
    [first] = ranges(script.start(saved(8), A, B))
    assert len(whom(script.deliver(first, after_ms=1000))) == 1


def test_a_limit_that_is_lifted_lets_all_sources_work_at_once() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(IngressLimited(1 * MIB))
    assert len(whom(script.start(saved(64), A, B, C))) == 1
    assert len(whom(script.tell(IngressLimited(None)))) == 2


def test_a_lane_that_is_held_back_here_is_not_late() -> None:
    script = Script(options=NO_COMMITS)
    [order] = ranges(script.start(saved(64), A))
    script.arrive(order, 1, after_ms=100)
    for _ in range(10):
        script.now_ms += 300
        held = RangeProgressed(order.transfer, MIB, order.blocks.start + 1, is_held_back=True)
        assert CloseLane not in map(type, script.tell(held))
    assert script.view_source(A).trust == 0
    script.wait(2000)
    assert script.lane(A).closing is CloseReason.SILENT, "once nobody says so any more"


def test_what_waits_for_a_limit_is_bound_by_it() -> None:
    script = Script(options=NO_COMMITS)
    script.start(saved(64), A)
    load = LocalLoad(shaper_share=0.5, disk_share=0.5)
    assert script.scheduler.bottleneck(R, load, now=script.now) is Bottleneck.SHAPER
