"""When something of a recovery is durable, and what takes that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckptd.core.effects import CommitBlocks, Effect, EndRecovery, PlaceVersion
from ckptd.core.events import (
    BlocksCommitted,
    ChoiceWidened,
    DiscoverySettled,
    ManifestArrived,
    StagingPrepared,
    StagingWidened,
    VersionPlaced,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.milestones import CRITICAL, FIRST_UNIT, Milestone
from ckptd.model.words import Criticality, MilestoneKind, RangeOutcome
from tests.support.scheduling import (
    LOST_STAGING,
    A,
    R,
    Saved,
    Script,
    blocks,
    holding,
    holds,
    phased,
    ranges,
    resumed,
    saved,
    wanted,
)

URGENT, NORMAL, DEFERRED = Criticality


def phase(number: int) -> Milestone:
    return Milestone(MilestoneKind.PHASE, number)


def placed(number: int) -> Milestone:
    return Milestone(MilestoneKind.PLACED, number)


def announced(script: Script) -> list[tuple[int, Milestone]]:
    """Return what was announced since this was asked last, and when."""
    said = [(at_ms, effect.milestone) for at_ms, effect in script.announced]
    script.announced.clear()
    return said


def let_come(script: Script, *, until: int | None = None) -> None:
    """Let blocks come, 1 ms each, and be made durable, up to one."""
    while script.in_flight and (until is None or script.in_flight[0].blocks.start < until):
        order = script.in_flight[0]
        end = order.blocks.end if until is None else min(order.blocks.end, until)
        effects = script.arrive(order, end, after_ms=end - order.blocks.start)
        if end == order.blocks.end:
            effects += script.end(order)
        commit(script, effects)


def commit(script: Script, effects: Sequence[Effect]) -> None:
    while any(isinstance(effect, CommitBlocks) for effect in effects):
        effects = script.tell(BlocksCommitted(R))


def finish(script: Script) -> EndRecovery:
    """Let all come and be placed."""
    let_come(script)
    recovery = script.recovery()
    while recovery.commit.committing or recovery.commit.blocks:
        if not recovery.commit.committing:
            script.wake_at_deadline()
        script.tell(BlocksCommitted(R))
    [end] = [each for each in script.tell(VersionPlaced(R)) if isinstance(each, EndRecovery)]
    return end


TWO = phased({URGENT: [2], NORMAL: [3, 1]}, {URGENT: [1], DEFERRED: [4]})
"""Blocks 0-1, 2-4 and 5 of the first phase, 6 and 7-10 of the second one."""


def test_each_phase_is_announced_when_the_last_of_it_is_durable() -> None:
    script = Script()
    script.start(TWO, A)
    end = finish(script)
    said = announced(script)
    assert [milestone for _, milestone in said if milestone.kind is not MilestoneKind.PLACED] == [
        FIRST_UNIT,
        phase(0),
        CRITICAL,
        phase(1),
    ]
    assert [milestone for _, milestone in said[-2:]] == [placed(0), placed(1)]
    views = end.final.phases
    assert [(view.name, view.units_total, view.left_bytes) for view in views] == [
        ("phase-0", 3, 0),
        ("phase-1", 2, 0),
    ]
    moments = [
        end.final.first_unit_ns,
        views[0].durable_ns,
        end.final.critical_ns,
        views[1].durable_ns,
        views[0].placed_ns,
    ]
    assert None not in moments
    assert moments == sorted(moment or 0 for moment in moments)


def test_a_phase_is_committed_as_soon_as_it_is_verified() -> None:
    """Else it would be complete a second later, or 8 MiB."""
    script = Script()
    script.start(TWO, A)
    order = script.in_flight[0]
    assert order.blocks.end <= 6
    while not any(isinstance(each, CommitBlocks) for each in script.deliver(order, after_ms=1)):
        order = script.in_flight[0]
        assert order.blocks.start < 6, "the second phase began, and the first is not durable"
    script.tell(BlocksCommitted(R))


def test_a_version_of_one_phase_has_that_one() -> None:
    script = Script()
    script.start(saved(4, 4), A)
    end = finish(script)
    kinds = [milestone.kind for _, milestone in announced(script)]
    assert kinds == [MilestoneKind.FIRST_UNIT, MilestoneKind.PHASE, MilestoneKind.PLACED]
    [view] = end.final.phases
    assert (view.name, view.units_total) == ("all", 2)


def test_what_is_verified_and_not_durable_counts_for_nothing() -> None:
    script = Script()
    script.start(saved(2, 2), A)
    script.deliver(script.in_flight[0])
    assert not announced(script)
    assert script.view().first_unit_ns is None
    assert script.view().phases[0].durable_ns is None


def test_what_was_here_counts_at_once_and_empty_units_with_their_phase() -> None:
    version = phased({NORMAL: [0, 2]}, {NORMAL: [0]}, {NORMAL: [2]})
    script = Script()
    script.start(version, A, verified=blocks((0, 2)))
    assert [each for _, each in announced(script)] == [FIRST_UNIT, phase(0), phase(1)]
    assert [view.units_total for view in script.view().phases] == [2, 1, 1]


def test_optional_units_that_nobody_has_hold_no_phase_up() -> None:
    version = phased({NORMAL: [1, 1]}, {NORMAL: [4]}, optional=["0-normal-1"])
    script = Script()
    script.start(version, holds(A, holding(version, blocks((0, 1), (2, 6)))))
    let_come(script)
    assert phase(0) in [milestone for _, milestone in announced(script)]


def test_optional_units_that_somebody_has_are_waited_for() -> None:
    version = phased({NORMAL: [1, 1]}, {NORMAL: [4]}, optional=["0-normal-1"])
    script = Script()
    script.start(version, A)
    let_come(script, until=1)
    assert script.view().phases[0].durable_ns is None


def test_of_a_choice_what_is_wanted_of_a_phase_counts() -> None:
    script = Script()
    script.start(TWO, A, chosen=blocks((0, 2), (7, 11)))
    end = finish(script)
    said = [milestone for _, milestone in announced(script)]
    assert said == [FIRST_UNIT, phase(0), CRITICAL, phase(1), placed(0), placed(1)]
    assert [view.units_total for view in end.final.phases] == [1, 1]


def test_a_phase_of_which_nothing_is_wanted_is_none() -> None:
    script = Script()
    script.start(TWO, A, chosen=blocks((7, 11)))
    end = finish(script)
    assert [milestone for _, milestone in announced(script)] == [FIRST_UNIT, phase(1), placed(1)]
    assert [view.name for view in end.final.phases] == ["phase-1"]


def test_what_is_lost_from_staging_is_taken_back_and_announced_again() -> None:
    script = Script()
    script.start(TWO, A, verified=blocks((0, 6)))
    assert [each for _, each in announced(script)] == [FIRST_UNIT, phase(0)]
    script.end_all(RangeOutcome.STORE_FAILED, refusal=LOST_STAGING)
    script.tell(StagingPrepared(R, blocks((0, 1))), after_ms=5)
    assert script.view().phases[0].durable_ns is None
    assert script.view().first_unit_ns is None
    finish(script)
    said = [milestone for _, milestone in announced(script)]
    assert said.count(phase(0)) == said.count(FIRST_UNIT) == 1


def test_what_is_wanted_in_addition_takes_its_phase_back() -> None:
    script = Script()
    script.start(TWO, A, chosen=blocks((0, 2), (7, 11)), verified=blocks((0, 2)))
    assert phase(0) in [milestone for _, milestone in announced(script)]
    script.tell(ChoiceWidened(R, blocks((2, 5))))
    script.tell(StagingWidened(R, blocks((2, 5)), BlockSet()))
    view = script.view().phases[0]
    assert (view.units_total, view.durable_ns) == (2, None)


def restarted(version: Saved, found: BlockSet, *reached: tuple[Milestone, int]) -> Script:
    """Go on after a restart with what is here, and what an earlier life had reached."""
    script = Script()
    script.tell(holds(A, version), DiscoverySettled())
    script.tell(replace(resumed(version), reached=reached))
    script.tell(ManifestArrived(R, None, version.space))
    script.tell(StagingPrepared(R, found), after_ms=50)
    return script


def test_what_an_earlier_life_reached_keeps_its_moment() -> None:
    reached = ((phase(0), -7_000), (FIRST_UNIT, -9_000))
    script = restarted(TWO, blocks((0, 6)), *reached)
    assert not announced(script)
    view = script.view()
    assert (view.first_unit_ns, view.phases[0].durable_ns) == (-9_000, -7_000)
    assert view.critical_ns is None


def test_what_an_earlier_life_reached_and_is_not_here_any_more_is_forgotten() -> None:
    script = restarted(TWO, blocks((0, 5)), (phase(0), -7_000), (FIRST_UNIT, -9_000))
    assert script.view().phases[0].durable_ns is None
    assert script.view().first_unit_ns == -9_000
    finish(script)
    assert phase(0) in [milestone for _, milestone in announced(script)]


def test_what_is_lacking_in_the_end_is_of_no_phase_that_is_complete() -> None:
    version = phased({NORMAL: [2]}, {NORMAL: [2, 2]})
    script = Script()
    script.start(
        version, holds(A, holding(version, blocks((0, 4)))), patience_ms=10, allow_partial=True
    )
    effects: Sequence[Effect] = ()
    while not any(isinstance(effect, PlaceVersion) for effect in effects):
        if order := next(iter(script.in_flight), None):
            effects = script.deliver(order)
        elif script.recovery().commit.committing:
            effects = script.tell(BlocksCommitted(R))
        else:
            effects = script.wake_at_deadline()
    [end] = [each for each in script.tell(VersionPlaced(R)) if isinstance(each, EndRecovery)]
    first, second = end.final.phases
    assert first.placed_ns is not None
    assert (second.durable_ns, second.placed_ns) == (None, None)


def test_ranges_of_a_recovery_that_ends_announce_nothing() -> None:
    script = Script()
    script.tell(holds(A, TWO), DiscoverySettled(), wanted(TWO))
    assert not ranges(script.wait(0))
    assert not announced(script)
