"""Facts reported to the scheduler. Past tense; each is a value.

Which of them end which orders is the table in :data:`ckptd.core.effects.ENDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ckptd.errors import (
    CkptdError,
    ContradictoryManifest,
    ExitCode,
    InvalidManifest,
    NewerManifest,
    Shortage,
    StagingLost,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    NeedId,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    TransferId,
    Version,
)
from ckptd.model.joint import Joint
from ckptd.model.milestones import Milestone
from ckptd.model.space import AddressSpace
from ckptd.model.words import Confirmation, RangeOutcome, RateOrigin, RivalVerdict


@dataclass(frozen=True, slots=True)
class HoldingsArrived:
    """A peer said what it holds. Replaces what it said before.

    Attributes:
        node: Which node.
        epoch: Which life of it.
        holdings: All that it holds.
        path: Over which of the paths to it; each is a source of its own.
        origin: Under what blame is kept for what comes on it.
        recovering: The versions of jobs that it says it recovers.
        placed: Those that it says it placed last.
    """

    node: NodeId
    epoch: Epoch
    holdings: tuple[Holding, ...]
    path: PathId
    origin: Origin
    recovering: tuple[tuple[CheckpointName, Version], ...] = ()
    placed: tuple[tuple[CheckpointName, Version], ...] = ()


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A peer does not answer any more on a path; what it holds cannot be had there."""

    path: PathId


@dataclass(frozen=True, slots=True)
class DiscoverySettled:
    """Every known peer was asked and has answered or failed, or had its time to.

    From here on "nobody has it" is knowledge and not impatience. Reported again when the answer
    to the question changes whether everybody was heard.

    Attributes:
        is_everybody_heard: Every configured address answers at present.
    """

    is_everybody_heard: bool = True


@dataclass(frozen=True, slots=True)
class RateLearned:
    """It became known how fast a peer was: from before a restart, or from ``doctor``.

    Attributes:
        path: On which path; it need not be known yet.
        bytes_per_s: So fast.
        latency_ns: Usual time to its first byte; ``None`` if that was not measured.
        age_ns: How long ago.
        origin: By what it was measured.
        is_sound: Over enough bytes to be kept.
    """

    path: PathId
    bytes_per_s: float
    latency_ns: int | None
    age_ns: int
    origin: RateOrigin
    is_sound: bool = True


