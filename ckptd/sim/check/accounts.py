"""What is written down of each node and of each of its recoveries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ckptd.core.effects import DiscardStaging, FetchRange, PrepareStaging
from ckptd.core.events import RecoveryRequested
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    OWN_DISKS,
    CheckpointName,
    Digest,
    Epoch,
    LaneId,
    NeedId,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    TransferId,
    Version,
)
from ckptd.model.words import Criticality, RivalVerdict
from ckptd.sim.node.node import Node
from ckptd.sim.world.layouts import SavedVersion

STRIKES_MAX: Final = 4
"""So often bad blocks of a version may come from a source that is asked like any other."""

EXCUSED_UNITS_MAX: Final = 4
"""With so many bad units of a version a source is asked for nothing of it that another one has."""


@dataclass(slots=True)
class Bytes:
    """Body bytes of one recovery, over all lives of its node.

    Attributes:
        received: All of them.
        reused: Of blocks that this node's disks brought, and that did not travel.
        corrupt: Of wrong blocks.
        duplicate: Of right blocks that were in staging already.
        cut: Of blocks that did not become whole.
        forgotten: Of right blocks that a crash took before they were committed.
        forgotten_max: Most that one crash took.
    """

    received: int = 0
    reused: int = 0
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
        unchosen: Blocks for which there is no room in staging, for nobody wanted them.
        left_out: Blocks that nobody wanted when it was ordered to be placed.
        reported: Blocks that were reported to the scheduler as verified.
        nearby: Blocks that this node's disks are thought to have.
        prioritized: Blocks that go first in this life, whether or not they are here.
        needs: Blocks that somebody waits for in this life, by whom, whether or not they are here.
        needed: All of these that the scheduler knows of.
        ahead: Blocks that are fetched ahead of readers, as the scheduler has it.
        committing: The commit that is under way.
        commit_ended_ns: When the last one ended.
        committed: Blocks that survive a crash.
        critical_ns: When the last critical block was committed.
        bad_by: Blocks that each origin sent wrongly, in whatever epoch.
        bad_blocks: How many wrong blocks were reported to the scheduler in this life.
        reused_bytes: How many of right blocks its node's disks brought in this life.
        body_bytes: How many body bytes were reported to it in this life.
        bytes: What became of all bytes.
        attempts: Transfers that have not ended.
    """

    request: RecoveryRequested
    asked_ns: int
    chosen: Digest | None = None
    version: SavedVersion | None = None
    unchosen: BlockSet = field(default_factory=BlockSet)
    left_out: BlockSet = field(default_factory=BlockSet)
    written: BlockSet = field(default_factory=BlockSet)
    reported: BlockSet = field(default_factory=BlockSet)
    nearby: BlockSet = field(default_factory=BlockSet)
    prioritized: BlockSet = field(default_factory=BlockSet)
    needs: dict[NeedId, BlockSet] = field(default_factory=dict)
    needed: BlockSet = field(default_factory=BlockSet)
    ahead: BlockSet = field(default_factory=BlockSet)
    committing: BlockSet = field(default_factory=BlockSet)
    commit_ended_ns: int = 0
    committed: BlockSet = field(default_factory=BlockSet)
    critical_ns: int | None = None
    bad_by: dict[Origin, BlockSet] = field(default_factory=dict)
    bad_blocks: int = 0
    reused_bytes: int = 0
    body_bytes: int = 0
    bytes: Bytes = field(default_factory=Bytes)
    attempts: dict[TransferId, Attempt] = field(default_factory=dict)

    def known_version(self) -> SavedVersion:
        """Return the version; only called once it is known."""
        assert self.version is not None, f"{self.request.recovery}: no manifest yet"
        return self.version

    def of_criticality(self, criticality: Criticality, end: int) -> BlockSet:
        """Return the blocks that have to be asked for as so urgent.

        Args:
            criticality: How urgent.
            end: The block behind the phase that is under way.
        """
        version = self.known_version()
        floor = self._floor(end)
        if self.request.is_background:
            return version.blocks if criticality is Criticality.DEFERRED else BlockSet()
        blocks, urgent = version.classes[criticality], self.prioritized | self.needed
        critical = version.classes[Criticality.CRITICAL].within(0, end)
        if criticality is Criticality.CRITICAL:
            return critical | urgent
        ahead = self.ahead - critical
        later = version.blocks.within(end, version.space.block_count)
        if criticality is Criticality.DEFERRED:
            return (blocks | later if floor is criticality else blocks) - ahead - urgent
        if floor is criticality:
            blocks |= later - version.classes[Criticality.DEFERRED]
        else:
            blocks -= later
        return (blocks | ahead) - urgent

    def _floor(self, end: int) -> Criticality:
        """Return the least urgent that is missing of a phase; what comes later is no more urgent.

        Args:
            end: The block behind the phase.
        """
        space = self.known_version().space
        start = space.phases[space.phase_at(end - 1)].blocks[0] if end else 0
        missing = (self.known_version().blocks - self.unchosen - self.reported).within(start, end)
        if not missing:
            return Criticality.NORMAL
        unit = space.manifest.units[space.unit_of(missing.last_block)]
        return max(unit.criticality, Criticality.NORMAL)

    @property
    def read(self) -> BlockSet:
        """What somebody waits for or will read, whether or not it is here."""
        return self.needed | self.prioritized | self.ahead

    def unclaimed(self) -> BlockSet:
        """Return the blocks that are not here and not under way."""
        missing = self.known_version().blocks - self.reported - self.unchosen
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
        origin: Whose blame it is what comes.
        next_block: Blocks below it have been reported.
        heard_ns: When it was ordered, or brought something last.
        ordered_ns: When it was ordered.
        received_bytes: Body bytes that were reported.
        is_proof: It shows whether a unit is right again.
    """

    order: FetchRange
    epoch: Epoch
    origin: Origin
    next_block: int
    heard_ns: int
    ordered_ns: int
    received_bytes: int = 0
    is_proof: bool = False


@dataclass(slots=True)
class DoubtAccount:
    """What a source answered when it was asked about bad blocks of a version.

    Attributes:
        excused: Units that it said in this life it does not have any more, by index.
        unproven: Blocks of units that were excused and not right since.
        blamed: Units that were blamed since they were excused last.
        bad_units: Blocks of all units of which it sent a bad one.
        sampled: Blocks that were wrong when its claim was looked at: units of their own.
        unanswered_count: How often it gave no answer in this life.
        strikes: How often bad blocks came, in whatever life.
        owed: The unit of each block that was wrong and not shown to be right since, by block;
            by ``~block`` if it was sampled.
    """

    excused: set[int] = field(default_factory=set)
    unproven: BlockSet = field(default_factory=BlockSet)
    blamed: BlockSet = field(default_factory=BlockSet)
    bad_units: BlockSet = field(default_factory=BlockSet)
    sampled: BlockSet = field(default_factory=BlockSet)
    unanswered_count: int = 0
    strikes: int = 0
    owed: dict[int, BlockSet] = field(default_factory=dict)

    @property
    def covered(self) -> BlockSet:
        """Unproven blocks of units not blamed: if one was under way it is excused as well."""
        return self.unproven - self.blamed

    @property
    def is_spent(self) -> bool:
        """It is asked for nothing of the version that another one has."""
        return self.strikes >= STRIKES_MAX or len(self.excused) >= EXCUSED_UNITS_MAX

    def strike(self, units: dict[int, BlockSet]) -> None:
        """Note blocks that came wrongly together, each with its unit."""
        self.strikes += 1
        self.owed |= units
        self.bad_units |= union(units.values())

    def begin_life(self) -> None:
        """Note another life of the source: it may deny once more, and has to prove all units."""
        self.excused.clear()
        self.unanswered_count = 0
        self.unproven |= union(self.owed.values())

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
        self.blamed -= unit

    def blame(self, unit: BlockSet, *, was_excused: bool) -> None:
        """Note that the source is blamed for a unit, and proves it if that was excused once."""
        self.blamed |= unit
        if was_excused:
            self.unproven |= unit

    def prove(self, block: int, units: BlockSet) -> None:
        """Note that the source has shown with a block that units are right again."""
        self.owed.pop(block, None)
        self.owed.pop(~block, None)
        self.unproven -= units


@dataclass(slots=True)
class NodeBook:
    """One node.

    Attributes:
        node: Which.
        recoveries: All it was ever asked for.
        attempts: The recovery of each transfer that has not ended.
        said: What each peer said last, less what it turned out not to have.
        said_ns: When it said so.
        recovering: Which versions of jobs it said it recovers.
        epochs: The life in which it said so.
        origins: Whose blame it is what comes on each path.
        lives: The last life of each origin.
        lost: Peers that do not answer.
        describing: Which manifest was asked for last, by recovery and source.
        examined: What came of looking at claims, by recovery, content and holder.
        questioned: Which blocks a source is being asked about, by source and version.
        doubts: What it answered before, by source and version.
        lanes: The source of each lane that was used in this life.
        closed: Lanes that were closed in this life.
        accused: Which wrong blocks hang on the question of who stands by which version.
        stood_by_counts: Wrong blocks that each origin stood by, in this life of the node.
        bad_counts: How many wrong blocks were reported to the scheduler, by source; ever.
    """

    node: Node
    recoveries: dict[RecoveryId, RecoveryAccount] = field(default_factory=dict)
    attempts: dict[TransferId, RecoveryAccount] = field(default_factory=dict)
    said: dict[PathId, dict[Digest, Holding]] = field(default_factory=dict)
    said_ns: dict[PathId, int] = field(default_factory=dict)
    recovering: dict[PathId, tuple[tuple[CheckpointName, Version], ...]] = field(
        default_factory=dict
    )
    epochs: dict[PathId, Epoch] = field(default_factory=dict)
    origins: dict[PathId, Origin] = field(default_factory=dict)
    lives: dict[Origin, Epoch] = field(default_factory=dict)
    lost: set[PathId] = field(default_factory=set)
    describing: dict[tuple[RecoveryId, PathId | None], Digest] = field(default_factory=dict)
    examined: dict[RecoveryId, dict[tuple[Digest, PathId], RivalVerdict]] = field(
        default_factory=dict
    )
    questioned: dict[tuple[Origin, Digest], BlockSet] = field(default_factory=dict)
    doubts: dict[tuple[Origin, Digest], DoubtAccount] = field(default_factory=dict)
    lanes: dict[LaneId, PathId] = field(default_factory=dict)
    closed: set[LaneId] = field(default_factory=set)
    accused: dict[tuple[Origin, Digest], BlockSet] = field(default_factory=dict)
    stood_by_counts: Counter[Origin] = field(default_factory=Counter)
    bad_counts: Counter[PathId] = field(default_factory=Counter)

    @property
    def name(self) -> NodeId:
        """Which node."""
        return self.node.name

    def _doubts_of(self, recovery: RecoveryAccount, source: PathId) -> DoubtAccount | None:
        origin = self.origins.get(source)
        return (
            None if origin is None else self.doubts.get((origin, recovery.known_version().digest))
        )

    def servable(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return the blocks that a source may be asked for, going by what it said and sent."""
        if source == OWN_DISKS:
            return recovery.nearby
        digest = recovery.known_version().digest
        holding = self.said.get(source, {}).get(digest)
        if holding is None or source in self.lost:
            return BlockSet()
        origin = self.origins[source]
        if (origin, digest) in self.questioned:
            return BlockSet()
        return holding.blocks - recovery.bad_by.get(origin, BlockSet())

    def surely_servable(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return those of them that a source may be asked for whatever it sent wrongly before."""
        doubts = self._doubts_of(recovery, source)
        servable = self.servable(recovery, source)
        return servable if doubts is None else servable - doubts.bad_units

    def askable(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return what a source may be asked for whether or not others are much faster.

        What this node's disks have is left to them where they are quick enough.
        """
        servable = self.surely_servable(recovery, source)
        return servable if source == OWN_DISKS else servable - recovery.nearby

    def proofs_due(self, recovery: RecoveryAccount, source: PathId) -> BlockSet:
        """Return the blocks of which a source has to show one before it is trusted again."""
        doubts = self._doubts_of(recovery, source)
        if doubts is None:
            return BlockSet()
        return doubts.unproven & self.servable(recovery, source) & recovery.unclaimed()
