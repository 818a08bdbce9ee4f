"""What the scheduler knows: peers, recoveries, lanes, transfers.

Plain records without decisions; :mod:`ckptd.core.state.invariants` states what must hold between
them. Only :meth:`Scheduler.handle` changes them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ckptd.core.events import RecoveryRequested
from ckptd.core.report.evidence import Evidence
from ckptd.core.report.story import Story
from ckptd.core.report.waste import Waste
from ckptd.core.state.alarms import Alarms
from ckptd.core.state.lane import Bundle, Lane, Trial
from ckptd.core.state.latencies import Latencies
from ckptd.core.state.link import Link, RateEstimate
from ckptd.core.state.spread import Spread
from ckptd.core.state.stage import MOVES
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    LaneId,
    NodeId,
    RecoveryId,
    TransferId,
    Version,
)
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality, FailureCause, LocalOrder, Result, Stage

Precedence: TypeAlias = tuple[bool, Criticality]
"""Whether work is in the background, and how urgent it is; the lower one goes first. In the
background everything is equally urgent to others."""


@dataclass(slots=True)
class Peer:
    """Another daemon, as it presents itself.

    Attributes:
        node: Who it is.
        epoch: Which life of it.
        is_live: It answered when it was asked last.
        holdings: What it has, by digest. A version it turned out not to have is taken out.
        link: The path to it.
        questioned: Versions it was asked to stand by after a bad block, and how much trust
            hangs on the answer. Not asked for ranges of these meanwhile.
        evidence: What it sent wrongly, in this life and before.
    """

    node: NodeId
    epoch: Epoch
    is_live: bool = True
    holdings: dict[Digest, Holding] = field(default_factory=dict)
    link: Link = field(default_factory=Link)
    questioned: dict[Digest, int] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a recovery will end, once nothing of it is under way."""

    result: Result
    cause: FailureCause | None = None
    message: str = ""


