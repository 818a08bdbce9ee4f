"""The book of recoveries: those under way with what belongs to them, and those that ended."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, NamedTuple, overload

import msgspec

from ckptd.core.effects import EndRecovery
from ckptd.core.report.verdicts import Explanation
from ckptd.core.report.views import RecoverySourceSnapshot
from ckptd.daemon.recover.joined import Joined
from ckptd.daemon.recover.manifests import VerifiedManifest
from ckptd.errors import Conflict, NotFound
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NeedId, NodeId, PathId, RecoveryId
from ckptd.model.milestones import Milestone
from ckptd.model.shards import parse_shards, split_shard
from ckptd.model.space import AddressSpace
from ckptd.model.unit_choice import Choice, read_choice
from ckptd.model.words import Result
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Root
from ckptd.store.published.base_blocks import BaseBlocks
from ckptd.store.records.ended import (
    Contribution,
    EndedPhase,
    EndedRecovery,
    RecordedRival,
)
from ckptd.store.records.journal import ENDED_MAX, JournaledRecovery
from ckptd.store.staging.area import Staging
from ckptd.store.trees.standing_files import NOTHING_HERE, OnDisk
from ckptd.traffic.coding_choice import CodingChoice

STORIES_MAX: Final = 20
"""Of how many of them the story is kept, in memory: at worst about 200 KiB each."""

_log = get_logger()


def new_recovery_id() -> RecoveryId:
    """Return a name for a recovery that was never used before."""
    return RecoveryId(f"r-{secrets.token_hex(6)}")


@dataclass(frozen=True, slots=True)
class EndedStory:
    """Why a recovery that ended went as it did.

    Attributes:
        explanation: What the scheduler said of it.
        taken_at_s: When that was, in Unix time.
        coding: Of each source how it was asked for blocks, and why.
    """

    explanation: Explanation
    taken_at_s: float
    coding: Mapping[PathId, str]


class DescribedVersion(NamedTuple):
    """A version whose manifest is here."""

    digest: Digest
    space: AddressSpace


@dataclass(slots=True)
class OpenRecovery:
    """A recovery that has not ended.

    Attributes:
        record: What the journal has of it.
        root: Where it will stand.
        target: Directory relative to the root; empty until the version is known.
        since_ns: When it was asked for, on this life's monotonic clock; before it, if an earlier
            life was asked.
        reached: What an earlier life reached of the version, and when, on the same clock.
        described: What it consists of, from the moment at which the scheduler goes by that.
        space: The same, once staging is prepared for it.
        arrived: Manifests that came from peers, by digest, until one is recorded.
        members: Of a job: the shards that an earlier life had joined, in their order.
        joined: Of a job: what its shards are together, once their manifests are joined.
        bases: What stands here that blocks may be coded against, by the version they are of.
        coding: Of each source what decides whether it is asked for coded blocks.
        staging: Where it writes, once prepared.
        here: What of it was on this node's disks when it was prepared.
        was_here: The version stood at the target already, just as it should.
        kept_warm_bytes: How much of it was not dropped from the page cache, once it is placed.
        grown: Set, and replaced by another, when more is durable and in the journal, and at
            the end.
        ended: Set when it has ended and the journal knows.
        readers: Who waits for a range of it; each is set when more of that is here, and at the end.
    """

    record: JournaledRecovery
    root: Root
    target: str
    since_ns: int
    reached: tuple[tuple[Milestone, int], ...] = ()
    described: DescribedVersion | None = None
    space: AddressSpace | None = None
    arrived: dict[Digest, VerifiedManifest] = field(default_factory=dict)
    members: tuple[Digest, ...] = ()
    joined: Joined | None = None
    bases: Mapping[Digest, tuple[BaseBlocks, ...]] = field(default_factory=dict)
    coding: dict[PathId, CodingChoice] = field(default_factory=dict)
    staging: Staging | None = None
    here: OnDisk = NOTHING_HERE
    was_here: bool = False
    kept_warm_bytes: int = 0
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    readers: dict[NeedId, asyncio.Event] = field(default_factory=dict)

    @property
    def id(self) -> RecoveryId:
        """Its name."""
        return self.record.recovery

    @property
    def target_path(self) -> str:
        """The target as a person writes it; empty until the version is known."""
        return self.root.absolute(self.target) if self.target else ""

    @property
    def choice(self) -> Choice | None:
        """Which units are wanted; ``None``: all."""
        return read_choice(self.record.choice)

    def known_space(self) -> AddressSpace:
        """Return the address space; only called once the manifest is here."""
        assert self.space is not None, f"{self.id} has no manifest yet"
        return self.space

    def space_of(self, digest: Digest) -> AddressSpace:
        """Return the address space of a version that comes, of a job that of a shard."""
        return self.known_space() if self.joined is None else self.joined.spaces[digest]

    def known_staging(self) -> Staging:
        """Return the staging; only called once it is prepared."""
        assert self.staging is not None, f"{self.id} has no staging yet"
        return self.staging

    def note_growth(self) -> None:
        """Wake those who wait for something of it."""
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

    def announce_end(self) -> None:
        """Tell those who wait that it has ended."""
        self.ended.set()
        self.note_growth()
        for need in self.readers:
            self.wake_reader(need)

    def wake_reader(self, need: NeedId) -> None:
        """Let whoever waits for a range look what is here."""
        reader = self.readers.get(need)
        if reader is not None:
            reader.set()

    @property
    def base_digests(self) -> tuple[Digest, ...]:
        """Versions that stand here and of which its blocks may be differences."""
        return tuple(base.digest for bases in self.bases.values() for base in bases)

    @property
    def joined_members(self) -> Mapping[Digest, VerifiedManifest]:
        """The shards that are joined, by their identity; none if it is for no job."""
        return {} if self.joined is None else self.joined.members

    def is_to_keep(self, found: VerifiedManifest) -> bool:
        """Return whether a manifest that came is to be written down, or to be joined."""
        if not self.record.shards:
            return not found.is_journaled and self.space is None
        split = split_shard(CheckpointName(found.space.manifest.checkpoint))
        wanted = parse_shards(self.record.shards).numbers
        return split is not None and (wanted is None or split[1].index in wanted)

    def join(self, joined: Joined) -> None:
        """Take what some shards are together for the version that is to be recovered."""
        self.joined = joined
        self.arrived = {joined.digest: joined.manifest}

    def choose(self, root: Root, target: str) -> None:
        """Take a version that was chosen; of one that was chosen before, nothing is known now."""
        self.space = self.described = None
        self.settle_target(root, target)

    def settle_target(self, root: Root, target: str) -> None:
        """Take a place for the version that was chosen, unless somebody named one.

        A version may be chosen more than once: nobody had the first one after all.
        """
        if not self.record.target:
            self.root, self.target = root, target


class RecoveryBook:
    """All recoveries this daemon knows.

    Args:
        now: The moment in nanoseconds, on the monotonic clock.
        wall_clock: Gives Unix time, for dates.
    """

    def __init__(self, now: Callable[[], int], wall_clock: Callable[[], float]) -> None:
        self._now = now
        self._wall_clock = wall_clock
        self._open: dict[RecoveryId, OpenRecovery] = {}
        self._closing: dict[RecoveryId, OpenRecovery] = {}
        self._ended: OrderedDict[str, EndedRecovery] = OrderedDict()
        self._stories: OrderedDict[str, EndedStory] = OrderedDict()

    def __iter__(self) -> Iterator[OpenRecovery]:
        return iter(list(self._open.values()))

    def open(self, recovery: OpenRecovery) -> None:
        """Take in one that begins or goes on."""
        self._open[recovery.id] = recovery

    def new(
        self, record: JournaledRecovery, root: Root, target: str, why: str = ""
    ) -> OpenRecovery:
        """Return one that is new in the journal, for the scheduler to begin with it; log that.

        Args:
            record: What the journal has of it.
            root: Where it will stand.
            target: Directory relative to the root; empty until the version is known.
            why: What it is for, unless somebody asked for it.
        """
        reason = {"why": why} if why else {}
        _log.info(
            "recovery.started",
            recovery=record.recovery,
            checkpoint=record.checkpoint,
            version=record.version,
            **reason,
        )
        return OpenRecovery(record, root, target, self._now())

    def get(self, recovery: str) -> OpenRecovery | None:
        """Return one that has not ended."""
        return self._open.get(RecoveryId(recovery))

    def joined(self, digest: Digest) -> Joined | None:
        """Return what a digest stands for if a recovery has joined it."""
        found = (each.joined for each in self._open.values())
        return next((each for each in found if each and each.digest == digest), None)

    def under_way(self, recovery: RecoveryId) -> OpenRecovery:
        """Return one that has not ended; only called for those that the scheduler knows."""
        assert recovery in self._open, f"{recovery} is not under way"
        return self._open[recovery]

    def overlapping(
        self, root: Root, target: str, *, besides: RecoveryId | None = None
    ) -> OpenRecovery | None:
        """Return one that recovers to a directory, to one above or to one below.

        Args:
            root: Where the directory is.
            target: Its path below the root; empty while it is not known.
            besides: One that does not count.
        """
        for other in self._open.values():
            is_there = other.root is root and other.id != besides
            if is_there and overlap(target, other.target):
                return other
        return None

    async def follow(self, recovery: str, interval_s: float) -> AsyncGenerator[OpenRecovery, None]:
        """Yield a recovery that has not ended, at once and then now and then.

        The generator ends when the end is announced. Between the end and that, while the journal
        hears of it, there is nothing to yield.
        """
        found = self.get(recovery)
        while found is not None and not found.ended.is_set():
            if self.get(recovery) is found:
                yield found
            try:
                async with asyncio.timeout(interval_s):
                    await found.ended.wait()
            except TimeoutError:
                continue

    def ended(self) -> tuple[EndedRecovery, ...]:
        """Return those that ended, newest first."""
        return tuple(reversed(self._ended.values()))

    def result(self, recovery: str) -> EndedRecovery:
        """Return how one ended.

        Raises:
            NotFound: It has not, or nobody remembers it.
        """
        try:
            return self._ended[recovery]
        except KeyError:
            raise NotFound(
                f"recovery {recovery[:40]!r}", "is not known", "See ckptctl recoveries."
            ) from None

    def story(self, recovery: str) -> EndedStory | None:
        """Return why one that ended went as it did; ``None`` if that is not kept any more."""
        return self._stories.get(recovery)

    def remember(self, ended: EndedRecovery) -> None:
        """Take in how one ended; the oldest is forgotten when there are too many."""
        self._ended[ended.recovery] = ended
        while len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def close(
        self, effect: EndRecovery, follower: JournaledRecovery | None = None
    ) -> EndedRecovery:
        """Move a recovery from those under way to those that ended; it is announced later.

        Args:
            effect: How it ended.
            follower: Which recovery brings the rest.
        """
        recovery = self._open.pop(effect.recovery)
        self._closing[recovery.id] = recovery
        ended = self._record_of(recovery, effect)
        if follower is not None:
            ended = msgspec.structs.replace(ended, followed_by=follower.recovery)
        self.remember(ended)
        if effect.explanation is not None:
            coding = {path: choice.explained() for path, choice in recovery.coding.items()}
            story = EndedStory(effect.explanation, self._wall_clock(), coding)
            self._stories[ended.recovery] = story
            while len(self._stories) > STORIES_MAX:
                self._stories.popitem(last=False)
        return ended

    def announce(self, recovery: OpenRecovery) -> None:
        """Let those who wait know that a recovery has ended, now that the journal does."""
        self._closing.pop(recovery.id, None)
        recovery.announce_end()

    async def settle(self, checkpoint: CheckpointName) -> None:
        """Wait until all recoveries of a checkpoint are announced that have ended by now."""
        for recovery in list(self._closing.values()):
            if recovery.record.checkpoint == checkpoint:
                await recovery.ended.wait()

    def _record_of(self, recovery: OpenRecovery, effect: EndRecovery) -> EndedRecovery:
        final = effect.final
        counts = effect.explanation.counts if effect.explanation else {}
        duration_ns = self._now() - recovery.since_ns
        before_ns = duration_ns - final.elapsed_ns  # in earlier lives of the daemon
        return EndedRecovery(
            recovery=effect.recovery,
            checkpoint=final.checkpoint,
            version=final.version,
            digest=final.digest,
            result=effect.result,
            is_degraded=effect.result is Result.PARTIAL,
            missing_units=final.missing_units,
            cause=effect.cause,
            message=effect.message,
            target=recovery.target_path,
            total_bytes=final.total_bytes,
            placed_bytes=(final.placed_bytes if effect.result.is_success else 0),
            received_bytes=final.received_bytes,
            resumed_bytes=final.resumed_bytes,
            local_bytes=final.local_bytes,
            reused_bytes=final.reused_bytes,
            was_here=recovery.was_here,
            kept_warm_bytes=recovery.kept_warm_bytes,
            wasted_bytes=sum(final.wasted_bytes.values()),
            duration_s=_seconds(duration_ns),
            critical_s=_seconds(final.critical_ns, before_ns),
            sources=_contributions(final.sources),
            predicted_duration_s=_seconds(final.predicted_ns, before_ns),
            predicted_critical_s=_seconds(final.predicted_critical_ns, before_ns),
            wasted_bytes_by_reason={
                reason.value: size for reason, size in final.wasted_bytes.items()
            },
            happenings={kind.value: count for kind, count in counts.items()},
            rivals=tuple(RecordedRival(**asdict(rival)) for rival in effect.rivals),
            started_at_s=recovery.record.started_at_s,
            unit_count=final.units_total,
            verified_unit_count=final.units_done,
            first_unit_s=_seconds(final.first_unit_ns, before_ns),
            complete_s=_seconds(duration_ns) if effect.result is Result.COMPLETE else None,
            phases=tuple(
                EndedPhase(
                    name=phase.name,
                    unit_count=phase.units_total,
                    total_bytes=phase.total_bytes,
                    left_bytes=phase.left_bytes,
                    complete_s=_seconds(phase.durable_ns, before_ns),
                    placed_s=_seconds(phase.placed_ns, before_ns),
                )
                for phase in final.phases
            ),
        )


def overlap(target: str, other: str) -> bool:
    """Tell whether of two directories one is the other, or above or below it; empty: unknown."""
    if not target or not other:
        return False
    one, two = f"{target}/", f"{other}/"
    return one.startswith(two) or two.startswith(one)


def is_taken(target_path: str, by: OpenRecovery) -> Conflict:
    """Return the error that another recovery is on its way to a target, or above or below it."""
    return Conflict(
        f"target {target_path}",
        f"is where {by.id} recovers to",
        f"Watch it with: ckptctl watch {by.id}",
    )


def _contributions(sources: Iterable[RecoverySourceSnapshot]) -> tuple[Contribution, ...]:
    """Return what each node brought, over all paths to it."""
    brought: Counter[NodeId] = Counter()
    for row in sources:
        brought[row.source.node] += row.verified_bytes
    return tuple(
        Contribution(node=node, verified_bytes=size) for node, size in brought.items() if size
    )


@overload
def _seconds(duration_ns: int, before_ns: int = 0) -> float: ...
@overload
def _seconds(duration_ns: int | None, before_ns: int = 0) -> float | None: ...
def _seconds(duration_ns: int | None, before_ns: int = 0) -> float | None:
    """Return a duration, with what went before it, to a millisecond."""
    return None if duration_ns is None else round((before_ns + duration_ns) / SECOND, 3)
