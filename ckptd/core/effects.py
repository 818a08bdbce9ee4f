"""Orders given by the scheduler. Imperative; each is a value.

Every order that starts something ends with exactly one of the events in its row of
:data:`ENDS`, however late; ``FetchRange`` has any number of ``RangeProgressed`` before. An order
with an empty row is done when it is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, get_args

from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    HoldingConfirmed,
    JoinRefused,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    ManifestsJoined,
    PhaseHeld,
    PhasePlaced,
    PlacementFailed,
    RangeEnded,
    RivalExamined,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    StagingWidened,
    VersionPlaced,
    WideningRefused,
)
from ckptd.core.report.rivals import Rival
from ckptd.core.report.verdicts import Explanation
from ckptd.core.report.views import RecoverySnapshot
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    LaneId,
    NeedId,
    PathId,
    RecoveryId,
    TransferId,
    Version,
)
from ckptd.model.milestones import Milestone
from ckptd.model.space import AddressSpace
from ckptd.model.words import CloseReason, Criticality, FailureCause, Result


@dataclass(frozen=True, slots=True)
class FetchManifest:
    """Get a manifest and check that it has this digest.

    Attributes:
        recovery: For which recovery.
        source: Whom to ask; ``None`` for this node itself: an interrupted recovery left it in the
            journal, or the catalog has it.
        digest: Which manifest.
    """

    recovery: RecoveryId
    source: PathId | None
    digest: Digest


@dataclass(frozen=True, slots=True)
class DropManifest:
    """Wait no longer for a manifest that was ordered; that order ends all the same, as missed.

    Attributes:
        recovery: For which recovery.
        source: Who was asked.
        digest: Which manifest.
    """

    recovery: RecoveryId
    source: PathId
    digest: Digest


@dataclass(frozen=True, slots=True)
class JoinManifests:
    """Join the manifests of some shards of a version, which are here, to one.

    Attributes:
        recovery: For which recovery.
        job: The job whose shards they are.
        version: Of which version.
        members: The shards' versions, in ascending order of the shards.
    """

    recovery: RecoveryId
    job: CheckpointName
    version: Version
    members: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ExamineRival:
    """Look whether a holder has the content that it claims, one of several of a version.

    Its manifest is fetched and must have this digest, decode and be signed as this node requires;
    one block is fetched and must be right. Nothing of it is kept.

    Attributes:
        recovery: For which recovery.
        version: Which version it must be of.
        digest: Which content.
        source: Who claims it.
        block: Which block, drawn here; ``None``: it has none.
    """

    recovery: RecoveryId
    version: Version
    digest: Digest
    source: PathId
    block: int | None


@dataclass(frozen=True, slots=True)
class PrepareStaging:
    """Check and reserve space, open the staging directory, hash again what lies there.

    Attributes:
        recovery: For which recovery.
        digest: Which version.
        space: What it consists of.
        unchosen: Blocks that are not wanted: no room is made for them.
    """

    recovery: RecoveryId
    digest: Digest
    space: AddressSpace
    unchosen: BlockSet = field(default_factory=BlockSet)


@dataclass(frozen=True, slots=True)
class WidenStaging:
    """Make room for more of the version; ranges of the rest go on arriving meanwhile.

    Attributes:
        recovery: For which recovery.
        blocks: For which blocks; none of them is wanted of anybody before this ends.
    """

    recovery: RecoveryId
    blocks: BlockSet


@dataclass(frozen=True, slots=True)
class FetchRange:
    """Ask a source for a range; every block goes through verification into staging.

    Attributes:
        transfer: A name for the attempt, never used before.
        recovery: For which recovery.
        digest: Identity of the version.
        source: Whom to ask.
        lane: On which of its lanes; one that was not named before is opened first. Ranges
            of one lane are answered in the order in which they were ordered.
        blocks: What to ask for.
        criticality: How urgent it is; the source queues by it.
    """

    transfer: TransferId
    recovery: RecoveryId
    digest: Digest
    source: PathId
    lane: LaneId
    blocks: BlockRun
    criticality: Criticality


@dataclass(frozen=True, slots=True)
class CloseLane:
    """Close a lane at once. Transfers still on it end as ``CLOSED``; what they verified stays."""

    lane: LaneId
    source: PathId
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class ConfirmHolding:
    """Ask a source whether it stands by blocks of a version that were bad when they came.

    Attributes:
        source: Whom to ask.
        digest: Identity of the version.
        blocks: The bad blocks.
    """

    source: PathId
    digest: Digest
    blocks: BlockSet


@dataclass(frozen=True, slots=True)
class CommitBlocks:
    """Make verified blocks durable, then write them into the journal."""

    recovery: RecoveryId
    blocks: BlockSet


@dataclass(frozen=True, slots=True)
class PlaceVersion:
    """Put the version under its final name.

    Attributes:
        recovery: Which recovery.
        missing: Blocks that are not here. Units with such blocks are left out; empty unless
            the recovery ran out of patience, or not all units were asked for.
        unchosen: Those of them that nobody asked for.
    """

    recovery: RecoveryId
    missing: BlockSet
    unchosen: BlockSet = field(default_factory=BlockSet)


@dataclass(frozen=True, slots=True)
class PlacePhase:
    """Put the units of a phase under their final names, while those of later ones still travel.

    Commits go on meanwhile, and blocks of other units go on arriving.

    Attributes:
        recovery: Which recovery.
        phase: Which of the manifest's phases; all before it were placed.
        name: Its name.
        missing: Blocks that are not durable here, of any phase; their units stay behind.
    """

    recovery: RecoveryId
    phase: int
    name: str
    missing: BlockSet


@dataclass(frozen=True, slots=True)
class DiscardStaging:
    """Remove whatever a recovery left on the disk.

    Attributes:
        recovery: Which recovery.
        withdraws_placed: Also what it placed by phases, if nobody changed it since.
    """

    recovery: RecoveryId
    withdraws_placed: bool = False


@dataclass(frozen=True, slots=True)
class ChooseVersion:
    """Note which version a recovery is for, so that a restart goes on with the same one.

    Attributes:
        recovery: Which recovery.
        checkpoint: What it recovers.
        version: Which version was chosen.
        digest: Its identity.
        why: Why this one, for a person.
    """

    recovery: RecoveryId
    checkpoint: CheckpointName
    version: Version
    digest: Digest
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class EndRecovery:
    """Note that a recovery is over, and report it to those who wait.

    Attributes:
        recovery: Which recovery.
        result: How it ended.
        final: The last view of it; the scheduler knows nothing of it any more.
        cause: With ``FAILED``: what made it fail.
        message: With ``FAILED``: the sentence for a person.
        rivals: With the cause ``CONFLICT``: the contents to choose from.
        explanation: Why it went as it did.
    """

    recovery: RecoveryId
    result: Result
    final: RecoverySnapshot = field(compare=False)
    cause: FailureCause | None = None
    message: str = ""
    rivals: tuple[Rival, ...] = field(default=(), compare=False)
    explanation: Explanation | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AnnounceMilestone:
    """Note that a recovery has reached a milestone, and report it to those who wait.

    Attributes:
        recovery: Which recovery.
        milestone: Which one.
        name: Of a phase: its name.
    """

    recovery: RecoveryId
    milestone: Milestone
    name: str = ""


@dataclass(frozen=True, slots=True)
class WakeReader:
    """Let whoever waits for a range know that more of it is here."""

    recovery: RecoveryId
    need: NeedId


Effect: TypeAlias = (
    FetchManifest
    | DropManifest
    | JoinManifests
    | ExamineRival
    | PrepareStaging
    | WidenStaging
    | FetchRange
    | CloseLane
    | ConfirmHolding
    | CommitBlocks
    | PlacePhase
    | PlaceVersion
    | DiscardStaging
    | ChooseVersion
    | WakeReader
    | AnnounceMilestone
    | EndRecovery
)

ENDS: Final[Mapping[type[Effect], frozenset[type[Event]]]] = {
    FetchManifest: frozenset({ManifestArrived, ManifestMissed, ManifestRefused}),
    DropManifest: frozenset(),
    JoinManifests: frozenset({ManifestsJoined, JoinRefused}),
    ExamineRival: frozenset({RivalExamined}),
    PrepareStaging: frozenset({StagingPrepared, StagingRefused}),
    WidenStaging: frozenset({StagingWidened, WideningRefused}),
    FetchRange: frozenset({RangeEnded}),
    CloseLane: frozenset(),
    ConfirmHolding: frozenset({HoldingConfirmed}),
    CommitBlocks: frozenset({BlocksCommitted, CommitFailed}),
    PlacePhase: frozenset({PhasePlaced, PhaseHeld}),
    PlaceVersion: frozenset({VersionPlaced, PlacementFailed}),
    DiscardStaging: frozenset({StagingDiscarded}),
    ChooseVersion: frozenset(),
    WakeReader: frozenset(),
    AnnounceMilestone: frozenset(),
    EndRecovery: frozenset(),
}
"""By order. Closing a lane ends its transfers, each with a ``RangeEnded`` of its own."""

ENDED_BY: Final[Mapping[type[Event], type[Effect]]] = {
    event: effect for effect, events in ENDS.items() for event in events
}
"""The same by event: which order it ends. Other events end none."""

assert set(ENDS) == set(get_args(Effect)), "every order has a row"
assert set(ENDED_BY) <= set(get_args(Event)), "rows hold events"
assert len(ENDED_BY) == sum(map(len, ENDS.values())), "an event ends one kind of order"
