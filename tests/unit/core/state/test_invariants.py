"""Each equation of the state, broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    RecoveryPaused,
)
from ckptd.core.state.invariants import InvariantViolation, check_invariants
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.spread import Spread
from ckptd.core.state.recovery import Ending
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, LaneId, NodeId, TransferId
from ckptd.model.words import LocalOrder, RangeOutcome, Result, Stage
from tests.support.scheduling import (
    A,
    B,
    C,
    R,
    Script,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    wanted,
)


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


def file_a_lane_under_another_source(state: State) -> None:
    bundles = state.recoveries[R].work.bundles
    bundles[B] = bundles.pop(A)


def keep_an_empty_bundle(state: State) -> None:
    state.recoveries[R].work.bundles[B] = Bundle()


def miscount_sources(state: State) -> None:
    state.recoveries[R].swarm.source_count += 1


def overlook_that_others_recover_it(state: State) -> None:
    state.recoveries[R].swarm.is_swarming = True


def overlook_what_has_spread(state: State) -> None:
    add_other_peers(state)
    state.recoveries[R].swarm.spread = Spread([blocks((0, 1))])


def miscount_owed_bytes(state: State) -> None:
    state.recoveries[R].work.owed_bytes += 1


def wait_for_no_manifest(state: State) -> None:
    state.recoveries[R].local.pending_order = LocalOrder.MANIFEST


def prioritize_what_is_verified(state: State) -> None:
    state.recoveries[R].coverage.prioritized = blocks((0, 1))


def ask_for_zeros(state: State) -> None:
    state.recoveries[R].coverage.zeros = blocks((60, 64))


def claim_a_block_twice(state: State) -> None:
    transfer = lane(state).transfers[-1]
    transfer.blocks = BlockRun(transfer.blocks.start, transfer.blocks.end + 1)


@pytest.mark.parametrize(
    ("break_it", "claim"),
    [
        (lose_a_lane, "lanes are all and only lanes of the recoveries"),
        (lose_a_transfer, "transfers are all and only transfers of the lanes"),
        (keep_a_transfer_that_ended, "transfers are all and only transfers of the lanes"),
        (forget_a_peer, "lane 1 leads to a known source"),
        (keep_a_closed_lane, "lane 1 is forgotten once closed"),
        (miscount_outstanding_bytes, "a: outstanding bytes are what its transfers still owe"),
        (commit_what_is_not_verified, "r-1: verified = committed + committing + uncommitted"),
        (commit_twice, "r-1: verified = committed + committing + uncommitted"),
        (miscount_transfers, "r-1: in flight are all transfers of its lanes"),
        (commit_without_waiting_for_it, "r-1: blocks are committing only while a commit is"),
        (end_without_discarding, "r-1: it has an ending just while it is discarded"),
        (discard_without_an_end, "r-1: it has an ending just while it is discarded"),
        (forget_a_block, "r-1: unclaimed = all blocks - verified - what transfers"),
        (file_a_lane_under_another_source, "r-1: bundles hold its lanes, each under its source"),
        (keep_an_empty_bundle, "r-1: bundles hold its lanes, each under its source"),
        (miscount_sources, "r-1: its sources are counted"),
        (overlook_that_others_recover_it, "r-1: its sources are counted"),
        (overlook_what_has_spread, "r-1: what other receivers have has spread"),
        (miscount_owed_bytes, "r-1: owed bytes are what its transfers still owe"),
        (wait_for_no_manifest, "r-1: a manifest is awaited while somebody is asked for it"),
        (prioritize_what_is_verified, "r-1: raised and verified have nothing in common"),
        (ask_for_zeros, "r-1: zeros are committed from the start"),
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


# States that only look as if they did


def add_other_peers(state: State) -> None:
    """Let B have a part of the version; C is lost with all of it, and D has nothing."""
    recovery, version = state.recoveries[R], saved(64)
    digest = version.digest
    for node, held, is_live in (
        (B, {digest: holding(version, blocks((0, 4)))}, True),
        (C, {digest: holding(version)}, False),
        (NodeId("d"), {}, True),
    ):
        state.peers[node] = Peer(node, Epoch(1), is_live=is_live, holdings=held)
    recovery.swarm.source_count = 2
    recovery.swarm.is_swarming = True
    recovery.swarm.spread = Spread([blocks((0, 4))])


def test_live_holders_count_as_sources_and_others_do_not() -> None:
    state = transferring()
    add_other_peers(state)
    check_invariants(state)


def test_lanes_may_be_idle_or_closing_and_a_range_may_have_come_whole() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order)
    script.tell(RecoveryPaused(R))
    script.end_all(RangeOutcome.CLOSED)
    script, version = Script(), saved(1)
    script.deliver(*ranges(script.start(version, A)))
    [idle] = script.scheduler.inspect().lanes.values()
    assert not idle.transfers
    script.tell(BlocksCommitted(R))


def test_blocks_may_be_committed_while_others_are_not() -> None:
    script, version = Script(), saved(4, critical=[1])
    [order, *_] = ranges(script.start(version, A))
    script.deliver(order)
    script.tell(BlocksCommitted(R))
    assert script.recovery().coverage.committed == blocks((0, 1))
    script.arrive(script.in_flight[-1], script.in_flight[-1].blocks.start + 1)


def test_a_manifest_may_be_waited_for_by_nobody_or_come_too_late() -> None:
    script, version = Script(), saved(4)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), wanted(version))
    script.tell(ManifestMissed(R, A, is_lie=False), ManifestMissed(R, B, is_lie=False))
    assert script.recovery().local.pending_order is None
    script.wait(5000)
    script.wait(500)
    assert set(script.recovery().search.asked) == {A, B}
    script.tell(ManifestArrived(R, B, version.space))
    assert script.recovery().stage is Stage.PREPARING