@dataclass(frozen=True, slots=True)
class ClaimAudited:
    """It was looked, for no recovery, whether a peer has what it claims of a version.

    Attributes:
        path: On which path it was asked.
        origin: Who answered.
        epoch: Which life of it.
        holding: What it claims.
        block: Which block was drawn; ``None``: none, for its manifest is another one.
        unit: Path of that block's unit …
        unit_block: … and which block of the unit it is, from 0.
        is_right: What came has the digest that it must have.
    """

    path: PathId
    origin: Origin
    epoch: Epoch
    holding: Holding
    block: int | None
    unit: str
    unit_block: int
    is_right: bool


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Which shards of a job are wanted.

    Attributes:
        shards: Their numbers; ``None``: all.
        count: They are numbers of a layout of so many shards; ``None``: of any that has them.
        members: Set when an interrupted recovery goes on: the shards' versions that it had joined.
    """

    shards: frozenset[int] | None = None
    count: int | None = None
    members: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryRequested:
    """Somebody wants a version here.

    Attributes:
        recovery: A name for the run, never used before.
        checkpoint: What to recover.
        version: Which version; ``None`` for the newest of which every block is reachable.
        digest: Set when an interrupted recovery goes on: the identity chosen back then.
        patience_ns: How long blocks that nobody has are waited for; ``None``: without limit.
        is_background: It leaves every source to recoveries that are not and could use it.
        not_below: The newest version that this node ever had. An older one is a rollback, and
            only taken if it is named.
        own: What stands on this node's disks of the checkpoint; it counts like what a peer holds.
        digest_prefix: Which content was asked for: the beginning of its digest; empty: any.
        from_node: Whose content was asked for; ``None``: anybody's.
        had: What this node has or had of the checkpoint; goes before other contents.
        copied: What stands here only as a copy for others: ``own``, and before no other content.
        withdrawn: What stands here and an operator took off offer: it counts only where nothing
            else does.
        allow_partial: What can be had is placed when patience ends, though required units are
            missing; never without critical ones.
        is_name_awaited: A name of which nobody has anything is waited for as long as patience
            lasts; else it is taken for a mistake once the peers were asked.
        own_names: The checkpoints of this node that are spelled most like it.
        is_on_demand: Only what somebody waits for or reads is fetched, until the rest is wanted.
        is_named: With a version: it was asked for. Else an interrupted recovery had chosen it.
        is_by_choice: Not all units are wanted; which ones comes with the manifest.
        is_progressive: Each phase is placed as soon as it is complete.
        has_placed: An interrupted recovery had placed some of it, or had begun to.
        reached: Milestones that an earlier life of this node reached of the version with that
            digest, and when, on this life's clock; that may be before it.
        job: The checkpoint is the name of a job, and these shards of it are wanted; ``own`` and
            ``had`` are of all its shards, and ``not_below`` counts versions that were whole.
    """

    recovery: RecoveryId
    checkpoint: CheckpointName
    version: Version | None = None
    digest: Digest | None = None
    patience_ns: int | None = None
    is_background: bool = False
    not_below: Version | None = None
    own: tuple[Holding, ...] = ()
    digest_prefix: str = ""
    from_node: NodeId | None = None
    had: frozenset[Digest] = frozenset()
    copied: frozenset[Digest] = frozenset()
    withdrawn: frozenset[Digest] = frozenset()
    allow_partial: bool = False
    is_name_awaited: bool = False
    is_on_demand: bool = False
    own_names: tuple[CheckpointName, ...] = ()
    is_named: bool = True
    is_by_choice: bool = False
    is_progressive: bool = False
    has_placed: bool = False
    job: JobRequest | None = None
    reached: tuple[tuple[Milestone, int], ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryPaused:
    """An operator paused a recovery."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class RecoveryResumed:
    """An operator let a paused recovery go on."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class RecoveryPromoted:
    """Somebody waits for a recovery that was in the background: it yields to nobody any more."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class RestWanted:
    """Somebody wants all of a recovery on demand: what nobody reads is fetched as well.

    Attributes:
        recovery: Which recovery.
        is_background: It yields to recoveries that are not in the background from now on.
    """

    recovery: RecoveryId
    is_background: bool = False