@dataclass(slots=True)
class Recovery:
    """One run that makes a version complete on this node.

    The block sets keep these equations while it is transferring::

        verified = committed + committing + uncommitted, without overlap
        committing is not empty just while a commit is awaited
        unclaimed = all blocks - verified - what transfers in flight still owe
        raised and verified have nothing in common

    Attributes:
        request: What was asked for.
        sequence: Order of arrival; earlier recoveries go first within a criticality.
        started_ns: When it was asked for.
        stage: How far it is.
        is_paused: An operator wants it to stand still.
        version: The version that was chosen.
        digest: Its identity.
        space: Its address space, once the manifest is here.
        unclaimed: Blocks to be ordered.
        raised: Blocks that somebody waits for; ordered before all others.
        verified: Blocks that are in staging.
        committed: Blocks that are durable and journaled.
        committing: Blocks of the commit that is under way.
        uncommitted: Blocks that no commit covers yet.
        uncommitted_bytes: Length of those.
        is_awaited: Some of those somebody waits for, or they make all that is critical complete.
        uncommitted_since_ns: When the oldest block was verified that no commit covers yet.
        commit_started_ns: When the commit was ordered that is under way, or was last.
        is_held_up: A lane is due that the disk may hold up; it is looked at again when
            another one delivers or the commit ends.
        awaited: The order to this node that has not ended.
        lanes: Its lanes, by name.
        bundles: The same lanes, by source.
        in_flight: How many transfers its lanes have.
        owed_bytes: What those still owe.
        source_count: How many live peers hold any of the version.
        total_rate: What all of them together deliver, as far as that is known.
        total_rate_ns: When that was added up.
        is_swarming: Others recover the same version at the same time.
        spread: Which blocks such others have already.
        spread_grew_ns: When one of them had more than before; ``None``: not yet.
        own_place: Where in what is left of a class this node begins then, from 0 to 1; drawn anew
            each time, or nodes that met once would ask for the same blocks to the end.
        own_block: Where it goes on; -1 before it began.
        swarm_rate: What those others deliver together, added up with ``total_rate``.
        hedges: How many hedges were ordered.
        hedged_bytes: Length of those that a late source made necessary.
        raced_bytes: Length of those that two sources raced for.
        refused: Blocks a source sent wrongly in this epoch; not asked of it again.
        asked: Who was asked for a manifest and has not answered, with its digest; ``None`` is the
            journal.
        ask_again_at_ns: One more source is asked for the manifest at this moment.
        tried: Sources that did not deliver the manifest, since the last pause.
        unsigned_by: Those of them whose manifest was refused for its signatures.
        unsigned: Versions that nobody could deliver with signatures that suffice.
        signature_refusal: Why the last of them was refused; empty if none was.
        retry_at_ns: A local order is tried again at this moment.
        trouble: Why the last local order failed; empty once it worked.
        staging_losses: How often what was staged was lost.
        is_staging_lost: It is, and will be prepared anew once nothing writes there any more.
        starved_since_ns: Since when nobody has what is missing.
        ending: How it will end, once nothing of it is under way.
        class_ends: Where runs of equal criticality end: the block behind the last one.
        critical: All blocks of critical units.
        critical_at_ns: When the last critical block was committed.
        predicted_ns: How long it would take in all, said when transferring began; ``None``: that
            could not be said.
        predicted_critical_ns: … and until the last critical block was here.
        rate: How fast body bytes come from all sources together.
        bad_blocks: How many blocks had a wrong digest.
        resumed_bytes: What an earlier run left here.
        received_bytes: Body bytes from sources.
        waste: Those of them that were of no use.
        source_bytes: Verified bytes by source.
        still_since_ns: Since when nothing is asked of anybody though something is missing.
        story: What happened that was out of the ordinary.
    """

    request: RecoveryRequested
    sequence: int
    started_ns: int
    stage: Stage = Stage.SEEKING
    is_paused: bool = False
    version: Version | None = None
    digest: Digest | None = None
    space: AddressSpace | None = None
    unclaimed: BlockSet = field(default_factory=BlockSet)
    raised: BlockSet = field(default_factory=BlockSet)
    verified: BlockSet = field(default_factory=BlockSet)
    committed: BlockSet = field(default_factory=BlockSet)
    committing: BlockSet = field(default_factory=BlockSet)
    uncommitted: BlockSet = field(default_factory=BlockSet)
    uncommitted_bytes: int = 0
    is_awaited: bool = False
    uncommitted_since_ns: int | None = None
    commit_started_ns: int = 0
    is_held_up: bool = False
    awaited: LocalOrder | None = None
    lanes: dict[LaneId, Lane] = field(default_factory=dict)
    bundles: dict[NodeId, Bundle] = field(default_factory=dict)
    in_flight: int = 0
    owed_bytes: int = 0
    source_count: int = 0
    total_rate: float = 0.0
    total_rate_ns: int = 0
    is_swarming: bool = False
    spread: Spread = field(default_factory=Spread)
    spread_grew_ns: int | None = None
    own_place: float = 0.0
    own_block: int = -1
    swarm_rate: float = 0.0
    hedges: int = 0
    hedged_bytes: int = 0
    raced_bytes: int = 0
    refused: dict[NodeId, BlockSet] = field(default_factory=dict)
    asked: dict[NodeId | None, Digest] = field(default_factory=dict)
    ask_again_at_ns: int | None = None
    tried: set[NodeId] = field(default_factory=set)
    unsigned_by: set[NodeId] = field(default_factory=set)
    unsigned: set[Digest] = field(default_factory=set)
    signature_refusal: str = ""
    retry_at_ns: int | None = None
    trouble: str = ""
    staging_losses: int = 0
    is_staging_lost: bool = False
    starved_since_ns: int | None = None
    ending: Ending | None = None
    class_ends: tuple[int, ...] = ()
    critical: BlockSet = field(default_factory=BlockSet)
    critical_at_ns: int | None = None
    predicted_ns: int | None = None
    predicted_critical_ns: int | None = None
    rate: RateEstimate = field(default_factory=RateEstimate)
    bad_blocks: int = 0
    resumed_bytes: int = 0
    received_bytes: int = 0
    waste: Waste = field(default_factory=Waste)
    source_bytes: dict[NodeId, int] = field(default_factory=dict)
    still_since_ns: int | None = None
    story: Story = field(default_factory=Story)

    @property
    def id(self) -> RecoveryId:
        """Its name."""
        return self.request.recovery

    @property
    def checkpoint(self) -> CheckpointName:
        """What it recovers."""
        return self.request.checkpoint

    @property
    def is_background(self) -> bool:
        """It leaves every source to recoveries that are not and could use it."""
        return self.request.is_background

    def move(self, stage: Stage) -> None:
        """Go to another stage.

        Raises:
            AssertionError: The table of moves does not allow it.
        """
        assert stage in MOVES[self.stage], f"{self.id}: {self.stage.value} → {stage.value}"
        self.stage = stage

    @property
    def is_fetching(self) -> bool:
        """Ranges may be ordered."""
        return (
            self.stage is Stage.TRANSFERRING
            and not self.is_paused
            and not self.is_staging_lost
            and self.retry_at_ns is None
        )

    @property
    def delivered_ns(self) -> int:
        """When one of its lanes brought something last; 0 if none did."""
        return max((lane.heard_ns for lane in self.lanes.values() if lane.has_body), default=0)

    def known_space(self) -> AddressSpace:
        """Return the address space; only called once the manifest is here."""
        assert self.space is not None, f"{self.id}: no manifest yet"
        return self.space

    def criticality_of(self, block: int) -> Criticality:
        """Return how urgent a block is; nothing is more urgent than what somebody waits for."""
        if block in self.raised:
            return Criticality.CRITICAL
        space = self.known_space()
        return space.manifest.units[space.unit_of(block)].criticality

    def class_of(self, block: int) -> BlockRun:
        """Return the blocks around one that are as urgent by what the manifest says."""
        index = bisect_right(self.class_ends, block)
        return BlockRun(self.class_ends[index - 1] if index else 0, self.class_ends[index])

    def precedence_of(self, criticality: Criticality) -> Precedence:
        """Return how work so urgent compares with that of other recoveries."""
        return (True, Criticality.DEFERRED) if self.is_background else (False, criticality)


