"""A recovery of some units: what was not asked for is not fetched, and left out at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    CommitBlocks,
    EndRecovery,
    FetchManifest,
    PlaceVersion,
    PrepareStaging,
    WidenStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    ChoiceWidened,
    DiscoverySettled,
    ManifestArrived,
    RecoveryCancelled,
    StagingDiscarded,
    StagingPrepared,
    StagingWidened,
    UnitsPrioritized,
    VersionPlaced,
    WideningRefused,
)
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.milestones import CRITICAL
from ckptd.model.words import FailureCause, RangeOutcome, Result, Stage
from tests.support.scheduling import (
    BROKEN_DISK,
    FULL_DISK,
    LOST_STAGING,
    A,
    B,
    R,
    Saved,
    Script,
    blocks,
    ended,
    holding,
    holds,
    ranges,
    resumed,
    saved,
    wanted,
    whom,
)


def finish(script: Script) -> list[PlaceVersion | EndRecovery]:
    """Deliver, commit and place whatever is asked for; return how that went."""
    course: list[PlaceVersion | EndRecovery] = []
    while R in script.scheduler.inspect().recoveries:
        recovery = script.recovery()
        if script.in_flight:
            effects = script.deliver(script.in_flight[0], after_ms=10)
        elif recovery.commit.committing:
            effects = script.tell(BlocksCommitted(R))
        elif recovery.stage is Stage.PLACING:
            effects = script.tell(VersionPlaced(R))
        else:
            effects = script.wait(2000)
        for effect in effects:
            if isinstance(effect, CommitBlocks) and script.in_flight:
                script.tell(BlocksCommitted(R))
        course += [each for each in effects if isinstance(each, PlaceVersion | EndRecovery)]
    return course


def begin(version: Saved, chosen: BlockSet, *, verified: BlockSet | None = None) -> Script:
    script = Script()
    script.start(version, A, chosen=chosen, verified=verified)
    return script


def test_only_what_was_chosen_is_staged_fetched_and_placed() -> None:
    script, version = Script(), saved(2, 3, critical=[1])
    script.tell(holds(A, version), DiscoverySettled())
    script.tell(wanted(version, is_by_choice=True))
    chosen, others = blocks((0, 1), (3, 6)), blocks((1, 3))
    assert script.tell(ManifestArrived(R, A, version.space, chosen)) == [
        PrepareStaging(R, version.digest, version.space, others)
    ]
    assert script.tell(StagingPrepared(R, BlockSet())) != []
    view = script.view()
    assert (view.total_bytes, view.units_total, view.units_done) == (4 * MIB, 2, 0)
    assert finish(script) == [PlaceVersion(R, others, others), ended(Result.CHOSEN)]


def test_what_is_predicted_and_counted_is_what_was_chosen() -> None:
    version = saved(10, 10)
    script = begin(version, blocks((10, 20)), verified=blocks((0, 5), (10, 12)))
    view = script.view()
    assert (view.total_bytes, view.verified_bytes) == (10 * MIB, 2 * MIB)
    assert (view.missing_blocks, view.waiting_for) == (0, "")
    left = [size for (is_here, _), size in script.scheduler.bytes_by_class().items() if not is_here]
    assert left == [8 * MIB]


def test_a_choice_that_leaves_out_only_optional_units_is_complete() -> None:
    script = begin(saved(2, optional=[1]), blocks((0, 2)))
    assert finish(script)[-1] == ended(Result.COMPLETE)


def test_a_choice_of_what_stands_here_is_placed_at_once() -> None:
    version = saved(2, 3)
    script = Script()
    effects = script.start(version, A, chosen=blocks((0, 2)), verified=blocks((0, 2)))
    assert effects == [PlaceVersion(R, blocks((2, 5)), blocks((2, 5)))]
    assert script.tell(VersionPlaced(R)) == [ended(Result.CHOSEN)]


def test_what_stands_here_and_was_not_chosen_makes_the_version_complete() -> None:
    version = saved(2, 3)
    script = begin(version, blocks((0, 2)), verified=blocks((2, 5)))
    assert finish(script) == [PlaceVersion(R, BlockSet()), ended(Result.COMPLETE)]


def test_the_moment_of_the_critical_units_is_that_of_the_chosen_ones() -> None:
    version = saved(1, critical=[1, 1])
    script = begin(version, blocks((1, 2)), verified=blocks((1, 2)))
    assert script.recovery().phasing.reached[CRITICAL] == 0
    script = begin(version, blocks((2, 3)), verified=blocks((2, 3)))
    assert CRITICAL not in script.recovery().phasing.reached


def test_what_nobody_has_of_the_others_holds_nothing_up() -> None:
    script, version = Script(), saved(2, 3)
    chosen = blocks((0, 2))
    script.start(version, holds(A, holding(version, chosen)), chosen=chosen, patience_ms=5000)
    assert finish(script)[-1] == ended(Result.CHOSEN)


def test_a_choice_that_nobody_has_all_of_fails_when_patience_ends() -> None:
    script, version = Script(), saved(2, 3)
    held = holding(version, blocks((0, 1)))
    script.start(version, holds(A, held), chosen=blocks((0, 2)), patience_ms=5000)
    script.deliver(script.in_flight[0], after_ms=10)
    script.wait(1000)
    script.tell(BlocksCommitted(R))
    script.wait(10_000)
    assert script.tell(StagingDiscarded(R)) == [
        ended(
            Result.FAILED,
            FailureCause.REQUIRED_MISSING,
            "nobody has 1 MiB of required units, and no unit is whole",
        )
    ]


def test_what_cannot_be_chosen_of_a_version_fails_the_recovery() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version, is_by_choice=True))
    script.tell(ManifestArrived(R, A, version.space, misfit="no unit is called so"))
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.UNKNOWN, "no unit is called so")
    ]


# Which version


def test_the_newest_version_needs_only_what_is_chosen_of_it() -> None:
    script, old, new = Script(), saved(2, 3, version=90), saved(2, 3, version=100)
    part = holding(new, blocks((0, 2)))
    script.tell(holds(A, old), holds(B, part), DiscoverySettled())
    effects = script.tell(wanted(old, is_by_choice=True))
    assert [type(each) for each in effects] == [ChooseVersion, FetchManifest]
    [order] = script.tell(ManifestArrived(R, B, new.space, blocks((0, 2))))
    assert order == PrepareStaging(R, new.digest, new.space, blocks((2, 5)))
    why = script.scheduler.explain(R, now=script.now)
    assert why is not None


def test_a_version_of_which_nobody_has_what_is_chosen_gives_way_to_an_older_one() -> None:
    script, old, new = Script(), saved(2, 3, version=90), saved(2, 3, version=100)
    script.tell(holds(A, old), holds(B, holding(new, blocks((0, 2)))), DiscoverySettled())
    script.tell(wanted(old, is_by_choice=True))
    chosen, ask = script.tell(ManifestArrived(R, B, new.space, blocks((2, 5))))
    assert isinstance(chosen, ChooseVersion)
    assert (chosen.version, ask) == (90, FetchManifest(R, A, old.digest))


def test_a_version_comes_into_question_again_when_somebody_has_what_is_chosen() -> None:
    script, new = Script(), saved(2, 3, version=100)
    script.tell(holds(B, holding(new, blocks((0, 2)))), DiscoverySettled())
    script.tell(wanted(new, is_by_choice=True))
    assert script.tell(ManifestArrived(R, B, new.space, blocks((2, 5)))) == []
    assert script.view().stage is Stage.SEEKING
    assert script.wait(60_000) == []
    chosen, ask = script.tell(holds(A, holding(new, blocks((2, 5)))))
    assert isinstance(chosen, ChooseVersion)
    assert isinstance(ask, FetchManifest)
    assert script.tell(ManifestArrived(R, ask.source, new.space, blocks((2, 5)))) == [
        PrepareStaging(R, new.digest, new.space, blocks((0, 2)))
    ]


def test_a_version_that_was_named_waits_for_what_is_chosen_of_it() -> None:
    script, version = Script(), saved(2, 3)
    script.start(version, holds(A, holding(version, blocks((0, 2)))), chosen=blocks((2, 5)))
    assert script.view().waiting_for == "a peer that has the missing 3 MiB"
    assert ranges(script.tell(holds(B, version))) != []


def test_a_recovery_of_everything_still_needs_everything() -> None:
    script, new = Script(), saved(2, 3)
    script.tell(holds(B, holding(new, blocks((0, 2)))), DiscoverySettled())
    assert script.tell(wanted(new)) == []


def test_an_interrupted_recovery_goes_on_with_its_version_and_its_choice() -> None:
    script, version = Script(), saved(2, 3)
    script.tell(holds(A, holding(version, blocks((2, 3)))), DiscoverySettled())
    request = replace(resumed(version), is_by_choice=True, is_named=False)
    script.tell(request)
    assert script.tell(ManifestArrived(R, None, version.space, blocks((0, 2)))) == [
        PrepareStaging(R, version.digest, version.space, blocks((2, 5)))
    ]


# A choice that grows


def test_a_choice_is_widened_while_ranges_go_on_arriving() -> None:
    version = saved(8, 4, 2)
    script = begin(version, blocks((0, 8)))
    first = script.in_flight
    assert script.tell(ChoiceWidened(R, blocks((8, 12)))) == [WidenStaging(R, blocks((8, 12)))]
    assert script.in_flight == first
    assert script.view().total_bytes == 8 * MIB
    script.tell(StagingWidened(R, blocks((8, 12))))
    assert script.view().total_bytes == 12 * MIB
    left = blocks((12, 14))
    assert finish(script) == [PlaceVersion(R, left, left), ended(Result.CHOSEN)]


def test_a_choice_can_be_widened_to_everything() -> None:
    version = saved(8, 4)
    script = begin(version, blocks((0, 8)))
    assert script.tell(ChoiceWidened(R, None)) == [WidenStaging(R, blocks((8, 12)))]
    script.tell(StagingWidened(R, blocks((8, 12))))
    assert finish(script) == [PlaceVersion(R, BlockSet()), ended(Result.COMPLETE)]


def test_what_is_widened_by_is_waited_for_though_all_the_rest_is_here() -> None:
    version = saved(1, 4)
    script = begin(version, blocks((0, 1)))
    script.deliver(script.in_flight[0], after_ms=10)
    assert script.recovery().commit.committing
    assert script.tell(ChoiceWidened(R, blocks((1, 5)))) == []
    assert script.tell(BlocksCommitted(R)) == [WidenStaging(R, blocks((1, 5)))]
    assert ranges(script.tell(StagingWidened(R, blocks((1, 5))))) != []
    assert finish(script)[-1] == ended(Result.COMPLETE)


def test_what_is_chosen_twice_or_is_here_makes_no_order() -> None:
    version = saved(8, 4)
    script = begin(version, blocks((0, 8)))
    assert script.tell(ChoiceWidened(R, blocks((0, 8)))) == []
    script.tell(ChoiceWidened(R, blocks((8, 10))))
    assert script.tell(ChoiceWidened(R, blocks((9, 12)))) == []
    assert script.tell(StagingWidened(R, blocks((8, 10)))) == [WidenStaging(R, blocks((10, 12)))]


def test_zeros_and_what_is_waited_for_count_from_the_moment_they_are_chosen() -> None:
    version = saved(8, 4)
    script = begin(version, blocks((0, 8)))
    script.tell(UnitsPrioritized(R, blocks((8, 12))))
    script.tell(ChoiceWidened(R, blocks((8, 12))))
    script.tell(StagingWidened(R, blocks((8, 12)), zeros=blocks((8, 11))))
    assert script.view().local_bytes == 3 * MIB
    assert script.recovery().coverage.prioritized == blocks((11, 12))
    script.end_all(RangeOutcome.DISCONNECTED)
    assert script.wait(60_000) != []
    assert (A, (11, 12)) in whom(script.in_flight)


def test_a_choice_that_is_widened_before_anything_is_staged_is_staged_at_once() -> None:
    script, version = Script(), saved(2, 3, 4)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version, is_by_choice=True))
    assert script.tell(ChoiceWidened(R, blocks((2, 5)))) == []  # comes with the manifest
    script.tell(ManifestArrived(R, A, version.space, blocks((0, 2))))
    assert script.tell(ChoiceWidened(R, blocks((2, 5)))) == []
    effects = script.tell(StagingPrepared(R, BlockSet()))
    assert WidenStaging(R, blocks((2, 5))) in effects


def test_staging_that_is_lost_is_prepared_for_all_that_is_wanted_by_then() -> None:
    version = saved(8, 4, 2)
    script = begin(version, blocks((0, 8)))
    [order] = script.in_flight
    script.tell(ChoiceWidened(R, blocks((8, 12))))
    script.tell(WideningRefused(R, LOST_STAGING))
    effects = script.end(order, RangeOutcome.CLOSED)
    effects += script.end_all(RangeOutcome.CLOSED)
    assert effects == [PrepareStaging(R, version.digest, version.space, blocks((12, 14)))]


def test_room_that_is_short_is_asked_for_again_and_nothing_is_placed_meanwhile() -> None:
    version = saved(1, 4)
    script = begin(version, blocks((0, 1)), verified=None)
    script.tell(ChoiceWidened(R, blocks((1, 5))))
    script.tell(WideningRefused(R, FULL_DISK))
    assert script.view().waiting_for.startswith("root /data: no room; tried again in")
    script.end_all(RangeOutcome.DELIVERED)
    assert WidenStaging(R, blocks((1, 5))) in script.wait(60_000)
    assert script.view().stage is Stage.TRANSFERRING


def test_a_disk_that_refuses_for_good_fails_the_recovery() -> None:
    version = saved(1, 4)
    script = begin(version, blocks((0, 1)))
    script.tell(ChoiceWidened(R, blocks((1, 5))))
    script.tell(WideningRefused(R, BROKEN_DISK))
    script.end_all(RangeOutcome.CLOSED)
    failed = ended(Result.FAILED, FailureCause.STORE, "root /data: input/output error")
    assert script.tell(StagingDiscarded(R)) == [failed]


@pytest.mark.parametrize(
    "answer", [StagingWidened(R, blocks((1, 5))), WideningRefused(R, FULL_DISK)]
)
def test_a_recovery_that_was_cancelled_meanwhile_is_not_widened(
    answer: StagingWidened | WideningRefused,
) -> None:
    script = begin(saved(1, 4), blocks((0, 1)))
    script.tell(ChoiceWidened(R, blocks((1, 5))), RecoveryCancelled(R))
    script.end_all(RangeOutcome.CLOSED)
    script.tell(answer)
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]


def test_what_is_being_placed_is_not_widened_any_more() -> None:
    script = begin(saved(1, 4), blocks((0, 1)), verified=blocks((0, 1)))
    assert script.view().stage is Stage.PLACING
    assert script.tell(ChoiceWidened(R, None)) == []
    assert script.tell(VersionPlaced(R)) == [ended(Result.CHOSEN)]