@dataclass(frozen=True, slots=True)
class RecoveryCancelled:
    """An operator gave a recovery up."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class UnitsPrioritized:
    """Somebody waits for some units: they go before everything else of the recovery.

    Attributes:
        recovery: Which recovery; its manifest is here.
        blocks: All blocks of the units, whether or not they are here already.
    """

    recovery: RecoveryId
    blocks: BlockSet


@dataclass(frozen=True, slots=True)
class ChoiceWidened:
    """Somebody wants more of the version than was asked for.

    Attributes:
        recovery: Which recovery.
        chosen: What is wanted now besides what was before; ``None``: all of it. Of a recovery
            whose manifest is not here yet it does not count: what is wanted comes with that.
    """

    recovery: RecoveryId
    chosen: BlockSet | None


@dataclass(frozen=True, slots=True)
class RangeNeeded:
    """Somebody waits for a range of a unit, or has read a part of it and waits for the rest.

    Attributes:
        recovery: Which recovery; its manifest is here.
        need: A name for it; it replaces what was said of that before.
        reader: Who reads; empty: somebody of whom nothing is known.
        unit: Index of the unit.
        start: The first byte in the unit that is not here yet, as far as is known.
        end: The byte behind the last.
    """

    recovery: RecoveryId
    need: NeedId
    reader: str
    unit: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NeedEnded:
    """Nobody waits for a range any more: it was read, or whoever waited is gone."""

    recovery: RecoveryId
    need: NeedId


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something could not be done on this node.

    Attributes:
        code: The error's code, e.g. ``"out_of_space"``.
        message: The whole sentence for a person.
        is_retryable: The same order may succeed later.
        is_verification: Bytes were not what the manifest says.
        is_staging_lost: What was staged is gone, wholly or in part.
        is_contradiction: The manifest contradicts itself: this content helps nobody.
        is_shortage: This node has no descriptor, memory or thread left for it; that passes.
        is_junk: The manifest breaks a rule that whoever offers it could have checked.
    """

    code: str
    message: str
    is_retryable: bool
    is_verification: bool = False
    is_staging_lost: bool = False
    is_contradiction: bool = False
    is_shortage: bool = False
    is_junk: bool = False

    @classmethod
    def of(cls, error: CkptdError) -> Refusal:
        """Say what an error means for the recovery it happened to."""
        is_contradiction = isinstance(error, ContradictoryManifest)
        is_newer = isinstance(error, NewerManifest)
        return cls(
            error.code,
            str(error),
            is_retryable=error.is_retryable,
            is_verification=error.exit_code is ExitCode.VERIFICATION,
            is_staging_lost=isinstance(error, StagingLost),
            is_contradiction=is_contradiction,
            is_shortage=isinstance(error, Shortage),
            is_junk=isinstance(error, InvalidManifest) and not (is_contradiction or is_newer),
        )


@dataclass(frozen=True, slots=True)
class ManifestArrived:
    """A manifest came, has the digest that was asked for, and keeps all rules.

    Attributes:
        recovery: Which recovery.
        source: From whom; ``None``: this node had it.
        space: What it describes.
        chosen: Blocks of the units that are wanted; ``None``: all of them. Not of a shard of a
            job: that comes with what is joined.
        misfit: Why what is wanted cannot be chosen of this version, for a person; empty if it can.
    """

    recovery: RecoveryId
    source: PathId | None
    space: AddressSpace
    chosen: BlockSet | None = None
    misfit: str = ""


@dataclass(frozen=True, slots=True)
class ManifestMissed:
    """A manifest did not come, or was not what it should be.

    Attributes:
        recovery: Which recovery.
        source: Who was asked; ``None``: this node.
        is_lie: The source sent bytes that do not have the digest it advertised, or a signature
            that nobody made.
        refusal: Why the signatures that came with it do not suffice, for a person; empty if
            that is not what was wrong.
        shortage: What this node is short of to ask for it, or to take it; ``None``: of nothing.
        is_denied: The source says that it does not have it.
    """

    recovery: RecoveryId
    source: PathId | None
    is_lie: bool
    refusal: str = ""
    shortage: Refusal | None = None
    is_denied: bool = False


@dataclass(frozen=True, slots=True)
class ManifestRefused:
    """The manifest has the right digest and cannot be used: it would do harm, or is too new."""

    recovery: RecoveryId
    source: PathId | None
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ManifestsJoined:
    """The manifests of some shards are joined to one.

    Attributes:
        recovery: For which recovery.
        digest: Identity of the joined manifest, on this node only.
        joint: What that is, and where its blocks stand in the shards.
        chosen: As in ``ManifestArrived``, of what is joined.
        misfit: Likewise.
    """

    recovery: RecoveryId
    digest: Digest
    joint: Joint
    chosen: BlockSet | None = None
    misfit: str = ""


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """The manifests of some shards cannot be joined: they contradict each other, or are too much.

    Attributes:
        recovery: For which recovery.
        refusal: Why, with the path and the shards.
    """

    recovery: RecoveryId
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class RivalExamined:
    """It was looked whether a holder has the content that it claims.

    Attributes:
        recovery: For which recovery.
        digest: Which content.
        source: Who claims it.
        verdict: What came of it.
        size_bytes: With ``GENUINE``: length of the version.
        signers: With ``GENUINE``: trusted keys that signed it.
        is_trusted: With ``GENUINE``: one of them may sign this checkpoint.
        refusal: With ``UNSIGNED``, ``UNUSABLE``: why, for a person. With ``FALSE``: only a
            signature is.
        is_junk: With ``UNUSABLE``: whoever offers it could have seen that.
        block: With ``BAD_BLOCK``: which.
    """

    recovery: RecoveryId
    digest: Digest
    source: PathId
    verdict: RivalVerdict
    size_bytes: int = 0
    signers: tuple[str, ...] = ()
    is_trusted: bool = False
    refusal: str = ""
    is_junk: bool = False
    block: int | None = None


