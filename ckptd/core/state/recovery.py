"""What the scheduler knows of one recovery, and which stage may follow which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ckptd.core.events import RecoveryRequested
from ckptd.core.report.rivals import Rival
from ckptd.core.report.story import Story
from ckptd.core.state.record.coverage import Commit, Coverage
from ckptd.core.state.record.described import Described
from ckptd.core.state.record.joining import Joining
from ckptd.core.state.record.needs import Needs
from ckptd.core.state.record.phase_placing import PhasePlacing
from ckptd.core.state.record.phasing import Phasing
from ckptd.core.state.record.rivalry import Rivalry
from ckptd.core.state.record.search import ManifestSearch
from ckptd.core.state.record.swarm import Swarm
from ckptd.core.state.record.tally import Duplicates, Tally
from ckptd.core.state.record.work import LocalWork, SourceWork
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Origin, RecoveryId, Version
from ckptd.model.space import PhaseExtent
from ckptd.model.words import Criticality, FailureCause, Result, Stage

Precedence: TypeAlias = tuple[bool, Criticality]
"""Whether work is in the background, and how urgent it is; the lower one goes first. In the
background everything is equally urgent to others."""

MOVES: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.SEEKING: frozenset({Stage.DESCRIBING, Stage.DISCARDING}),
    Stage.DESCRIBING: frozenset({Stage.SEEKING, Stage.PREPARING, Stage.DISCARDING}),
    Stage.PREPARING: frozenset({Stage.SEEKING, Stage.TRANSFERRING, Stage.DISCARDING}),
    Stage.TRANSFERRING: frozenset(
        {Stage.SEEKING, Stage.PREPARING, Stage.PLACING, Stage.DISCARDING}
    ),
    Stage.PLACING: frozenset({Stage.SEEKING, Stage.PREPARING, Stage.DISCARDING}),
    Stage.DISCARDING: frozenset(),
}
"""Which stage may follow which; back to preparing if what was staged is lost, back to seeking if
nobody can complete what was chosen, or its manifest contradicts itself. A recovery that ended is
not in the state any more."""

assert set(MOVES) == {stage for stage in Stage if not stage.is_ended}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a recovery will end, once nothing of it is under way."""

    result: Result
    cause: FailureCause | None = None
    message: str = ""
    rivals: tuple[Rival, ...] = ()


