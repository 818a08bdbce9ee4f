"""Which stage may follow which."""

from __future__ import annotations

import pytest

from ckptd.core.state.stage import MOVES
from ckptd.model.words import Stage


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
