"""What a recovery says of itself."""

from __future__ import annotations

import pytest

from ckptd.core.state.lane import Lane
from ckptd.core.state.link import Link
from ckptd.core.state.recovery import Recovery
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import LaneId
from ckptd.model.words import Criticality, Stage
from tests.support.scheduling import LLAMA, A, R, Script, blocks, saved, wanted

VERSION = saved(4, critical=[2], deferred=[3])


def recovering(*, is_background: bool = False) -> Recovery:
    request = wanted(VERSION, is_background=is_background)
    return Recovery(request, 1, 0, stage=Stage.TRANSFERRING, space=VERSION.space)


def test_it_has_the_names_of_its_request() -> None:
    recovery = recovering()
    assert (recovery.id, recovery.checkpoint, recovery.is_background) == (R, LLAMA, False)


def test_ranges_are_ordered_only_while_it_transfers_and_nothing_holds_it_up() -> None:
    assert recovering().is_fetching
    paused, lost, retrying, placing = (recovering() for _ in range(4))
    paused.is_paused = True
    lost.is_staging_lost = True
    retrying.retry_at_ns = 7
    placing.stage = Stage.PLACING
    assert [each.is_fetching for each in (paused, lost, retrying, placing)] == [False] * 4


def test_a_move_that_the_table_does_not_have_is_a_bug() -> None:
    recovery = recovering()
    recovery.move(Stage.PLACING)
    assert recovery.stage is Stage.PLACING
    with pytest.raises(AssertionError, match="r-1: placing → transferring"):
        recovery.move(Stage.TRANSFERRING)
    assert recovery.stage is Stage.PLACING


def test_it_delivered_when_a_lane_that_has_a_body_was_heard_last() -> None:
    recovery = recovering()
    assert recovery.delivered_ns == 0
    for number, (heard_ns, has_body) in enumerate([(5, True), (9, False), (7, True)]):
        lane = Lane(LaneId(number), A, R, Link(), heard_ns=heard_ns, has_body=has_body)
        recovery.lanes[lane.id] = lane
    assert recovery.delivered_ns == 7


def test_a_block_is_as_urgent_as_its_unit_or_critical_if_somebody_waits_for_it() -> None:
    recovery = recovering()
    classes = [Criticality.CRITICAL] * 2 + [Criticality.NORMAL] * 4 + [Criticality.DEFERRED] * 3
    assert [recovery.criticality_of(block) for block in range(9)] == classes
    recovery.raised = blocks((8, 9))
    assert recovery.criticality_of(8) is Criticality.CRITICAL
    assert recovery.criticality_of(7) is Criticality.DEFERRED


def test_the_class_of_a_block_is_the_run_that_is_as_urgent() -> None:
    script = Script()
    script.start(VERSION, A)
    recovery = script.recovery()
    runs = [BlockRun(0, 2)] * 2 + [BlockRun(2, 6)] * 4 + [BlockRun(6, 9)] * 3
    assert [recovery.class_of(block) for block in range(9)] == runs


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