@dataclass(slots=True)
class Recovery:
    """One run that makes a version complete on this node, or what was chosen of it.

    The block sets keep these equations while it is transferring::

        coverage.verified = coverage.committed + commit.committing + commit.blocks, no overlap
        commit.committing is not empty just while a commit is pending
        coverage.unclaimed = all blocks - verified - unchosen - what transfers in flight still owe
        coverage.prioritized = coverage.awaited - coverage.verified
        coverage.needed = needs.asked - coverage.verified
        coverage.committed has all of coverage.zeros
        coverage.unchosen has all of coverage.widened

    Attributes:
        request: What was asked for; it leaves the background if somebody asks for it again.
        sequence: Order of arrival; earlier recoveries go first within a criticality.
        started_ns: When it was asked for.
        stage: How far it is.
        is_paused: An operator wants it to stand still.
        version: The version that was chosen.
        digest: Its identity.
        described: What that consists of, once the manifest is here.
        coverage: Where each block stands.
        commit: What is verified and not durable yet.
        placing: How far it is placed, if phase by phase.
        phasing: Which phase is under way, and which milestones were reached.
        needs: Ranges that somebody waits for.
        work: What sources do for it now.
        local: What this node's disk does for it now.
        search: The search for the manifest.
        rivalry: The contents that go by its version, if there are several.
        joining: Of a job: how far its shards are known, and what they are together.
        swarm: Who else has the version, or recovers it.
        duplicates: What was asked of two sources.
        refused: Blocks that each origin sent wrongly; not asked of it again.
        starved_since_ns: Since when nobody has what is missing.
        patience_max_ns: It is waited for no longer than this, whatever the patience; ``None``: as
            long as patience lasts.
        ending: How it will end, once nothing of it is under way.
        tally: What it has cost and brought so far.
        story: What happened that was out of the ordinary.
    """

    request: RecoveryRequested
    sequence: int
    started_ns: int
    stage: Stage = Stage.SEEKING
    is_paused: bool = False
    version: Version | None = None
    digest: Digest | None = None
    described: Described | None = None
    coverage: Coverage = field(default_factory=Coverage)
    commit: Commit = field(default_factory=Commit)
    phasing: Phasing = field(default_factory=Phasing)
    placing: PhasePlacing = field(default_factory=PhasePlacing)
    needs: Needs = field(default_factory=Needs)
    work: SourceWork = field(default_factory=SourceWork)
    local: LocalWork = field(default_factory=LocalWork)
    search: ManifestSearch = field(default_factory=ManifestSearch)
    rivalry: Rivalry = field(default_factory=Rivalry)
    joining: Joining = field(default_factory=Joining)
    swarm: Swarm = field(default_factory=Swarm)
    duplicates: Duplicates = field(default_factory=Duplicates)
    refused: dict[Origin, BlockSet] = field(default_factory=dict)
    starved_since_ns: int | None = None
    patience_max_ns: int | None = None
    ending: Ending | None = None
    tally: Tally = field(default_factory=Tally)
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
        """It yields every source to recoveries that are not in the background and could use it."""
        return self.request.is_background

    @property
    def own(self) -> tuple[Holding, ...]:
        """What this node has of the checkpoint and can use."""
        missed = self.search.own_missed
        return tuple(held for held in self.request.own if held.digest not in missed)

    @property
    def wanted_version(self) -> Version | None:
        """The version that was named; ``None``: the newest is wanted, whichever that is."""
        return self.request.version if self.request.is_named else None

    @property
    def is_begun(self) -> bool:
        """Something of what was chosen may be here: verified, or left by an earlier run."""
        return self.has_content or self.digest == self.request.digest is not None

    @property
    def has_content(self) -> bool:
        """Some block is here that does not consist of zeros."""
        return not self.coverage.verified.issubset(self.coverage.zeros)

    @property
    def chosen_digest(self) -> Digest:
        """The identity of the version; only asked for once one is chosen."""
        assert self.digest is not None, f"{self.id}: no version is chosen yet"
        return self.digest

    @property
    def content(self) -> Described:
        """What the version consists of; only asked for once the manifest is here."""
        assert self.described is not None, f"{self.id}: no manifest yet"
        return self.described

    @property
    def is_disk_free(self) -> bool:
        """This node's disk does nothing for it now."""
        return self.local.pending_order is None and not self.placing.is_pending

    @property
    def is_quiet(self) -> bool:
        """Nothing of it is under way, on this node or elsewhere."""
        return self.is_disk_free and not self.work.lanes

    @property
    def critical(self) -> BlockSet:
        """The blocks of critical units that are wanted."""
        return self.content.critical - self.coverage.unchosen

    @property
    def critical_now(self) -> BlockSet:
        """The blocks of critical units of the phase that is under way, and of earlier ones."""
        critical = self.content.critical
        return critical.within(0, self.phasing.end) if self.phasing.has_several else critical

    def wanted_of_phase(self, phase: PhaseExtent) -> BlockSet:
        """Return the blocks of a phase that are wanted."""
        start, end = phase.blocks
        if start == end:
            return BlockSet()
        return BlockSet.of_run((start, end)) - self.coverage.unchosen

    def missing_of_phase(self, position: int) -> BlockSet:
        """Return which wanted blocks of one of the phases that have units are not verified."""
        return self.wanted_of_phase(self.content.space.phases[position]) - self.coverage.verified

    def wanted_units(self, phase: PhaseExtent) -> int:
        """Return how many units of a phase are wanted; empty ones always are."""
        first, last = phase.units
        start, end = phase.blocks
        if start == end or not self.coverage.unchosen:
            return last - first
        return (
            last - first - self.content.space.whole_units(self.coverage.unchosen.within(start, end))
        )

    @property
    def wanted_bytes(self) -> int:
        """Length of what is wanted of the version."""
        space = self.content.space
        return space.size_bytes - space.set_bytes(self.coverage.unchosen)

    @property
    def to_order(self) -> BlockSet:
        """The blocks that are to be ordered: all that are not, or on demand what is waited for."""
        coverage = self.coverage
        if not self.request.is_on_demand:
            return coverage.unclaimed
        return coverage.unclaimed & (coverage.needed | coverage.prioritized | coverage.ahead)

    @property
    def lacks_required(self) -> bool:
        """Blocks of required units are to be ordered."""
        return not self.coverage.unclaimed.issubset(self.content.optional)

    @property
    def left_out(self) -> BlockSet:
        """Blocks that are not here, and that nobody asked for."""
        return self.coverage.unchosen - self.coverage.verified

    @property
    def is_in_part(self) -> bool:
        """Blocks of required units are not here, and nobody asked for them."""
        return not self.left_out.issubset(self.content.optional)

    @property
    def given_up_at_ns(self) -> int | None:
        """When what nobody has is not waited for any more; ``None``: somebody has it, or never."""
        if self.starved_since_ns is None:  # as after nearly every event
            return None
        bounds_ns = (self.request.patience_ns, self.patience_max_ns)
        patience_ns = min((bound for bound in bounds_ns if bound is not None), default=None)
        return None if patience_ns is None else self.starved_since_ns + patience_ns

    @property
    def is_fetching(self) -> bool:
        """Ranges may be ordered."""
        return (
            self.stage is Stage.TRANSFERRING
            and not self.is_paused
            and not self.local.is_staging_lost
            and not self.joining.is_giving_way
            and self.local.retry_at_ns is None
        )

    def move(self, stage: Stage) -> None:
        """Go to another stage.

        Raises:
            AssertionError: The table of moves does not allow it.
        """
        assert stage in MOVES[self.stage], f"{self.id}: {self.stage.value} → {stage.value}"
        self.stage = stage

    def criticality_of(self, block: int) -> Criticality:
        """Return how urgent a block is; nothing is more urgent than what somebody waits for.

        Nothing of a phase that is not under way yet is as urgent as what is missing of that one.
        """
        coverage, space = self.coverage, self.content.space
        if block in coverage.needed or block in coverage.prioritized:
            return Criticality.CRITICAL
        criticality = space.manifest.units[space.unit_of(block)].criticality
        if block >= self.phasing.end:  # its phase is not under way yet
            criticality = max(criticality, self.phasing.floor, Criticality.NORMAL)
        return min(criticality, Criticality.NORMAL) if block in coverage.ahead else criticality

    def most_urgent(self, blocks: BlockSet) -> BlockSet:
        """Return of some blocks those that go first because of who waits or reads.

        Ranges that are waited for, in the order in which they were asked for; then prioritized
        units; then, once nothing critical is among them, what readers will ask for next. All
        blocks if there are none of these.
        """
        coverage = self.coverage
        if coverage.needed and (needed := self.needs.first_of(blocks)):
            return needed
        if coverage.prioritized and (prioritized := blocks & coverage.prioritized):
            return prioritized
        if coverage.ahead and not blocks.meets(self.critical_now):
            return blocks & coverage.ahead or blocks
        return blocks

    def precedence_of(self, criticality: Criticality) -> Precedence:
        """Return how work so urgent compares with that of other recoveries."""
        return (True, Criticality.DEFERRED) if self.is_background else (False, criticality)
