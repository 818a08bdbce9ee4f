"""What is remembered of bad blocks."""

from __future__ import annotations

import pytest

from ckptd.core.options import TrustOptions
from ckptd.core.state.doubts import DoubtedUnit, Doubts
from ckptd.model.blocks import BlockRun
from tests.support.scheduling import blocks


def _doubts() -> Doubts:
    first = DoubtedUnit(BlockRun(0, 4), is_critical=False, bad=blocks((2, 3)))
    second = DoubtedUnit(BlockRun(4, 8), is_critical=True, bad=blocks((4, 5)), is_excused=True)
    return Doubts({0: first, 1: second})


def test_units_are_found_by_their_blocks() -> None:
    doubts = _doubts()
    assert list(doubts.among(blocks((3, 4)))) == [doubts.units[0]]
    assert list(doubts.among(blocks((3, 5)))) == list(doubts.units.values())
    assert not list(doubts.among(blocks((8, 9))))


def test_all_blocks_of_a_unit_are_unproven_not_only_the_bad_ones() -> None:
    doubts = _doubts()
    assert not doubts.unproven
    doubts.units[1].is_unproven = True
    assert doubts.unproven == blocks((4, 8))


def test_an_excuse_covers_a_unit_until_it_is_proved_or_blamed() -> None:
    doubts = _doubts()
    assert not doubts.excused
    doubts.units[0].is_unproven = doubts.units[1].is_unproven = True
    assert doubts.excused == blocks((0, 8))
    doubts.units[0].is_blamed = True
    assert doubts.excused == blocks((4, 8))
    assert doubts.unproven == blocks((0, 8))


def test_units_that_a_denial_counted_for_are_counted() -> None:
    assert _doubts().excused_count == 1


def test_a_proof_is_a_block_that_was_bad_if_that_can_be_had() -> None:
    doubts = _doubts()
    doubts.units[0].is_unproven = True
    assert doubts.proof_block(blocks((0, 8))) == 2
    assert doubts.proof_block(blocks((0, 2))) == 0, "the bad one is here, from somebody else"
    assert doubts.proof_block(blocks((3, 4), (5, 8))) == 3
    assert doubts.proof_block(blocks((5, 8))) == 5, "nothing is wrong with that unit"


@pytest.mark.parametrize(
    ("strikes", "excused", "is_spent"), [(3, 3, False), (4, 0, True), (0, 4, True)]
)
def test_four_strikes_or_four_excused_units_are_enough_for_a_version(
    strikes: int, excused: int, *, is_spent: bool
) -> None:
    units = {
        index: DoubtedUnit(
            BlockRun(index, index + 1), is_critical=False, is_excused=index < excused
        )
        for index in range(6)
    }
    assert Doubts(units, strikes=strikes).is_spent(TrustOptions()) is is_spent
