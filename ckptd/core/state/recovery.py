"""What the scheduler knows: peers, recoveries, lanes, transfers.

Plain records without decisions; :mod:`ckptd.core.state.invariants` states what must hold between
them. Only :meth:`Scheduler.handle` changes them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TypeAlias

from ckptd.core.events import RecoveryRequested, Refusal
from ckptd.core.report.story import Story
from ckptd.core.report.waste import Waste
from ckptd.core.state.lane import Bundle, Lane
from ckptd.core.state.link import RateEstimate
from ckptd.core.state.spread import Spread
from ckptd.core.state.stage import MOVES
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    LaneId,
    NodeId,
    RecoveryId,
    Version,
)
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality, FailureCause, LocalOrder, Result, Stage

Precedence: TypeAlias = tuple[bool, Criticality]
"""Whether work is in the background, and how urgent it is; the lower one goes first. In the
background everything is equally urgent to others."""


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
        refusals: What this node's disk refused since :func:`advance` looked last.
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
    prioritized: BlockSet = field(default_factory=BlockSet)
    verified: BlockSet = field(default_factory=BlockSet)
    committed: BlockSet = field(default_factory=BlockSet)
    committing: BlockSet = field(default_factory=BlockSet)
    uncommitted: BlockSet = field(default_factory=BlockSet)
    uncommitted_bytes: int = 0
    is_commit_urgent: bool = False
    uncommitted_since_ns: int | None = None
    commit_started_ns: int = 0
    is_held_up: bool = False
    pending_order: LocalOrder | None = None
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
    refusals: list[Refusal] = field(default_factory=list)
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
        if block in self.prioritized:
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
