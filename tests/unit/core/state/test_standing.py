"""Trust and quarantine, in numbers."""

from __future__ import annotations

import pytest

from ckptd.core.options import Options
from ckptd.core.report.evidence import BadBlock
from ckptd.core.state.doubts import DoubtedUnit, Doubts
from ckptd.core.state.standing import Standing
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Epoch, Version
from ckptd.model.words import Confirmation
from tests.support.scheduling import LLAMA, R, adjusted, blocks, saved

OPTIONS = Options()
DIGEST = saved(8).digest


def test_trust_grows_with_good_ranges_up_to_eight() -> None:
    standing = Standing()
    for _ in range(20):
        standing.vouch(OPTIONS)
    assert standing.trust == 8


def test_four_bad_blocks_from_a_stranger_are_enough_for_quarantine() -> None:
    standing = Standing()
    standing.blame(6, OPTIONS, now=0)
    assert (standing.trust, standing.quarantined_until_ns) == (-6, 0)
    standing.blame(2, OPTIONS, now=0)
    assert (standing.trust, standing.quarantined_until_ns) == (0, 60 * SECOND)


def test_quarantine_doubles_each_time() -> None:
    standing = Standing()
    for minutes in (1, 2, 4, 8):
        now = standing.quarantined_until_ns
        standing.blame(8, OPTIONS, now=now)
        assert standing.quarantined_until_ns == now + minutes * 60 * SECOND


@pytest.mark.parametrize(("before", "doublings"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_quarantine_is_doubled_ten_times_at_most(before: int, doublings: int) -> None:
    standing = Standing(quarantines=before)
    standing.blame(7, adjusted(OPTIONS, trust={"quarantine_ns": 1}), now=5)
    assert standing.quarantined_until_ns == 5 + (1 << doublings)
    assert standing.quarantines == before + 1


def test_what_was_under_way_when_a_quarantine_began_does_not_lengthen_it() -> None:
    standing = Standing()
    standing.blame(8, OPTIONS, now=0)
    for now in (1, 30 * SECOND, 60 * SECOND - 1):
        standing.blame(15, OPTIONS, now=now)
        found = (standing.trust, standing.quarantines, standing.began_quarantine_ns)
        assert found == (0, 1, 0)
        assert standing.quarantined_until_ns == 60 * SECOND
    standing.blame(15, OPTIONS, now=60 * SECOND)
    assert (standing.quarantines, standing.quarantined_until_ns) == (2, 180 * SECOND)


@pytest.mark.parametrize(("trust_lost", "quarantines"), [(6, 0), (7, 1), (8, 1)])
def test_quarantine_begins_at_seven_below_zero(trust_lost: int, quarantines: int) -> None:
    standing = Standing()
    standing.blame(trust_lost, OPTIONS, now=5)
    assert standing.quarantines == quarantines
    assert standing.began_quarantine_ns == (5 if quarantines else -1)


def doubted() -> tuple[Standing, Doubts]:
    """A source that sent two blocks of a unit wrongly, denied them, and is asked about another."""
    unit = DoubtedUnit(BlockRun(0, 4), is_critical=False, bad=blocks((0, 2)), is_excused=True)
    right = DoubtedUnit(BlockRun(4, 8), is_critical=False)
    doubts = Doubts({0: unit, 1: right}, blocks((5, 6)), unanswered_count=1, strikes=2)
    standing = Standing(trust=-4, questioned={DIGEST: blocks((4, 5))}, doubts={DIGEST: doubts})
    standing.evidence.note(BadBlock(0, LLAMA, Version(1), DIGEST, "unit", 0, R))
    standing.begin_life(Epoch(1))
    assert standing.questioned, "the first life that was heard of"
    return standing, doubts


def test_another_life_may_deny_once_more_and_nothing_is_forgotten() -> None:
    standing, doubts = doubted()
    standing.begin_life(Epoch(2))
    assert (standing.trust, doubts.strikes) == (-4, 2)
    assert [unit.is_excused for unit in doubts.units.values()] == [False, False]
    assert doubts.unproven == blocks((0, 4)), "what it sent wrongly it has to prove"


def test_what_a_life_was_asked_has_no_answer_from_the_next_one() -> None:
    standing, doubts = doubted()
    standing.begin_life(Epoch(2))
    assert (standing.questioned, doubts.waiting, doubts.unanswered_count) == ({}, blocks(), 0)
    assert [bad.answer for bad in standing.evidence.last] == [Confirmation.NO_ANSWER]


def test_the_same_life_changes_nothing() -> None:
    standing, doubts = doubted()
    standing.begin_life(Epoch(1))
    assert (standing.questioned, doubts.waiting) == ({DIGEST: blocks((4, 5))}, blocks((5, 6)))
    assert doubts.units[0].is_excused


def test_a_source_is_clean_until_something_is_held_against_it() -> None:
    assert Standing(trust=8, epoch=Epoch(1)).is_clean
    assert not Standing(quarantines=1).is_clean
    assert not Standing(doubts={DIGEST: Doubts()}).is_clean
    noted = Standing()
    noted.evidence.note(BadBlock(0, LLAMA, Version(1), DIGEST, "unit", 0, R))
    assert not noted.is_clean


@pytest.mark.parametrize(
    ("until_ns", "strikes", "is_distrusted"), [(6, 0, True), (5, 3, False), (0, 4, True)]
)
def test_who_is_in_quarantine_or_struck_too_often_is_distrusted(
    until_ns: int, strikes: int, *, is_distrusted: bool
) -> None:
    standing = Standing(quarantined_until_ns=until_ns, doubts={DIGEST: Doubts(strikes=strikes)})
    assert standing.is_distrusted(OPTIONS.trust, now=5) is is_distrusted
