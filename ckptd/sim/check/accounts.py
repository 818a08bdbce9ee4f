"""What is written down of each node and of each of its recoveries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ckptd.core.effects import DiscardStaging, FetchRange, PrepareStaging
from ckptd.core.events import RecoveryRequested
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, Epoch, LaneId, NodeId, PathId, RecoveryId, TransferId
from ckptd.model.words import Criticality, RivalVerdict
from ckptd.sim.node.node import Node
from ckptd.sim.world.layouts import SavedVersion


@dataclass(slots=True)
class Bytes:
    """Body bytes of one recovery, over all lives of its node.

    Attributes:
        received: All of them.
        corrupt: Of wrong blocks.
        duplicate: Of right blocks that were in staging already.
        cut: Of blocks that did not become whole.
        forgotten: Of right blocks that a crash took before they were committed.
        forgotten_max: Most that one crash took.
    """

    received: int = 0
    corrupt: int = 0
    duplicate: int = 0
    cut: int = 0
    forgotten: int = 0
    forgotten_max: int = 0


@dataclass(slots=True)
class RecoveryAccount:
    """One recovery on one node, over all lives of that node.

    Attributes:
        request: What was asked for first.
        asked_ns: When.
        chosen: Which content it was last said to be for.
        version: Which version it is for, once known.
        written: Blocks of which a right copy lies in staging.
        reported: Blocks that were reported to the scheduler as verified.
        prioritized: Blocks that go first in this life, whether or not they are here.
        committing: The commit that is under way.
        commit_ended_ns: When the last one ended.
        committed: Blocks that survive a crash.
        critical_ns: When the last critical block was committed.
        bad_by: Blocks that each source sent wrongly in its present epoch.
        bad_blocks: How many wrong blocks were reported to the scheduler in this life.
        body_bytes: How many body bytes were reported to it in this life.
        bytes: What became of all bytes.
        attempts: Transfers that have not ended.
    """

    request: RecoveryRequested
    asked_ns: int
    chosen: Digest | None = None
    version: SavedVersion | None = None
    written: BlockSet = field(default_factory=BlockSet)
    reported: BlockSet = field(default_factory=BlockSet)
    prioritized: BlockSet = field(default_factory=BlockSet)
    committing: BlockSet = field(default_factory=BlockSet)
    commit_ended_ns: int = 0
    committed: BlockSet = field(default_factory=BlockSet)
    critical_ns: int | None = None
    bad_by: dict[PathId, BlockSet] = field(default_factory=dict)
    bad_blocks: int = 0
    body_bytes: int = 0
    bytes: Bytes = field(default_factory=Bytes)
    attempts: dict[TransferId, Attempt] = field(default_factory=dict)

    def known_version(self) -> SavedVersion:
        """Return the version; only called once it is known."""
        assert self.version is not None, f"{self.request.recovery}: no manifest yet"
        return self.version

    def of_criticality(self, criticality: Criticality) -> BlockSet:
        """Return the blocks that have to be asked for as so urgent."""
        version = self.known_version()
        if self.request.is_background:
            return version.blocks if criticality is Criticality.DEFERRED else BlockSet()
        blocks = version.classes[criticality]
        return (
            blocks | self.prioritized
            if criticality is Criticality.CRITICAL
            else blocks - self.prioritized
        )

    def unclaimed(self) -> BlockSet:
        """Return the blocks that are not here and not under way."""
        missing = self.known_version().blocks - self.reported
        for attempt in self.attempts.values():
            if attempt.next_block < attempt.order.blocks.end:
                missing = missing.without_run((attempt.next_block, attempt.order.blocks.end))
        return missing

    def note_removal(self, order: PrepareStaging | DiscardStaging) -> None:
        """Note that staging is removed, or makes room for another content.

        Nothing of it counts from then on: a crash may come before it is reported.
        """
        version = self.version
        if isinstance(order, DiscardStaging) or (version and version.digest != order.digest):
            self.committed = self.written = self.reported = BlockSet()
            self.critical_ns = None


@dataclass(slots=True)
class Attempt:
    """A transfer that has not ended.

    Attributes:
        order: What was ordered.
        epoch: Which life of its source it was ordered from.
        next_block: Blocks below it have been reported.
        heard_ns: When it was ordered, or brought something last.
        ordered_ns: When it was ordered.
        received_bytes: Body bytes that were reported.
        is_proof: It shows whether a unit is right again.
    """

    order: FetchRange
    epoch: Epoch
    next_block: int
    heard_ns: int
    ordered_ns: int
    received_bytes: int = 0
    is_proof: bool = False


@dataclass(slots=True)
class DoubtAccount:
    """What a source answered when it was asked about bad blocks of a version.

    Attributes:
        excused: Units that it said it does not have any more, by index.
        unproven: Blocks of units that were excused and not right since.
        covered: Those of them that were not blamed since: what is under way is excused as well.
        bad_units: Blocks of all units of which it sent a bad one.
        sampled: Blocks that were wrong when its claim was looked at: units of their own.
        unanswered_count: How often it gave no answer.
    """

    excused: set[int] = field(default_factory=set)
    unproven: BlockSet = field(default_factory=BlockSet)
    covered: BlockSet = field(default_factory=BlockSet)
    bad_units: BlockSet = field(default_factory=BlockSet)
    sampled: BlockSet = field(default_factory=BlockSet)
    unanswered_count: int = 0

    def units_among(self, blocks: BlockSet, version: SavedVersion | None) -> dict[int, BlockSet]:
        """Return the doubted units that some blocks belong to, by index; ``~block`` if sampled.

        Args:
            blocks: Which blocks.
            version: What they are of, if its manifest is here.
        """
        units = {~block: BlockSet.single(block) for block in blocks & self.sampled}
        if version is not None:
            for block in blocks & self.bad_units:
                index = version.space.unit_of(block)
                units[index] = BlockSet.of_run(version.space.unit_run(index))
        return units

    def excuse(self, unit: BlockSet) -> None:
        """Note that a unit is excused, with what is under way of it."""
        self.unproven |= unit
        self.covered |= unit

    def blame(self, unit: BlockSet, *, was_excused: bool) -> None:
        """Note that the source is blamed for a unit, and proves it if that was excused once."""
        self.covered -= unit
        if was_excused:
            self.unproven |= unit

    def prove(self, units: BlockSet) -> None:
        """Note that the source has shown that units are right again."""
        self.unproven -= units
        self.covered -= units


@dataclass(slots=True)
class NodeBook:
    """One node.

    Attributes:
        node: Which.
        recoveries: All it was ever asked for.
        attempts: The recovery of each transfer that has not ended.
        said: What each peer said last, less what it turned out not to have.
        said_ns: When it said so.
        epochs: The life in which it said so.
        lost: Peers that do not answer.
        describing: Which manifest was asked for last, by recovery and source.
        examined: What came of looking at claims, by recovery, content and holder.
        questioned: Which blocks a source is being asked about, by source and version.
        doubts: What it answered before, by source and version.
        lanes: The source of each lane that was used in this life.
        closed: Lanes that were closed in this life.
        accused: Which wrong blocks hang on the question of who stands by which version.
        stood_by_counts: Wrong blocks that each source stood by in its present epoch, in this life.
        bad_counts: How many wrong blocks were reported to the scheduler, by source; ever.
    """

    node: Node
    recoveries: dict[RecoveryId, RecoveryAccount] = field(default_factory=dict)
    attempts: dict[TransferId, RecoveryAccount] = field(default_factory=dict)
    said: dict[PathId, dict[Digest, Holding]] = field(default_factory=dict)
    said_ns: dict[PathId, int] = field(default_factory=dict)
    epochs: dict[PathId, Epoch] = field(default_factory=dict)
    lost: set[PathId] = field(default_factory=set)
    describing: dict[tuple[RecoveryId, PathId | None], Digest] = field(default_factory=dict)
    examined: dict[RecoveryId, dict[tuple[Digest, PathId], RivalVerdict]] = field(
        default_factory=dict
    )
    questioned: dict[tuple[PathId, Digest], BlockSet] = field(default_factory=dict)
    doubts: dict[tuple[PathId, Digest], DoubtAccount] = field(default_factory=dict)
    lanes: dict[LaneId, PathId] = field(default_factory=dict)
    closed: set[LaneId] = field(default_factory=set)
    accused: dict[tuple[PathId, Digest], BlockSet] = field(default_factory=dict)
    stood_by_counts: Counter[PathId] = field(default_factory=Counter)
    bad_counts: Counter[PathId] = field(default_factory=Counter)

    @property
    def name(self) -> NodeId:
        """Which node."""
        return self.node.name

    def servable(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return the blocks that a source may be asked for, going by what it said and sent."""
        digest = recovery.known_version().digest
        holding = self.said.get(source, {}).get(digest)
        if holding is None or source in self.lost or (source, digest) in self.questioned:
            return BlockSet()
        return holding.blocks - recovery.bad_by.get(source, BlockSet())

    def surely_servable(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return those of them that a source may be asked for whatever it sent wrongly before."""
        doubts = self.doubts.get((source, recovery.known_version().digest))
        servable = self.servable(recovery, source)
        return servable if doubts is None else servable - doubts.bad_units

    def proofs_due(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return the blocks of which a source has to show one before it is trusted again."""
        doubts = self.doubts.get((source, recovery.known_version().digest))
        if doubts is None:
            return BlockSet()
        return doubts.unproven & self.servable(recovery, source) & recovery.unclaimed()