@dataclass(frozen=True, slots=True)
class StagingPrepared:
    """Space is reserved and the staging directory open.

    Attributes:
        recovery: Which recovery.
        verified: Blocks that are here, hashed just now.
        local: Those of them that were on this node's disks already and that no earlier run of the
            recovery left: they stand at the target or are zeros.
        zeros: Those of the verified ones that consist of zeros, which need not come.
        nearby: Blocks that are not here, and that lie elsewhere on this node's disks as far as is
            known: at another place, in another version, in a file that is to be replaced.
        factors: How many times as fast as they were seen last sources are expected to be, where
            that differs: blocks may come coded, or did.
    """

    recovery: RecoveryId
    verified: BlockSet
    local: BlockSet = field(default_factory=BlockSet)
    zeros: BlockSet = field(default_factory=BlockSet)
    nearby: BlockSet = field(default_factory=BlockSet)
    factors: Mapping[PathId, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StagingRefused:
    """No staging: the target is taken, or there is no room."""

    recovery: RecoveryId
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class StagingWidened:
    """There is room in staging for more units of the version.

    Attributes:
        recovery: Which recovery.
        blocks: Those that were ordered.
        zeros: Those of them that consist of zeros, which need not come.
    """

    recovery: RecoveryId
    blocks: BlockSet
    zeros: BlockSet = field(default_factory=BlockSet)


@dataclass(frozen=True, slots=True)
class WideningRefused:
    """There is no room for more units; what was staged before is as it was."""

    recovery: RecoveryId
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class RangeProgressed:
    """Bytes of a range came in.

    Attributes:
        transfer: Which transfer.
        received_bytes: Body bytes so far, whether or not they make a whole block.
        next_block: Every block of the range below this one has been dealt with: it is
            verified and written, or in ``rejected``.
        rejected: Blocks since the last report whose digest was wrong.
        source_load_bytes: What the source said it still has to send to others.
        is_held_back: Nothing is taken from the source at the moment, for the sake of a limit.
    """

    transfer: TransferId
    received_bytes: int
    next_block: int
    rejected: tuple[int, ...] = ()
    source_load_bytes: int = 0
    is_held_back: bool = False


@dataclass(frozen=True, slots=True)
class RangeEnded:
    """A transfer is over; nothing more of it will be reported.

    Attributes:
        transfer: Which transfer.
        outcome: How it ended.
        retry_after_ns: With ``BUSY`` and ``TURNED_AWAY``: how long the source wants to be left
            alone.
        refusal: With ``STORE_FAILED``: why.
        is_coded: With ``DELIVERED``: its blocks came coded.
    """

    transfer: TransferId
    outcome: RangeOutcome
    retry_after_ns: int = 0
    refusal: Refusal | None = None
    is_coded: bool = False


@dataclass(frozen=True, slots=True)
class HoldingConfirmed:
    """A source that sent bad blocks was asked whether it stands by them.

    If its files are not what they were, it says so, and the bad blocks were no lie.

    Attributes:
        source: Who was asked.
        digest: Identity of the version.
        confirmation: What it said. ``HELD`` with denied blocks: those were wrong, and it has
            another copy of them.
        denied: Blocks of the question that it says were wrong; ``None``: it did not say which,
            so its answer is about the whole version.
    """

    source: PathId
    digest: Digest
    confirmation: Confirmation
    denied: BlockSet | None = None


@dataclass(frozen=True, slots=True)
class SourceTroubled:
    """Nothing could be had of a source that answers questions, or that is over.

    Attributes:
        path: Which source.
        trouble: Why, as half a sentence about it; empty: it delivers.
    """

    path: PathId
    trouble: str


@dataclass(frozen=True, slots=True)
class IdentityJudged:
    """It was looked whether this node's certificate is valid at this time.

    Attributes:
        trouble: Why no peer takes it, for a person; empty: it is valid.
    """

    trouble: str


@dataclass(frozen=True, slots=True)
class BlocksDurable:
    """The blocks that were ordered are durable where they stand; the journal comes next."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class BlocksCommitted:
    """The blocks that were ordered are durable and in the journal."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The blocks could not be made durable; what is on the disk cannot be trusted.

    Attributes:
        recovery: Which recovery.
        refusal: Why.
        may_repeat: Nothing that was written is in doubt, and the same blocks may be committed
            later: for lack of descriptors it was not tried, or only the journal has no room.
    """

    recovery: RecoveryId
    refusal: Refusal
    may_repeat: bool = False


@dataclass(frozen=True, slots=True)
class PhasePlaced:
    """The units of a phase stand under their final names, and those of phases before it.

    Attributes:
        recovery: Which recovery.
        phase: Which of the manifest's phases.
    """

    recovery: RecoveryId
    phase: int


@dataclass(frozen=True, slots=True)
class PhaseHeld:
    """A phase could not be placed, or not all of it.

    Attributes:
        recovery: Which recovery.
        refusal: Why.
        is_in_the_way: Somebody's file stands where one of its units belongs; it is left alone.
    """

    recovery: RecoveryId
    refusal: Refusal
    is_in_the_way: bool = False


@dataclass(frozen=True, slots=True)
class VersionPlaced:
    """The version stands under its final name, durable and in the catalog."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class PlacementFailed:
    """The version could not be put under its final name.

    Attributes:
        recovery: Which recovery.
        refusal: Why.
        is_in_the_way: As for :class:`PhaseHeld`, of the last phase.
    """

    recovery: RecoveryId
    refusal: Refusal
    is_in_the_way: bool = False


@dataclass(frozen=True, slots=True)
class StagingDiscarded:
    """Nothing of a recovery is left on the disk."""

    recovery: RecoveryId


@dataclass(frozen=True, slots=True)
class IngressLimited:
    """An operator limits what may come in a second, or does not any more."""

    bytes_per_s: int | None


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The moment that ``next_deadline`` named has come."""


Event: TypeAlias = (
    HoldingsArrived
    | PeerLost
    | DiscoverySettled
    | RateLearned
    | ClaimAudited
    | RecoveryRequested
    | RecoveryPaused
    | RecoveryResumed
    | RecoveryPromoted
    | RestWanted
    | RecoveryCancelled
    | UnitsPrioritized
    | ChoiceWidened
    | RangeNeeded
    | NeedEnded
    | ManifestArrived
    | ManifestMissed
    | ManifestRefused
    | ManifestsJoined
    | JoinRefused
    | RivalExamined
    | StagingPrepared
    | StagingRefused
    | StagingWidened
    | WideningRefused
    | RangeProgressed
    | RangeEnded
    | HoldingConfirmed
    | SourceTroubled
    | IdentityJudged
    | BlocksDurable
    | BlocksCommitted
    | CommitFailed
    | PhasePlaced
    | PhaseHeld
    | VersionPlaced
    | PlacementFailed
    | StagingDiscarded
    | IngressLimited
    | TimePassed
)


class Reporting(Protocol):
    """Takes in facts that became known together, in the order in which they happened."""

    def __call__(self, *events: Event) -> None:
        """Take them in."""
