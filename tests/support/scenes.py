"""Scenes for the scheduler's functions: what is known at one moment, set up record by record.

Where a script of events would need many to reach a state, or could not reach its boundary
exactly. Blocks are of 1 MiB, as in :mod:`tests.support.scheduling`.
"""

from __future__ import annotations

from random import Random

from ckptd.core.events import RecoveryRequested
from ckptd.core.options import Options
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.link import Link, RateEstimate
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, LaneId, NodeId, RecoveryId, TransferId
from ckptd.model.words import Criticality, Stage, StoryKind
from tests.support.scheduling import A, R, Saved, holding, saved, wanted

TRANSFERRED = saved(2, critical=[2], deferred=[4])


def known(request: RecoveryRequested | None = None, *, now: int = 1 * SECOND) -> Step:
    """Handle an event while a version is transferred that A has."""
    peer = Peer(A, Epoch(1), holdings={TRANSFERRED.digest: holding(TRANSFERRED)})
    state = State(peers={A: peer}, is_settled=True)
    recovery = Recovery(
        request or wanted(TRANSFERRED),
        1,
        0,
        Stage.TRANSFERRING,
        version=TRANSFERRED.version,
        digest=TRANSFERRED.digest,
        described=Described.of(TRANSFERRED.version, TRANSFERRED.digest, TRANSFERRED.space),
    )
    state.recoveries[R] = recovery
    return Step(state, Options(), Random(1), now=now)


def the(step: Step) -> Recovery:
    """Return the recovery of such a moment."""
    return step.state.recoveries[R]


def kinds(step: Step) -> list[StoryKind]:
    """Return what its story tells of, in order."""
    return [entry.kind for entry in the(step).story.entries]


class Scene:
    """What is known at one moment, ten seconds after the clock began."""

    def __init__(self, *, options: Options | None = None) -> None:
        self.step = Step(State(), options or Options(), Random(1), now=10 * SECOND)

    @property
    def state(self) -> State:
        return self.step.state

    @property
    def now(self) -> int:
        return self.step.now

    def recovery(
        self,
        version: Saved,
        name: RecoveryId = R,
        *,
        unclaimed: BlockSet | None = None,
        is_background: bool = False,
    ) -> Recovery:
        """Add a recovery that is transferring."""
        request = wanted(version, name, is_background=is_background)
        recovery = Recovery(request, len(self.state.recoveries), 0, stage=Stage.TRANSFERRING)
        recovery.version, recovery.digest = version.version, version.digest
        recovery.described = Described.of(version.version, version.digest, version.space)
        recovery.coverage.unclaimed = version.blocks if unclaimed is None else unclaimed
        self.state.recoveries[name] = recovery
        return recovery

    def peer(
        self, node: NodeId, *held: Saved, has: BlockSet | None = None, rate: float = 0.0
    ) -> Peer:
        """Add a peer that has some versions, or blocks of them."""
        holdings = {what.digest: holding(what, has) for what in held}
        link = Link(RateEstimate(rate, rate, rate))
        self.state.peers[node] = peer = Peer(node, Epoch(1), holdings=holdings, link=link)
        return peer

    def lane(
        self,
        recovery: Recovery,
        peer: Peer,
        *runs: tuple[int, int],
        criticality: Criticality = Criticality.NORMAL,
        has_body: bool = True,
    ) -> Lane:
        """Add a lane on which some runs of blocks were ordered."""
        state = self.state
        lane = Lane(
            LaneId(state.next_lane), peer.path, recovery.id, peer.link, self.now, has_body=has_body
        )
        state.next_lane += 1
        recovery.work.lanes[lane.id] = state.lanes[lane.id] = lane
        bundle = recovery.work.bundles.setdefault(peer.node, Bundle())
        bundle.lanes.append(lane)
        bundle.width = len(bundle.lanes)
        for start, end in runs:
            transfer = Transfer(
                TransferId(state.next_transfer),
                BlockRun(start, end),
                (end - start) * MIB,
                start,
                criticality,
            )
            state.next_transfer += 1
            lane.transfers.append(transfer)
            state.transfers[transfer.id] = lane.id
            recovery.work.transfer_count += 1
            recovery.work.owed_bytes += transfer.size_bytes
            peer.link.outstanding_bytes += transfer.size_bytes
        return lane
