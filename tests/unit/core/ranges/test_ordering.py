"""Which ranges are ordered, and when."""

from __future__ import annotations

from ckptd.core.events import RangeProgressed
from ckptd.limits import MIB
from tests.support.scheduling import NO_COMMITS, A, Script, fetch, ranges, saved, whom


def test_a_second_range_follows_on_a_lane_only_when_the_first_one_brings_something() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.wait(20) == []
    # Half a block is enough.
    half = RangeProgressed(order.transfer, MIB // 2, order.blocks.start)
    assert script.tell(half) == [fetch(version, 2, A, (4, 8), lane=1)]
    assert script.arrive(order, 2) == [], "and no third one"


def test_a_slow_source_gets_its_second_range_when_two_seconds_of_work_are_left() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.arrive(order, 1, after_ms=950) == []
    assert whom(script.arrive(order, 2, after_ms=450)) != [], "2 MiB at 1.05 MiB/s"
