"""What lanes owe, and which of a bundle has least to do."""

from __future__ import annotations

from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.link import Link
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import LaneId, TransferId
from tests.support.scheduling import A, R


def lane(number: int, *sizes: tuple[int, int]) -> Lane:
    """Make a lane with transfers of so many bytes, of which so many came."""
    made = Lane(LaneId(number), A, R, Link(), heard_ns=0)
    for index, (size_bytes, received_bytes) in enumerate(sizes):
        transfer = Transfer(TransferId(index), BlockRun(0, 1), size_bytes, 0)
        transfer.received_bytes = received_bytes
        made.transfers.append(transfer)
    return made


def test_a_lane_owes_what_has_not_come_of_its_transfers() -> None:
    assert lane(1).owed_bytes == 0
    assert lane(1, (10, 3), (5, 0)).owed_bytes == 12


def test_lanes_with_transfers_are_active() -> None:
    assert Bundle([lane(1), lane(2, (1, 0)), lane(3, (1, 0), (2, 0))]).active_count == 2
    assert Bundle().active_count == 0


def test_the_lane_with_fewest_transfers_has_least_to_do_the_oldest_of_equals() -> None:
    two, one, other = lane(1, (1, 0), (1, 0)), lane(2, (9, 0)), lane(3, (1, 0))
    assert Bundle([two, one, other]).least_loaded() is one
    assert Bundle([two]).least_loaded() is two
    assert Bundle().least_loaded() is None


def test_a_lane_that_ends_is_given_nothing() -> None:
    closing, surplus, busy = lane(1), lane(2), lane(3, (1, 0))
    closing.is_closing = True
    surplus.is_surplus = True
    assert Bundle([closing, surplus, busy]).least_loaded() is busy
    assert Bundle([closing, surplus]).least_loaded() is None