@dataclass(slots=True)
class State:
    """Everything.

    Attributes:
        peers: By node.
        recoveries: All and only recoveries that have not ended.
        transfers: The lane of each transfer in flight; all and only transfers of the lanes.
        lanes: All and only lanes of the recoveries, by name.
        first_bytes: How long first bytes took lately, over all links.
        now_ns: When the last event became known.
        best_rate: The most that came in one second, over recoveries that ended; each takes a
            tenth off it, for networks change.
        is_settled: Every known peer was asked once.
        is_paced: Something was not asked for because enough is in flight: every source is to be
            looked at again when less is.
        trial: The trial of another number of lanes that is under way.
        trials_failed: How many in a row taught that the number was right.
        next_trial_ns: No trial begins before this moment.
        lane_alarms: When each lane is late or idle for too long.
        peer_alarms: When each resting peer may be asked again.
        recovery_alarms: When each recovery has something to do though nothing happened.
        next_lane: The next lane's name.
        next_transfer: The next transfer's name.
        next_sequence: The next recovery's place in the order of arrival.
    """

    peers: dict[NodeId, Peer] = field(default_factory=dict)
    recoveries: dict[RecoveryId, Recovery] = field(default_factory=dict)
    lanes: dict[LaneId, Lane] = field(default_factory=dict)
    transfers: dict[TransferId, LaneId] = field(default_factory=dict)
    first_bytes: Latencies = field(default_factory=Latencies)
    now_ns: int = 0
    best_rate: float = 0.0
    is_settled: bool = False
    is_paced: bool = False
    trial: Trial | None = None
    trials_failed: int = 0
    next_trial_ns: int = 0
    lane_alarms: Alarms[LaneId] = field(default_factory=Alarms)
    peer_alarms: Alarms[NodeId] = field(default_factory=Alarms)
    recovery_alarms: Alarms[RecoveryId] = field(default_factory=Alarms)
    next_lane: int = 1
    next_transfer: int = 1
    next_sequence: int = 1

    def live_holdings(self) -> Iterator[Holding]:
        """Yield what all live peers hold: what a version is chosen from."""
        for peer in self.peers.values():
            if peer.is_live:
                yield from peer.holdings.values()
