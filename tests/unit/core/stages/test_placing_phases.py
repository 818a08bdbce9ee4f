"""Phases become visible in order, beside all else, and what is in the way holds only them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ckptd.core.effects import (
    CommitBlocks,
    DiscardStaging,
    Effect,
    EndRecovery,
    PlacePhase,
    PlaceVersion,
    PrepareStaging,
    WidenStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    ChoiceWidened,
    DiscoverySettled,
    ManifestArrived,
    PhaseHeld,
    PhasePlaced,
    PlacementFailed,
    RecoveryCancelled,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingWidened,
    VersionPlaced,
)
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.limits import MS
from ckptd.model.blocks import BlockSet
from ckptd.model.milestones import Milestone
from ckptd.model.words import Criticality, MilestoneKind, RangeOutcome, Result, Stage
from tests.support.scheduling import (
    BROKEN_DISK,
    LOST_STAGING,
    A,
    B,
    R,
    Script,
    blocks,
    ended,
    holding,
    holds,
    phased,
    ranges,
    resumed,
    saved,
)

NORMAL = Criticality.NORMAL
VERSION = phased({NORMAL: [4]}, {NORMAL: [4]}, {NORMAL: [8]})
CORE, SERVING, REST = blocks((0, 4)), blocks((4, 8)), blocks((8, 16))
FOREIGN = Refusal("conflict", "file /data/x: is in the way", is_retryable=True)
CONTRADICTION = Refusal(
    "verification", "unit 'x' contradicts itself", is_retryable=False, is_contradiction=True
)


def local(effects: Sequence[Effect]) -> list[Effect]:
    """Pick out what this node's disks are to do."""
    kinds = PlacePhase | PlaceVersion | DiscardStaging | EndRecovery
    return [each for each in effects if isinstance(each, kinds)]


def place_phase(phase: int, *missing: tuple[int, int]) -> PlacePhase:
    return PlacePhase(R, phase, f"phase-{phase}", blocks(*missing))


def let_come(script: Script, upto: int) -> list[Effect]:
    """Let all blocks come up to one, and be made durable; return the local orders."""
    found: list[Effect] = []
    while order := next((each for each in script.in_flight if each.blocks.start < upto), None):
        end = min(order.blocks.end, upto)
        effects = script.arrive(order, end)
        if end == order.blocks.end:
            effects += script.end(order)
        found += commit(script, effects)
        if end < order.blocks.end:
            break
    while script.recovery().commit.blocks or script.recovery().commit.committing:
        effects = [] if script.recovery().commit.committing else script.wake_at_deadline()
        found += commit(script, effects or script.tell(BlocksCommitted(R)))
    return found


def commit(script: Script, effects: Sequence[Effect]) -> list[Effect]:
    found = []
    while effects:
        found += local(effects)
        is_due = any(isinstance(effect, CommitBlocks) for effect in effects)
        effects = script.tell(BlocksCommitted(R)) if is_due else []
    return found


def placed_at(script: Script) -> list[int]:
    said = [effect.milestone for _, effect in script.announced]
    return [each.phase for each in said if each.kind is MilestoneKind.PLACED]


def test_each_phase_is_placed_when_it_is_durable_and_the_last_one_with_the_version() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    assert let_come(script, 4) == [place_phase(0, (4, 16))]
    assert ranges(script.tell(PhasePlaced(R, 0))) == []
    assert placed_at(script) == [0]
    assert let_come(script, 8) == [place_phase(1, (8, 16))]
    script.tell(PhasePlaced(R, 1))
    assert let_come(script, 16) == [PlaceVersion(R, BlockSet())]
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]
    assert placed_at(script) == [0, 1, 2]


def test_a_version_that_is_placed_at_once_gets_no_such_order() -> None:
    script = Script()
    script.start(VERSION, A)
    assert let_come(script, 16) == [PlaceVersion(R, BlockSet())]


def test_ranges_arrive_and_are_made_durable_while_a_phase_is_placed() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 4)
    assert let_come(script, 16) == []
    assert script.recovery().coverage.committed == VERSION.blocks
    assert script.recovery().stage is Stage.TRANSFERRING
    assert local(script.tell(PhasePlaced(R, 0))) == [place_phase(1)]
    assert local(script.tell(PhasePlaced(R, 1))) == [PlaceVersion(R, BlockSet())]


def test_what_is_in_the_way_holds_the_phase_and_nothing_else() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 4)
    script.tell(PhaseHeld(R, FOREIGN, is_in_the_way=True))
    assert script.in_flight
    assert script.scheduler.bottleneck(R, LocalLoad(), now=script.now) is not None
    assert "/data/x: is in the way" in script.view().waiting_for
    assert script.view().is_in_the_way
    let_come(script, 16)
    assert script.recovery().stage is Stage.TRANSFERRING
    assert placed_at(script) == []
    assert script.scheduler.bottleneck(R, LocalLoad(), now=script.now) is None
    retry_ms = script.options.commits.retry_ns // MS + 1
    assert local(script.wait(retry_ms)) == [place_phase(0)]
    assert script.tell(PhaseHeld(R, FOREIGN, is_in_the_way=True)) == []
    assert len(script.recovery().story.entries) == len(
        {each.text for each in script.recovery().story.entries}
    )
    assert local(script.wait(10_000)) == [place_phase(0)]
    assert local(script.tell(PhasePlaced(R, 0))) == [place_phase(1)]
    assert "in the way" not in script.view().waiting_for
    script.tell(PhasePlaced(R, 1))
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def test_what_is_in_the_way_of_the_last_phase_is_waited_for_too() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 16)
    script.tell(PhasePlaced(R, 0), PhasePlaced(R, 1))
    assert script.tell(PlacementFailed(R, FOREIGN, is_in_the_way=True)) == []
    assert script.view().is_in_the_way
    assert script.scheduler.bottleneck(R, LocalLoad(), now=script.now) is None
    assert script.wait(10_000) == [PlaceVersion(R, BlockSet())]


