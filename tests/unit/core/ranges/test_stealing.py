"""Work that slow sources hold while others have none left."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from ckptd.core.effects import CloseLane, Effect, FetchRange
from ckptd.core.events import RangeProgressed
from ckptd.core.options import Options
from ckptd.core.ranges.picker import cut, find_offer, is_detour
from ckptd.core.ranges.stealing import steal
from ckptd.core.state.lane import Lane
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import CloseReason, RangeOutcome, StoryKind
from tests.support.scenes import Scene
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    B,
    C,
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
        link.rate.sampled_bytes = rate
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


# One moment at which A owes four blocks and B, which is quick, has nothing to do


class Theft(NamedTuple):
    """What may be taken from A by B; as it stands, it is."""

    scene: Scene
    recovery: Recovery
    slow: Peer
    thief: Peer
    lane: Lane

    def steal(self) -> list[Lane]:
        """Return whose work is taken."""
        steal(self.scene.step)
        closing = [lane for lane in self.scene.state.lanes.values() if lane.is_closing]
        assert {lane.closing for lane in closing} <= {CloseReason.STOLEN}
        return closing


def theft(*, is_background: bool = False) -> Theft:
    scene, version = Scene(), saved(8)
    recovery = scene.recovery(version, unclaimed=blocks(), is_background=is_background)
    slow = scene.peer(A, version, rate=2 * MIB)
    thief = scene.peer(B, version, rate=100 * MIB)
    return Theft(scene, recovery, slow, thief, scene.lane(recovery, slow, (0, 4)))


def test_what_is_taken_is_in_the_story_and_the_latest_sample_is_believed() -> None:
    case = theft()
    case.slow.link.rate.latest_bytes_per_s = 0.5 * MIB
    assert case.steal() == [case.lane]
    assert case.slow.link.rate.bytes_per_s == 0.5 * MIB
    [entry] = case.recovery.story.entries
    assert (entry.kind, entry.numbers["needs_ns"]) == (StoryKind.STEAL, 2 * SECOND)


def change_unclaimed(case: Theft) -> None:
    case.recovery.coverage.unclaimed = blocks((6, 7))


def change_pause(case: Theft) -> None:
    case.recovery.is_paused = True


def change_count(case: Theft) -> None:
    case.recovery.work.transfer_count = 0


def change_thief_busy(case: Theft) -> None:
    case.scene.lane(case.recovery, case.thief, (4, 5))
    case.thief.link.outstanding_bytes = 0


def change_thief_busy_elsewhere(case: Theft) -> None:
    case.thief.link.outstanding_bytes = 1


def change_thief_unknown(case: Theft) -> None:
    case.thief.link.rate.bytes_per_s = 0.0


def change_thief_rests(case: Theft) -> None:
    case.thief.link.usable_at_ns = case.scene.now + 1


def change_nothing_owed(case: Theft) -> None:
    case.lane.transfers[0].received_bytes = case.lane.transfers[0].size_bytes


@pytest.mark.parametrize(
    "change",
    [
        change_unclaimed,
        change_pause,
        change_count,
        change_thief_busy,
        change_thief_busy_elsewhere,
        change_thief_unknown,
        change_thief_rests,
        change_nothing_owed,
    ],
)
def test_nothing_is_taken_if_one_thing_is_otherwise(change: Callable[[Theft], None]) -> None:
    assert theft().steal()
    case = theft()
    change(case)
    assert case.steal() == []


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_a_thief_is_known_however_slow_it_is(rate: float) -> None:
    case = theft()
    case.slow.link.rate.bytes_per_s = rate / 8
    case.thief.link.rate.bytes_per_s = rate
    assert case.steal() == [case.lane]


def test_a_thief_may_have_a_lane_that_stands_idle() -> None:
    case = theft()
    idle = case.scene.lane(case.recovery, case.thief)
    assert case.steal() == [case.lane]
    assert not idle.is_closing


@pytest.mark.parametrize(
    ("other", "is_paused", "expected"),
    [("usual", False, 0), ("usual", True, 1), ("background", False, 1), ("none", False, 1)],
)
def test_in_the_background_nothing_is_taken_while_another_recovery_could_use_the_thief(
    other: str, is_paused: bool, expected: int
) -> None:
    case = theft(is_background=True)
    if other != "none":
        version = saved(8, checkpoint="llama/rank-1")
        second = case.scene.recovery(version, R2, is_background=other == "background")
        second.is_paused = is_paused
    assert len(case.steal()) == expected


def test_others_that_wait_do_not_keep_a_usual_recovery_from_taking() -> None:
    case = theft()
    case.scene.recovery(saved(8, checkpoint="llama/rank-1"), R2)
    assert len(case.steal()) == 1


@pytest.mark.parametrize(("longer_ns", "expected"), [(-1, 0), (0, 0), (1, 1)])
def test_work_is_taken_if_it_needs_longer_than_a_quarter_of_a_second(
    longer_ns: int, expected: int
) -> None:
    case = theft()
    case.thief.link.rate.bytes_per_s = 10_000.0 * MIB
    case.slow.link.rate.bytes_per_s = 0.0  # only the patience with it counts
    case.slow.link.failures = 1
    case.lane.has_body = False
    case.lane.heard_ns = case.scene.now - 2 * SECOND + 250 * MS + longer_ns
    assert len(case.steal()) == expected


@pytest.mark.parametrize(("longer_ns", "expected"), [(-1, 0), (0, 0), (1, 1)])
def test_work_is_taken_if_it_needs_more_than_four_times_what_the_thief_needs(
    longer_ns: int, expected: int
) -> None:
    case = theft()
    case.thief.link.rate.bytes_per_s = 8.0 * MIB  # four blocks: half a second
    case.slow.link.rate.bytes_per_s = 0.0
    case.slow.link.failures = 1
    case.lane.has_body = False
    case.lane.heard_ns = case.scene.now + longer_ns  # patience after one failure: two seconds
    assert len(case.steal()) == expected


@pytest.mark.parametrize(
    ("failures", "has_body", "late_ms", "needs_ms"),
    [(0, False, 0, 2000), (1, True, 0, 2000), (1, False, 0, 4000), (1, False, 500, 3500),
     (1, False, 2000, 2000), (1, False, 2500, 2000)],
)  # fmt: skip
def test_a_lane_needs_its_rate_and_the_patience_with_a_source_that_failed_and_is_silent(
    failures: int, has_body: bool, late_ms: int, needs_ms: int
) -> None:
    case = theft()
    case.slow.link.failures = failures
    case.lane.has_body = has_body
    case.lane.heard_ns -= late_ms * MS
    assert case.steal() == [case.lane]
    [entry] = case.recovery.story.entries
    assert entry.numbers["needs_ns"] == needs_ms * MS


def test_lanes_that_work_share_the_rate_of_their_source() -> None:
    case = theft()
    other = case.scene.lane(case.recovery, case.slow, (4, 8))
    case.scene.lane(case.recovery, case.slow)
    assert case.steal() == [case.lane]
    [entry] = case.recovery.story.entries
    assert entry.numbers["needs_ns"] == 4 * SECOND
    assert not other.is_closing, "one lane for each thief"


def test_the_slowest_lane_is_taken_by_the_first_thief_and_the_next_by_the_second() -> None:
    case = theft()
    slower = case.scene.peer(C, saved(8), rate=1 * MIB)
    slowest = case.scene.lane(case.recovery, slower, (4, 8))
    assert case.steal() == [slowest]
    case = theft()
    slower = case.scene.peer(C, saved(8), rate=1 * MIB)
    slowest = case.scene.lane(case.recovery, slower, (4, 8))
    case.scene.peer(NodeId("d"), saved(8), rate=100 * MIB)
    assert case.steal() == [case.lane, slowest]
    others = [entry.numbers["needs_ns"] for entry in case.recovery.story.entries]
    assert others == [4 * SECOND, 2 * SECOND]


def test_a_lane_that_is_closing_is_not_taken_and_none_without_work() -> None:
    case = theft()
    case.scene.lane(case.recovery, case.slow)
    case.lane.is_closing, case.lane.closing = True, CloseReason.STOLEN
    case.steal()
    assert not case.recovery.story.entries


def test_a_range_that_is_dealt_with_gives_a_thief_nothing_to_take() -> None:
    case = theft()
    case.lane.transfers[0].next_block = 4
    assert case.steal() == []
