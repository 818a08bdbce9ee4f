"""What peers say, and what becomes of their reputation."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, ConfirmHolding
from ckptd.core.events import HoldingConfirmed, ManifestArrived, StagingPrepared
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.words import CloseReason, Confirmation, RangeOutcome, SourceState
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    B,
    Script,
    blocks,
    holds,
    ranges,
    saved,
    wanted,
    whom,
)

_, HELD, NOT_HELD, NO_ANSWER = Confirmation


def test_a_source_that_stands_by_bad_blocks_is_blamed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert ConfirmHolding(A, version.digest) in script.arrive(order, 2, rejected=(0, 1))
    assert script.view_source(A).trust == 0, "nothing is sure yet"
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).trust == -2 * script.options.trust.per_bad_block


def test_a_source_whose_files_changed_is_not_blamed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 2, rejected=(0, 1))
    assert script.tell(HoldingConfirmed(A, version.digest, NOT_HELD)) == []
    script.end_all(RangeOutcome.NOT_HELD)
    assert script.view_source(A).trust == 0
    assert script.view_source(A).versions == 0
    # It publishes the same bytes again: it may serve every block.
    assert whom(script.tell(holds(A, version))) == [(A, (0, 4))]


def test_a_source_that_does_not_answer_for_its_blocks_rests_and_is_not_blamed() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end_all(RangeOutcome.DELIVERED)
    assert script.tell(HoldingConfirmed(A, version.digest, NO_ANSWER)) == []
    assert script.view_source(A).trust == 0
    assert script.view_source(A).state is SourceState.BACKING_OFF
    [order] = ranges(script.wait(250))
    assert 0 in range(*order.blocks), "nobody else has it"


def test_seven_points_below_zero_are_a_minute_of_quarantine_doubled_each_time() -> None:
    script, version = Script(options=NO_COMMITS), saved(128)
    [order] = ranges(script.start(version, A))
    for minutes in (1, 2, 4):
        script.arrive(order, rejected=tuple(range(*order.blocks)))
        script.end_all(RangeOutcome.DELIVERED)
        assert script.view_source(A).trust >= -7
        script.tell(HoldingConfirmed(A, version.digest, HELD))
        assert script.view_source(A).state is SourceState.DISTRUSTED
        close = CloseLane(script.lane(A).id, A, CloseReason.IDLE)
        assert script.wait(minutes * 60_000 - 1) == [close]
        [order] = ranges(script.wait(1))


def test_a_block_that_was_bad_for_one_recovery_may_be_asked_for_by_another() -> None:
    script, version = Script(options=NO_COMMITS), saved(2)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end(order)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(wanted(version, R2), ManifestArrived(R2, A, version.space))
    assert whom(script.tell(StagingPrepared(R2, BlockSet()))) == [(A, (0, 1))]


@pytest.mark.parametrize("is_distrusted", [True, False])
def test_a_second_chance_is_given_where_every_other_source_is_in_quarantine(
    is_distrusted: bool,
) -> None:
    script, version = Script(options=NO_COMMITS), saved(2)
    script.tell(holds(B, version))
    other = script.scheduler.inspect().peers[B].link
    other.usable_at_ns = 60 * SECOND
    other.quarantined_until_ns = 60 * SECOND if is_distrusted else 0
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.recovery().refused == ({} if is_distrusted else {A: blocks((0, 1))})


def test_what_an_old_epoch_sent_wrongly_is_not_held_against_the_new_one() -> None:
    script, version = Script(options=NO_COMMITS), saved(4)
    [order] = ranges(script.start(version, A))
    script.tell(holds(A, version, epoch=2))
    assert script.arrive(order, 1, rejected=(0,)) == []
    assert script.view().bad_blocks == 1
    assert whom(script.end_all(RangeOutcome.CLOSED)) == [(A, (0, 2))]


def test_an_answer_for_an_old_epoch_settles_nothing_about_the_new_one() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0, 1, 2, 3))
    script.tell(holds(A, version, epoch=2))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).trust == 0


def test_one_bad_block_of_a_critical_unit_is_enough_for_quarantine() -> None:
    script, version = Script(options=NO_COMMITS), saved(64, critical=[8])
    [order] = ranges(script.start(version, A))
    for _ in range(3):
        script.scheduler.inspect().peers[A].link.succeeded(script.options)
    script.arrive(order, rejected=(order.blocks.start,))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).state is SourceState.DISTRUSTED
