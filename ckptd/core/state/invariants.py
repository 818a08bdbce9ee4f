"""What must hold of the scheduler's state after every event."""

from __future__ import annotations

from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import once_for_each_node
from ckptd.core.state.recovery import Recovery
from ckptd.model.blocks import BlockSet, union
from ckptd.model.words import LocalOrder, Stage


class InvariantViolation(AssertionError):
    """The scheduler contradicts itself: a bug in ckptd, never an operating error."""


def check_invariants(state: State) -> None:
    """Check everything.

    Raises:
        InvariantViolation: Says which equation does not hold, and of what.
    """
    _check_lanes(state)
    outstanding: dict[int, int] = {}
    for lane in state.lanes.values():
        owed = sum(known.size_bytes - known.received_bytes for known in lane.transfers)
        outstanding[id(lane.link)] = outstanding.get(id(lane.link), 0) + owed
    for peer in (*state.peers.values(), state.own_disks):
        _expect(
            peer.link.outstanding_bytes == outstanding.get(id(peer.link), 0),
            f"{peer.path}: outstanding bytes are what its transfers still owe",
        )
    for recovery in state.recoveries.values():
        _check_recovery(recovery)
        if recovery.stage is Stage.TRANSFERRING:
            _check_sources(state, recovery)


def _check_lanes(state: State) -> None:
    lanes = {
        lane.id: lane
        for recovery in state.recoveries.values()
        for lane in recovery.work.lanes.values()
    }
    _expect(lanes == state.lanes, "lanes are all and only lanes of the recoveries")
    for recovery in state.recoveries.values():
        _check_bundles(recovery)
    transfers = {known.id: lane.id for lane in lanes.values() for known in lane.transfers}
    _expect(transfers == state.transfers, "transfers are all and only transfers of the lanes")
    for lane in lanes.values():
        is_known = state.known_source(lane.source) is not None
        _expect(is_known, f"lane {lane.id} leads to a known source")
        _expect(
            bool(lane.transfers) or not lane.is_closing, f"lane {lane.id} is forgotten once closed"
        )


def _check_bundles(recovery: Recovery) -> None:
    lanes = {
        (source, lane.id): lane
        for source, bundle in recovery.work.bundles.items()
        for lane in bundle.lanes
    }
    _expect(
        lanes == {(lane.source, lane.id): lane for lane in recovery.work.lanes.values()}
        and all(bundle.lanes for bundle in recovery.work.bundles.values()),
        f"{recovery.id}: bundles hold its lanes, each under its source",
    )


def _check_sources(state: State, recovery: Recovery) -> None:
    said = [
        (peer, peer.holdings[recovery.digest])
        for peer in state.peers.values()
        if peer.is_live and recovery.digest in peer.holdings
    ]
    _expect(
        recovery.swarm.source_count == len(said)
        and recovery.swarm.is_swarming == any(holding.is_growing for _, holding in said),
        f"{recovery.id}: its sources are counted",
    )
    held = once_for_each_node(said)
    _expect(
        union(holding.blocks for holding in held if holding.is_growing).issubset(
            recovery.swarm.spread.had_by[0]
        ),
        f"{recovery.id}: what other receivers have has spread",
    )


def _check_recovery(recovery: Recovery) -> None:
    name = recovery.id
    parts = (recovery.coverage.committed, recovery.commit.committing, recovery.commit.blocks)
    _expect(
        sum(map(len, parts)) == len(recovery.coverage.verified)
        and parts[0] | parts[1] | parts[2] == recovery.coverage.verified,
        f"{name}: verified = committed + committing + uncommitted, without overlap",
    )
    _expect(
        recovery.work.transfer_count
        == sum(len(lane.transfers) for lane in recovery.work.lanes.values()),
        f"{name}: in flight are all transfers of its lanes",
    )
    _expect(
        recovery.work.owed_bytes
        == sum(
            known.size_bytes - known.received_bytes
            for lane in recovery.work.lanes.values()
            for known in lane.transfers
        ),
        f"{name}: owed bytes are what its transfers still owe",
    )
    _expect(
        bool(recovery.commit.committing) <= (recovery.local.pending_order is LocalOrder.COMMIT),
        f"{name}: blocks are committing only while a commit is awaited",
    )
    _expect(
        (recovery.local.pending_order is LocalOrder.MANIFEST)
        == (recovery.stage is Stage.DESCRIBING and recovery.search.is_awaited(recovery.digest)),
        f"{name}: a manifest is awaited while somebody is asked for it",
    )
    _expect(
        not recovery.coverage.prioritized & recovery.coverage.verified,
        f"{name}: raised and verified have nothing in common",
    )
    _expect(
        recovery.coverage.needed == recovery.needs.asked - recovery.coverage.verified,
        f"{name}: needed = asked for by those who wait - verified",
    )
    _expect(
        not recovery.coverage.ahead & (recovery.coverage.verified | recovery.coverage.needed),
        f"{name}: what is fetched ahead is neither here nor waited for",
    )
    _expect(
        recovery.coverage.zeros.issubset(recovery.coverage.committed),
        f"{name}: zeros are committed from the start",
    )
    _expect(
        recovery.coverage.widened.issubset(recovery.coverage.unchosen),
        f"{name}: what is widened was unchosen",
    )
    _expect(
        (recovery.ending is not None) == (recovery.stage is Stage.DISCARDING),
        f"{name}: it has an ending just while it is discarded",
    )
    if recovery.stage is not Stage.TRANSFERRING:
        return
    owed = BlockSet(
        (known.next_block, known.blocks.end)
        for lane in recovery.work.lanes.values()
        for known in lane.transfers
        if known.next_block < known.blocks.end
    )
    full = BlockSet.full(recovery.content.space.block_count)
    _expect(
        recovery.coverage.unclaimed
        == full - recovery.coverage.verified - recovery.coverage.unchosen - owed,
        f"{name}: unclaimed = all blocks - verified - what transfers in flight owe - unchosen",
    )
    _expect(
        not recovery.coverage.unchosen & owed,
        f"{name}: nobody is asked for what is unchosen",
    )


def _expect(holds: bool, claim: str) -> None:  # noqa: FBT001 (an assertion's one argument)
    if not holds:
        raise InvariantViolation(f"does not hold: {claim}")
