"""Each equation of the state, broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckptd.core.state.invariants import InvariantViolation, check_invariants
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane
from ckptd.core.state.recovery import Ending
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, TransferId
from ckptd.model.words import Result, Stage
from tests.support.scheduling import A, R, Script, blocks, ranges, saved


def transferring() -> State:
    """Bring a recovery of 64 blocks so far that two ranges are in flight and a block is here."""
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    return script.scheduler.inspect()


def lane(state: State) -> Lane:
    return state.lanes[LaneId(1)]


def lose_a_lane(state: State) -> None:
    del state.lanes[LaneId(1)]


def lose_a_transfer(state: State) -> None:
    del state.transfers[TransferId(2)]


def keep_a_transfer_that_ended(state: State) -> None:
    lane(state).transfers.pop()


def forget_a_peer(state: State) -> None:
    del state.peers[A]


def keep_a_closed_lane(state: State) -> None:
    lane(state).is_closing = True
    lane(state).transfers.clear()
    state.transfers.clear()


def miscount_outstanding_bytes(state: State) -> None:
    state.peers[A].link.outstanding_bytes += 1


def commit_what_is_not_verified(state: State) -> None:
    state.recoveries[R].coverage.committed = blocks((5, 6))
    state.recoveries[R].commit.blocks = BlockSet()


def commit_twice(state: State) -> None:
    state.recoveries[R].coverage.committed = state.recoveries[R].commit.committing = blocks((0, 1))


def commit_without_waiting_for_it(state: State) -> None:
    state.recoveries[R].commit.committing = blocks((0, 1))
    state.recoveries[R].commit.blocks = BlockSet()


def miscount_transfers(state: State) -> None:
    state.recoveries[R].work.transfer_count += 1


def end_without_discarding(state: State) -> None:
    state.recoveries[R].ending = Ending(Result.CANCELLED)


def discard_without_an_end(state: State) -> None:
    state.recoveries[R].stage = Stage.DISCARDING


def forget_a_block(state: State) -> None:
    state.recoveries[R].coverage.unclaimed -= BlockSet.single(63)


def claim_a_block_twice(state: State) -> None:
    transfer = lane(state).transfers[-1]
    transfer.blocks = BlockRun(transfer.blocks.start, transfer.blocks.end + 1)


@pytest.mark.parametrize(
    ("break_it", "claim"),
    [
        (lose_a_lane, "lanes are all and only lanes of the recoveries"),
        (lose_a_transfer, "transfers are all and only transfers of the lanes"),
        (keep_a_transfer_that_ended, "transfers are all and only transfers of the lanes"),
        (forget_a_peer, "lane 1 leads to a known peer"),
        (keep_a_closed_lane, "lane 1 is forgotten once closed"),
        (miscount_outstanding_bytes, "a: outstanding bytes are what its transfers still owe"),
        (commit_what_is_not_verified, "r-1: verified = committed + committing + uncommitted"),
        (commit_twice, "r-1: verified = committed + committing + uncommitted"),
        (miscount_transfers, "r-1: in flight are all transfers of its lanes"),
        (commit_without_waiting_for_it, "r-1: blocks are committing only while a commit is"),
        (end_without_discarding, "r-1: it has an ending just while it is discarded"),
        (discard_without_an_end, "r-1: it has an ending just while it is discarded"),
        (forget_a_block, "r-1: unclaimed = all blocks - verified - what transfers"),
        (claim_a_block_twice, "r-1: unclaimed = all blocks - verified - what transfers"),
    ],
)
def test_a_state_that_contradicts_itself_is_found(
    break_it: Callable[[State], None], claim: str
) -> None:
    state = transferring()
    check_invariants(state)
    break_it(state)
    with pytest.raises(InvariantViolation, match="does not hold: ") as caught:
        check_invariants(state)
    assert claim in str(caught.value)
