"""Trials of one lane more: what ends them, and what a lane that fails means for its source."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, Effect, FetchRange
from ckptd.core.events import RangeEnded, RangeProgressed
from ckptd.core.options import Options
from ckptd.limits import MIB, MS
from ckptd.model.ids import LaneId, NodeId
from ckptd.model.words import CloseReason, RangeOutcome, StoryKind, StoryReason
from tests.support.scheduling import FOUR_AT_FIRST, R2, A, B, R, Saved, Script, adjusted, saved

STEP_MS = 50

FAST = adjusted(FOUR_AT_FIRST, lanes={"busy_bytes_per_s": 10 * MIB})
"""A block every 50 ms is more than one thread takes."""


class Flow:
    """Lets a source deliver a block on each lane every 50 ms, but on lanes that are mute."""

    def __init__(
        self, version: Saved, *sources: NodeId, options: Options | None = None, load_bytes: int = 0
    ) -> None:
        self.script = Script(options=options)
        self._load_bytes = load_bytes
        self.mute: set[LaneId] = set()
        self.effects: list[Effect] = []
        self._next: dict[int, int] = {}
        self.script.start(version, A, *sources)

    @property
    def lanes(self) -> list[LaneId]:
        return [lane.id for lane in self.script.recovery().work.bundles[A].lanes]

    def first_of(self, lane: LaneId) -> FetchRange:
        return next(order for order in self.script.in_flight if order.lane == lane)

    def run(self, ms: int) -> None:
        for _ in range(ms // STEP_MS):
            self.effects += self.script.wait(STEP_MS)
            for lane in self.lanes:
                if lane not in self.mute:
                    self._deliver(self.first_of(lane))

    def run_until_lanes(self, count: int) -> None:
        for _ in range(200):
            if len(self.lanes) == count:
                return
            self.run(STEP_MS)
        raise AssertionError(f"{self.lanes} after ten seconds")

    def _deliver(self, order: FetchRange) -> None:
        block = self._next.get(order.transfer, order.blocks.start) + 1
        self._next[order.transfer] = block
        received = (block - order.blocks.start) * MIB
        progressed = RangeProgressed(
            order.transfer, received, block, source_load_bytes=self._load_bytes
        )
        self.effects += self.script.tell(progressed)
        if block == order.blocks.end:
            ended = RangeEnded(order.transfer, RangeOutcome.DELIVERED)
            self.effects += self.script.tell(ended)

    def closings(self) -> list[tuple[LaneId, CloseReason]]:
        return [(e.lane, e.reason) for e in self.effects if isinstance(e, CloseLane)]


def test_a_lane_that_doubles_the_rate_is_kept_and_the_next_one_is_tried_at_once() -> None:
    flow = Flow(saved(2000))
    flow.run_until_lanes(2)
    flow.run_until_lanes(3)
    story = flow.script.recovery().story
    (entry,) = [known for known in story.entries if known.kind is StoryKind.LANES_TRIED]
    assert (entry.reason, entry.numbers["lanes"]) == (StoryReason.FASTER, 2)
    flow.run_until_lanes(4)
    flow.run(20_000)
    assert len(flow.lanes) == 4
    assert {reason for _, reason in flow.closings()} <= {CloseReason.SURPLUS}


@pytest.mark.parametrize("options", [FOUR_AT_FIRST, FAST], ids=["tried", "at once"])
def test_a_source_that_is_busy_for_a_second_lane_is_asked_on_the_first_without_a_pause(
    options: Options,
) -> None:
    flow = Flow(saved(2000), options=options)
    flow.run_until_lanes(2)
    one, two = flow.lanes
    closed = flow.script.end(flow.first_of(two), RangeOutcome.BUSY, retry_after_ms=5000)
    assert CloseLane(two, A, CloseReason.SURPLUS) in closed
    assert flow.script.scheduler.inspect().peers[A].link.usable_at_ns == 0
    flow.run(4000)
    assert flow.lanes == [one]
    assert flow.script.recovery().story.entries[-1].reason is StoryReason.BUSY


def test_a_second_lane_that_never_delivers_is_closed_without_blame() -> None:
    flow = Flow(saved(2000))
    flow.run_until_lanes(2)
    one, two = flow.lanes
    flow.mute.add(two)
    silent = flow.first_of(two)
    flow.run(1500)
    assert (two, CloseReason.SILENT) in flow.closings()
    assert flow.script.scheduler.inspect().peers[A].link.failures == 0
    flow.script.end(silent, RangeOutcome.CLOSED)
    flow.run(1000)
    assert flow.lanes == [one]


def test_of_several_lanes_one_that_falls_silent_costs_only_itself() -> None:
    flow = Flow(saved(2000))
    flow.run_until_lanes(4)
    flow.run(1500)
    one, *others = flow.lanes
    flow.mute.add(one)
    flow.run(700)
    assert (one, CloseReason.SILENT) in flow.closings()
    link = flow.script.scheduler.inspect().peers[A].link
    assert (link.failures, link.usable_at_ns) == (0, 0)
    for order in flow.script.in_flight:
        if order.lane == one:
            flow.script.end(order, RangeOutcome.CLOSED)
    flow.run(1000)
    assert one not in flow.lanes
    assert flow.script.recovery().work.bundles[A].width < len(others) + 1


def test_a_recovery_that_is_nearly_done_tries_nothing() -> None:
    flow = Flow(saved(60))
    for _ in range(40):
        flow.run(STEP_MS)
        assert len(flow.lanes) == 1
    assert R in flow.script.scheduler.inspect().recoveries
    assert flow.script.scheduler.inspect().trial is None
    assert flow.script.now == 40 * STEP_MS * MS


def test_an_only_source_that_is_fast_gets_a_second_lane_with_its_first_range() -> None:
    flow = Flow(saved(2000), options=FAST)
    flow.run(4 * STEP_MS)
    assert len(flow.lanes) == 2
    flow.run(4 * STEP_MS)
    assert flow.script.scheduler.inspect().trial is None
    flow.run_until_lanes(4)
    (entry,) = [e for e in flow.script.recovery().story.entries if e.kind is StoryKind.LANES_TRIED]
    assert entry.numbers["before_lanes"] == 2


def test_a_short_recovery_from_an_only_fast_source_has_two_lanes() -> None:
    flow = Flow(saved(20), options=FAST)
    flow.run(4 * STEP_MS)
    assert len(flow.lanes) == 2


def test_of_several_sources_none_gets_a_second_lane_at_once() -> None:
    flow = Flow(saved(2000), B, options=FAST)
    flow.run(8 * STEP_MS)
    assert len(flow.lanes) == 1


def test_an_only_source_that_works_for_others_gets_no_second_lane_at_once() -> None:
    flow = Flow(saved(2000), options=FAST, load_bytes=64 * MIB)
    flow.run(8 * STEP_MS)
    assert len(flow.lanes) == 1


def test_behind_a_limit_an_only_fast_source_gets_no_second_lane() -> None:
    flow = Flow(saved(2000), options=adjusted(FAST, ranges={"in_flight_bytes_max": 64 * MIB}))
    flow.run(8 * STEP_MS)
    assert len(flow.lanes) == 1


def test_of_two_recoveries_that_begin_together_one_gets_a_second_lane_at_once() -> None:
    script = Script(options=FAST)
    script.start(saved(2000), A)
    script.start(saved(2000, version=200), B, recovery=R2)
    script.wait(200)
    for order in script.in_flight:
        script.tell(RangeProgressed(order.transfer, 4 * MIB, order.blocks.end))
        script.end(order)
    lanes = [
        len(script.recovery(each).work.bundles[node].lanes) for each, node in ((R, A), (R2, B))
    ]
    assert lanes == [2, 1]
