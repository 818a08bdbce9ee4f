"""Between recoveries a source serves the more urgent one, and gives up what would hold it up."""

from __future__ import annotations

from ckptd.core.effects import CloseLane, Effect
from ckptd.core.events import ManifestArrived, RangeProgressed, RecoveryPaused, StagingPrepared
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
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
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    R,
    Saved,
    Script,
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
