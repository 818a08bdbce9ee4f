"""What a recovery says of itself."""

from __future__ import annotations

import pytest

from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import MOVES, Recovery
from ckptd.model.words import Criticality, Stage
from tests.support.scheduling import LLAMA, R, blocks, saved, wanted

VERSION = saved(4, critical=[2], deferred=[3])


def recovering(*, is_background: bool = False) -> Recovery:
    request = wanted(VERSION, is_background=is_background)
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    return Recovery(request, 1, 0, stage=Stage.TRANSFERRING, described=described)


def test_it_has_the_names_of_its_request() -> None:
    recovery = recovering()
    assert (recovery.id, recovery.checkpoint, recovery.is_background) == (R, LLAMA, False)


def test_ranges_are_ordered_only_while_it_transfers_and_nothing_holds_it_up() -> None:
    assert recovering().is_fetching
    paused, lost, retrying, placing = (recovering() for _ in range(4))
    paused.is_paused = True
    lost.local.is_staging_lost = True
    retrying.local.retry_at_ns = 7
    placing.stage = Stage.PLACING
    assert [each.is_fetching for each in (paused, lost, retrying, placing)] == [False] * 4


def test_a_move_that_the_table_does_not_have_is_a_bug() -> None:
    recovery = recovering()
    recovery.move(Stage.PLACING)
    assert recovery.stage is Stage.PLACING
    with pytest.raises(AssertionError, match="r-1: placing → transferring"):
        recovery.move(Stage.TRANSFERRING)
    assert recovery.stage is Stage.PLACING


def test_a_block_is_as_urgent_as_its_unit_or_critical_if_somebody_waits_for_it() -> None:
    recovery = recovering()
    classes = [Criticality.CRITICAL] * 2 + [Criticality.NORMAL] * 4 + [Criticality.DEFERRED] * 3
    assert [recovery.criticality_of(block) for block in range(9)] == classes
    recovery.coverage.prioritized = blocks((8, 9))
    assert recovery.criticality_of(8) is Criticality.CRITICAL
    assert recovery.criticality_of(7) is Criticality.DEFERRED


@pytest.mark.parametrize("criticality", Criticality)
def test_in_the_background_everything_is_equally_urgent_and_after_the_rest(
    criticality: Criticality,
) -> None:
    background = recovering(is_background=True).precedence_of(criticality)
    assert background == recovering(is_background=True).precedence_of(Criticality.CRITICAL)
    assert all(background > recovering().precedence_of(other) for other in Criticality)


def test_what_is_more_urgent_goes_first() -> None:
    order = [recovering().precedence_of(criticality) for criticality in Criticality]
    assert order == sorted(order)
    assert len(set(order)) == len(order)


# Which stage may follow which


def reachable(stage: Stage) -> set[Stage]:
    """Return the stages that a recovery in this one may still come to."""
    found: set[Stage] = set()
    ahead = [stage]
    while ahead:
        found.update(following := MOVES[ahead.pop()] - found)
        ahead += following
    return found


@pytest.mark.parametrize("stage", [stage for stage in MOVES if stage is not Stage.DISCARDING])
def test_every_recovery_may_be_given_up(stage: Stage) -> None:
    assert Stage.DISCARDING in MOVES[stage]


def test_what_is_discarded_goes_nowhere_else() -> None:
    assert MOVES[Stage.DISCARDING] == frozenset()


def test_every_stage_is_reached_and_none_follows_itself() -> None:
    assert reachable(Stage.SEEKING) | {Stage.SEEKING} == set(MOVES)
    assert all(stage not in following for stage, following in MOVES.items())


def test_nothing_is_placed_that_was_not_transferred() -> None:
    assert [stage for stage, following in MOVES.items() if Stage.PLACING in following] == [
        Stage.TRANSFERRING
    ]


def test_what_was_staged_and_is_lost_is_prepared_again() -> None:
    assert Stage.PREPARING in MOVES[Stage.PLACING] & MOVES[Stage.TRANSFERRING]
