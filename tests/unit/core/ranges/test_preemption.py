"""Between recoveries a source serves the more urgent one, and gives up what would hold it up."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, Effect
from ckptd.core.events import ManifestArrived, RangeProgressed, RecoveryPaused, StagingPrepared
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.core.ranges.preemption import has_to_wait, preempt
from ckptd.core.state.offer import Offer
from ckptd.limits import MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.words import (
    Bottleneck,
    CloseReason,
    Criticality,
    RangeOutcome,
    StoryKind,
    StoryReason,
    Verdict,
    WasteReason,
)
from tests.support.scenes import Scene
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    B,
    R,
    Saved,
    Script,
    blocks,
    holds,
    ranges,
    saved,
    wanted,
)


def two_recoveries(*, owed_blocks: int, urgent: Saved, rate: int = 64 * MIB) -> list[Effect]:
    """Let a second recovery begin while the source owes the first one so many blocks.

    Returns:
        What is ordered when it begins.
    """
    script, _ = begun(owed_blocks, urgent, rate)
    return script.tell(StagingPrepared(R2, BlockSet()))


def begun(owed_blocks: int, urgent: Saved, rate: int = 64 * MIB) -> tuple[Script, Saved]:
    script, version = Script(options=NO_COMMITS), saved(8)
    [order] = ranges(script.start(version, holds(A, version, urgent)))
    script.tell(wanted(urgent, R2), ManifestArrived(R2, A, urgent.space))
    script.scheduler.inspect().peers[A].link.rate.bytes_per_s = rate
    if order.blocks.end - owed_blocks:
        script.arrive(order, order.blocks.end - owed_blocks, after_ms=1)
    return script, version


def preempted(effects: list[Effect]) -> list[Effect]:
    return [
        effect
        for effect in effects
        if isinstance(effect, CloseLane) and effect.reason is CloseReason.PREEMPTED
    ]


CRITICAL = saved(8, critical=[2], checkpoint="llama/rank-1")


def test_less_urgent_work_is_given_up_for_a_critical_recovery() -> None:
    assert preempted(two_recoveries(owed_blocks=4, urgent=CRITICAL, rate=16 * MIB))


def test_work_that_is_done_in_a_moment_is_not_given_up() -> None:
    assert not preempted(two_recoveries(owed_blocks=4, urgent=CRITICAL, rate=1024 * MIB))


def test_recoveries_of_equal_urgency_do_not_take_sources_from_each_other() -> None:
    other = saved(8, checkpoint="llama/rank-1")
    assert not preempted(two_recoveries(owed_blocks=4, urgent=other, rate=16 * MIB))


def test_a_source_returns_to_less_urgent_work_when_the_urgent_recovery_is_paused() -> None:
    script, _ = begun(4, CRITICAL, 16 * MIB)
    script.tell(StagingPrepared(R2, BlockSet()))
    script.end_all(RangeOutcome.CLOSED)
    script.tell(RecoveryPaused(R2))
    script.end_all(RangeOutcome.CLOSED)
    script.wait(250)
    assert [(order.recovery, order.criticality) for order in script.in_flight] == [
        (R, Criticality.NORMAL)
    ]


def test_who_gives_way_is_told_why_and_what_it_waits_for() -> None:
    script, _ = begun(4, CRITICAL, 16 * MIB)
    script.tell(StagingPrepared(R2, BlockSet()))
    [closed] = [order for order in script.in_flight if order.recovery == R]
    script.tell(RangeProgressed(closed.transfer, 3, closed.blocks.start))
    script.end(closed, RangeOutcome.CLOSED)
    known = script.scheduler.explain(R, now=script.now)
    assert known is not None
    kinds = [entry.kind for entry in known.entries]
    assert kinds[-3:] == [StoryKind.PREEMPTED, StoryKind.OUTRANKED, StoryKind.STANDSTILL]
    assert known.entries[-1].reason is StoryReason.OUTRANKED
    assert known.peers[0].verdict is Verdict.OUTRANKED
    assert script.view().waiting_for == "sources that have work of another recovery to do first"
    assert script.view().wasted_bytes == {WasteReason.PREEMPTED: 3}
    assert script.scheduler.bottleneck(R, LocalLoad(), now=script.now) is Bottleneck.SOURCE


# Who has to wait

OTHER = saved(8, critical=[2], deferred=[2], checkpoint="llama/rank-1")


@pytest.mark.parametrize(
    ("owed", "unclaimed", "is_paused", "expected"),
    [
        (None, None, False, False),
        (Criticality.CRITICAL, None, False, True),
        (Criticality.NORMAL, None, False, False),
        (Criticality.DEFERRED, None, False, False),
        (Criticality.CRITICAL, None, True, False),
        (None, (0, 12), False, True),
        (None, (2, 12), False, False),
        (None, (10, 12), False, False),
        (None, (0, 12), True, False),
    ],
)
def test_an_offer_waits_for_more_urgent_work_that_another_recovery_awaits_or_wants(
    owed: Criticality | None, unclaimed: tuple[int, int] | None, is_paused: bool, expected: bool
) -> None:
    scene, version = Scene(), saved(8)
    recovery = scene.recovery(version)
    other = scene.recovery(OTHER, R2, unclaimed=blocks(*([unclaimed] if unclaimed else [])))
    other.is_paused = is_paused
    source = scene.peer(A, version, OTHER)
    if owed is not None:
        scene.lane(other, source, (0, 1), criticality=owed)
    # What the recovery itself awaits does not make it wait.
    scene.lane(recovery, source, (0, 1), criticality=Criticality.CRITICAL)
    offer = Offer(
        (False, Criticality.NORMAL, 0, 0, A, 0), recovery, source, BlockRun(0, 8),
        Criticality.NORMAL,
    )  # fmt: skip
    recoveries = list(scene.state.recoveries.values())
    assert has_to_wait(recoveries, offer, now=scene.now) is expected


# What is given up


@pytest.mark.parametrize(
    ("change", "is_given_up"),
    [
        ("nothing", True),
        ("the other is paused", False),
        ("the source rests", False),
        ("nothing is left", False),
        ("the other wants normal blocks", False),
        ("somebody waits for one of those", True),
        ("the lane owes something critical too", False),
        ("the lane is closing", False),
        ("it takes a moment", False),
        ("it takes a little longer", True),
    ],
)
def test_a_lane_is_given_up_for_more_urgent_work_that_it_would_hold_up(
    change: str, is_given_up: bool
) -> None:
    scene, version = Scene(), saved(8)
    recovery, other = scene.recovery(version), scene.recovery(OTHER, R2)
    source = scene.peer(A, version, OTHER, rate=8 * MIB)
    lane = scene.lane(recovery, source, (0, 2), (2, 4))
    idle = scene.lane(recovery, source)
    match change:
        case "the other is paused":
            other.is_paused = True
        case "the source rests":
            source.link.usable_at_ns = scene.now + 1
        case "nothing is left":
            other.coverage.unclaimed = blocks()
        case "the other wants normal blocks":
            other.coverage.unclaimed = blocks((2, 10))
        case "somebody waits for one of those":
            other.coverage.unclaimed = blocks((2, 10))
            other.coverage.prioritized = blocks((9, 10))
        case "the lane owes something critical too":
            lane.transfers[1].criticality = Criticality.CRITICAL
        case "the lane is closing":
            lane.is_closing = True
        case "it takes a moment":
            source.link.rate.bytes_per_s = 80.0 * MIB  # four blocks: 50 ms
        case "it takes a little longer":
            source.link.rate.bytes_per_s = 79.9 * MIB
        case _:
            pass
    preempt(scene.step, [source])
    assert (lane.closing is CloseReason.PREEMPTED) is is_given_up
    kinds = [entry.kind for entry in recovery.story.entries]
    assert kinds == [StoryKind.PREEMPTED] * is_given_up
    assert not idle.is_closing


def test_a_recovery_alone_gives_nothing_up_for_itself() -> None:
    scene, version = Scene(), saved(4, critical=[4])
    recovery, source = scene.recovery(version), scene.peer(A, version, rate=MIB)
    lane = scene.lane(recovery, source, (4, 8))
    preempt(scene.step, [source])
    assert not lane.is_closing


def test_nobody_stands_still_for_a_faster_source_that_has_more_urgent_work() -> None:
    """The slower one has failed once, so that it would be a detour."""
    script = Script(options=NO_COMMITS)
    urgent, other = saved(critical=(512,)), saved(2, version=7, checkpoint="llama/other")
    script.start(urgent, A)
    script.tell(holds(A, urgent, other), holds(B, other))
    [order] = ranges(script.start(other, recovery=R2))
    assert order.source == B, "it is not known yet how fast the other one is"
    script.end(order, RangeOutcome.UNREACHABLE)
    while not (asked := [order for order in script.in_flight if order.source == B]):
        [of_urgent] = script.in_flight[:1]
        script.deliver(of_urgent, after_ms=50)
        script.wait(1)
    assert {order.recovery for order in asked} == {R2}
    assert script.recovery(R).coverage.unclaimed