def test_a_broken_disk_ends_it_and_what_is_placed_stays() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 4)
    script.tell(PhasePlaced(R, 0))
    let_come(script, 8)
    effects = script.tell(PhaseHeld(R, BROKEN_DISK)) + script.end_all(RangeOutcome.CLOSED)
    assert DiscardStaging(R) in effects


def test_cancelling_waits_for_the_phase_and_takes_it_away() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 4)
    script.tell(RecoveryCancelled(R))
    assert script.end_all(RangeOutcome.CLOSED) == []
    assert script.tell(PhasePlaced(R, 0)) == [DiscardStaging(R, withdraws_placed=True)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]
    assert placed_at(script) == []


def test_cancelling_before_anything_is_placed_takes_nothing_away() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    script.tell(RecoveryCancelled(R))
    assert script.end_all(RangeOutcome.CLOSED) == [DiscardStaging(R)]


def test_after_a_restart_phases_are_placed_again_in_order() -> None:
    script = Script()
    request = replace(resumed(VERSION), is_progressive=True, has_placed=True)
    script.tell(holds(A, VERSION), DiscoverySettled(), request)
    script.tell(ManifestArrived(R, None, VERSION.space))
    assert place_phase(0, (8, 16)) in script.tell(StagingPrepared(R, CORE | SERVING))
    assert place_phase(1, (8, 16)) in script.tell(PhasePlaced(R, 0))
    script.tell(RecoveryCancelled(R), PhasePlaced(R, 1))
    assert script.end_all(RangeOutcome.CLOSED) == [DiscardStaging(R, withdraws_placed=True)]


def test_swept_staging_is_prepared_again_once_the_phase_is_placed() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 8)
    effects = script.tell(PhaseHeld(R, LOST_STAGING)) + script.end_all(RangeOutcome.CLOSED)
    assert [each for each in effects if isinstance(each, PrepareStaging)]
    effects = script.tell(StagingPrepared(R, CORE))
    assert place_phase(0, (4, 16)) in effects + script.wait(10_000)


def test_a_phase_of_which_nothing_is_chosen_is_passed_over() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True, chosen=SERVING | REST)
    assert let_come(script, 8) == [place_phase(1, (0, 4), (8, 16))]
    script.tell(PhasePlaced(R, 1))
    assert let_come(script, 16) == [PlaceVersion(R, CORE, CORE)]


def test_more_of_a_phase_that_was_placed_is_placed_before_later_ones() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True, chosen=SERVING | REST)
    let_come(script, 8)
    effects = script.tell(ChoiceWidened(R, CORE), PhasePlaced(R, 1))
    assert [each for each in effects if isinstance(each, WidenStaging)]
    script.tell(StagingWidened(R, CORE, BlockSet()))
    found = [effect for order in script.in_flight for effect in script.deliver(order)]
    found = commit(script, found) + let_come(script, 16)
    assert found == [place_phase(0, (12, 16))]
    assert local(script.tell(PhasePlaced(R, 0))) == [place_phase(1)]


def test_nobody_goes_over_to_another_content_once_something_is_placed() -> None:
    script = Script()
    other = saved(16)
    script.start(VERSION, A, is_progressive=True, patience_ms=1000)
    let_come(script, 4)
    script.tell(PhasePlaced(R, 0), holds(B, other), holds(A, holding(VERSION, CORE)))
    while script.in_flight:
        script.end_all(RangeOutcome.DISCONNECTED)
    effects = script.wait(5000)
    assert script.recovery().digest == VERSION.digest
    assert DiscardStaging(R) in effects


@pytest.mark.parametrize("has_placed", [True, False])
def test_a_manifest_that_contradicts_itself_is_found_out_at_the_end(has_placed: bool) -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    script.recovery().placing.has_begun = has_placed
    let_come(script, 4)
    script.tell(PhaseHeld(R, CONTRADICTION))
    assert let_come(script, 16) == [PlaceVersion(R, BlockSet())]
    assert DiscardStaging(R) in script.tell(PlacementFailed(R, CONTRADICTION))


def test_milestones_of_placing_are_told_from_those_of_what_is_durable() -> None:
    script = Script()
    script.start(VERSION, A, is_progressive=True)
    let_come(script, 4)
    reached = script.recovery().phasing.reached
    assert Milestone(MilestoneKind.PHASE, 0) in reached
    assert Milestone(MilestoneKind.PLACED, 0) not in reached
    script.tell(PhasePlaced(R, 0))
    assert Milestone(MilestoneKind.PLACED, 0) in reached
