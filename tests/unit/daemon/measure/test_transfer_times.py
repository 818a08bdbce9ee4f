from __future__ import annotations

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import RangeEnded, RangeProgressed, TimePassed
from ckptd.daemon.measure.transfer_times import TransferTimes
from ckptd.limits import MS
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Digest, LaneId, NodeId, RecoveryId, TransferId
from ckptd.model.words import Criticality, RangeOutcome
from ckptd.observe.durations import NO_TRANSFERS

ONE, TWO = RecoveryId("r-1"), RecoveryId("r-2")


def order(transfer: int) -> list[Effect]:
    return [
        FetchRange(
            TransferId(transfer),
            ONE,
            Digest("ab" * 32),
            NodeId("b"),
            LaneId(1),
            BlockRun(0, 1),
            Criticality.NORMAL,
        )
    ]


def test_a_transfer_is_timed_from_its_order_to_first_byte_and_end() -> None:
    times = TransferTimes(lambda _: False)
    times.note([TimePassed()], order(1), now=0)
    times.note([RangeProgressed(TransferId(1), 0, 0)], [], now=10 * MS)
    times.note([RangeProgressed(TransferId(1), 100, 0)], [], now=20 * MS)
    times.note([RangeProgressed(TransferId(1), 200, 1)], [], now=30 * MS)
    times.note([RangeEnded(TransferId(1), RangeOutcome.DELIVERED)], [], now=40 * MS)
    assert times.first_bytes == {"normal": NO_TRANSFERS.plus(0.02)}
    assert (sum(times.ranges.counts), times.ranges.sum_s) == (1, 0.04)
    assert times.outcomes == {"delivered": 1}
    assert times.received_bytes == {"normal": 200}


def test_a_transfer_that_fails_counts_by_its_outcome_alone() -> None:
    times = TransferTimes(lambda _: False)
    times.note([TimePassed()], order(1), now=0)
    times.note([RangeEnded(TransferId(1), RangeOutcome.BUSY)], order(2), now=MS)
    assert sum(times.ranges.counts) == 0
    assert times.outcomes == {"busy": 1}
    assert times._open.keys() == {2}


def test_a_first_byte_counts_in_the_class_in_which_it_was_asked_for() -> None:
    times = TransferTimes(lambda recovery: recovery == ONE)
    times.note([TimePassed()], order(1), now=0)
    times.note([RangeProgressed(TransferId(1), 100, 0)], [], now=20 * MS)
    assert times.first_bytes == {"background": NO_TRANSFERS.plus(0.02)}
