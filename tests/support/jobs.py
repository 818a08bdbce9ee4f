"""Jobs for scripts of the scheduler: shards without content, and who answers for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from blake3 import blake3

from ckptd.core.effects import (
    CommitBlocks,
    DiscardStaging,
    Effect,
    EndRecovery,
    FetchManifest,
    JoinManifests,
)
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    Event,
    HoldingsArrived,
    JobRequest,
    JoinRefused,
    ManifestArrived,
    ManifestMissed,
    ManifestsJoined,
    RecoveryRequested,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
)
from ckptd.core.options import Options
from ckptd.errors import CkptdError
from ckptd.limits import DIGEST_BYTES, MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.manifest import FORMAT, OPTIONAL_FLAG, Manifest, Unit, encode_manifest, urgency
from ckptd.model.shards import Shard, shard_name
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality, Stage
from tests.support.scheduling import R, Saved, Script, holds

JOB = CheckpointName("gpt")
CONFIG = "config.json"


def shard_of(
    index: int,
    count: int,
    *sizes: int,
    version: int = 100,
    content: str = "",
    config: str | None = "same",
    critical: Iterable[int] = (),
    optional: Iterable[int] = (),
    job: str = JOB,
) -> Saved:
    """Lay out a shard; every number is a unit of so many blocks, and all shards have a config."""

    def unit(path: str, size: int, kind: Criticality, *flags: str, said: str = content) -> Unit:
        blocks = b"".join(
            blake3(f"{path}@{version}{said}#{block}".encode()).digest() for block in range(size)
        )
        digest = blocks if size == 1 else blake3(blocks).digest()
        return Unit(
            path=path,
            size_bytes=size * MIB,
            digest=digest,
            block_size_bytes=MIB,
            block_digests=blocks,
            criticality=kind,
            flags=flags,
        )

    normal = sizes or (4,)
    units = [
        unit(f"w-{at}.{index}-of-{count}", each, Criticality.NORMAL)
        for at, each in enumerate(normal)
    ]
    units += [
        unit(f"c-{at}.{index}-of-{count}", each, Criticality.CRITICAL)
        for at, each in enumerate(critical)
    ]
    units += [
        unit(f"o-{at}.{index}-of-{count}", each, Criticality.DEFERRED, OPTIONAL_FLAG)
        for at, each in enumerate(optional)
    ]
    if config is not None:
        units.append(unit(CONFIG, 1, Criticality.CRITICAL, said=config))
    manifest = Manifest(
        format=FORMAT,
        checkpoint=shard_name(CheckpointName(job), Shard(index, count)),
        version=version,
        units=tuple(sorted(units, key=urgency)),
    )
    digest = Digest(blake3(encode_manifest(manifest)).hexdigest())
    assert len(digest) == 2 * DIGEST_BYTES
    return Saved(AddressSpace(manifest), digest)


def all_shards(count: int, *sizes: int, version: int = 100) -> list[Saved]:
    return [shard_of(index, count, *sizes, version=version) for index in range(count)]


def job_wanted(
    recovery: RecoveryId = R,
    *,
    shards: Sequence[int] | None = None,
    version: int | None = None,
    patience_ms: int | None = None,
    not_below: int | None = None,
    is_background: bool = False,
) -> RecoveryRequested:
    """Ask for the newest version of the job that is whole, or for one."""
    return RecoveryRequested(
        recovery,
        JOB,
        version=None if version is None else Version(version),
        patience_ns=None if patience_ms is None else patience_ms * MS,
        not_below=None if not_below is None else Version(not_below),
        is_background=is_background,
        job=JobRequest(None if shards is None else frozenset(shards)),
    )


def recovering(said: HoldingsArrived, version: int) -> HoldingsArrived:
    """Let a node say that it recovers a version of the job."""
    return replace(said, recovering=((JOB, Version(version)),))


def joint_digest(members: Iterable[Digest]) -> Digest:
    return Digest(blake3("".join(members).encode()).hexdigest())


def joined(order: JoinManifests, known: dict[Digest, Saved]) -> Event:
    """Do what the order asks for."""
    members = [Member(digest, known[digest].space.manifest) for digest in order.members]
    try:
        joint = Joint(order.job, order.version, members)
    except CkptdError as error:
        return JoinRefused(order.recovery, Refusal.of(error))
    return ManifestsJoined(order.recovery, joint_digest(order.members), joint)


def ends(effects: Iterable[Effect]) -> list[EndRecovery]:
    """Pick out the ends of recoveries."""
    return [effect for effect in effects if isinstance(effect, EndRecovery)]


class JobScript(Script):
    """A script that answers questions for manifests, and joins them, by itself.

    Attributes:
        shards: What there is, by digest.
        liars: Who answers such questions with something else.
        denying: Who says that it has nothing.
        mute: Who does not answer.
        asked: Which manifests were asked for, of whom.
        is_committing: Commits end at once.
        joint: What was joined last.
        joining: What comes of an order to join manifests.
    """

    def __init__(self, *there: Saved, options: Options | None = None) -> None:
        super().__init__(options=options)
        self.shards = {each.digest: each for each in there}
        self.liars: set[NodeId] = set()
        self.denying: set[NodeId] = set()
        self.mute: set[NodeId] = set()
        self.asked: list[FetchManifest] = []
        self.is_committing = True
        self.joint: Joint | None = None
        self.joining: Callable[[JoinManifests], Event] = lambda order: joined(order, self.shards)

    def tell(self, *events: Event, after_ms: int = 0) -> list[Effect]:
        effects = super().tell(*events, after_ms=after_ms)
        for answer in self._answers(effects):
            effects += self.tell(answer)
        return effects

    def _answers(self, effects: Iterable[Effect]) -> Iterator[Event]:
        for order in list(effects):
            if isinstance(order, FetchManifest):
                self.asked.append(order)
                if order.source not in self.mute:
                    yield self._answer(order)
            elif isinstance(order, JoinManifests):
                event = self.joining(order)
                if isinstance(event, ManifestsJoined):
                    self.joint = event.joint
                    self._spaces[order.recovery] = event.joint.space
                yield event
            elif isinstance(order, CommitBlocks) and self.is_committing:
                yield BlocksCommitted(order.recovery)
            elif isinstance(order, DiscardStaging):
                yield StagingDiscarded(order.recovery)

    def _answer(self, order: FetchManifest) -> Event:
        known = self.shards.get(order.digest)
        if order.source in self.liars:
            return ManifestMissed(order.recovery, order.source, is_lie=True)
        if known is None or order.source in self.denying:
            return ManifestMissed(order.recovery, order.source, is_lie=False, is_denied=True)
        return ManifestArrived(order.recovery, order.source, known.space)

    def begin(self, *sources: HoldingsArrived, **words: object) -> list[Effect]:
        """Let peers say what they hold, then ask for the job."""
        for source in sources:
            self.tell(source)
        return self.tell(DiscoverySettled(), job_wanted(**words))  # type: ignore[arg-type]

    def prepare(self, verified: BlockSet | None = None) -> list[Effect]:
        """Let the staging be prepared."""
        return self.tell(StagingPrepared(R, verified or BlockSet()))

    def have(self, node: NodeId, *shards: Saved, epoch: int = 1) -> HoldingsArrived:
        """Let a node say that it has some shards, and know what they are."""
        self.shards |= {each.digest: each for each in shards}
        return holds(node, *shards, epoch=epoch)

    def chosen(self) -> int | None:
        """Return which version the recovery is for."""
        return self.recovery().version

    def passed_over(self) -> dict[int, str]:
        """Return why each version was not chosen that an explanation names."""
        choice = self.recovery().story.choice
        assert choice is not None, "nothing is chosen"
        return {other.version: other.why for other in choice.passed_over}

    def complete(self) -> list[Effect]:
        """Let everything arrive and become durable, and time pass until it is to be placed."""
        effects: list[Effect] = []
        while self.view().stage is Stage.TRANSFERRING:
            for order in self.in_flight:
                effects += self.deliver(order)
            if not self.in_flight:
                effects += self.wake_at_deadline()
        return effects
