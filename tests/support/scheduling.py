"""Scripts for the scheduler: facts in, orders out, invariants checked after every fact.

A version is laid out in blocks of 1 MiB without any content: the core only counts. So tests
work with the options of production and with sizes that a person can add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import msgspec
from blake3 import blake3

from ckptd.core.effects import AnnounceMilestone, Effect, EndRecovery, FetchRange
from ckptd.core.events import (
    DiscoverySettled,
    Event,
    HoldingsArrived,
    ManifestArrived,
    RangeEnded,
    RangeProgressed,
    RecoveryCancelled,
    RecoveryRequested,
    Refusal,
    StagingPrepared,
    TimePassed,
)
from ckptd.core.explain.snapshot import view_recovery
from ckptd.core.options import Options
from ckptd.core.report.views import RecoverySnapshot, SourceSnapshot
from ckptd.core.scheduler import Scheduler
from ckptd.core.state.invariants import check_invariants
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane
from ckptd.core.state.recovery import Recovery
from ckptd.limits import DIGEST_BYTES, MIB, MS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    LaneId,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    TransferId,
    Version,
)
from ckptd.model.manifest import (
    DIGEST_OF_NOTHING,
    FORMAT,
    OPTIONAL_FLAG,
    Manifest,
    Unit,
    check_manifest,
    encode_manifest,
    urgency,
)
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality, FailureCause, RangeOutcome, Result, Stage
from ckptd.sim.check.attention import bad_deadline, idle_source

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
OF_A, OF_B = Origin(A), Origin(B)
R, R2 = RecoveryId("r-1"), RecoveryId("r-2")
LLAMA = CheckpointName("llama/rank-0")

FULL_DISK = Refusal("out_of_space", "root /data: no room", is_retryable=True)
BROKEN_DISK = Refusal("storage", "root /data: input/output error", is_retryable=False)
LOST_STAGING = Refusal(
    "staging_lost", "/data/.ckptd/r-1/model: was removed", is_retryable=False, is_staging_lost=True
)
HARMFUL = Refusal(
    "invalid_manifest", "manifest: has the path '../x'", is_retryable=False, is_junk=True
)


def adjusted(options: Options, **groups: Mapping[str, float]) -> Options:
    """Return options with other numbers, by group: ``ranges={"bytes_min": MIB}``."""
    changed: dict[str, Any] = {
        name: replace(getattr(options, name), **numbers) for name, numbers in groups.items()
    }
    return replace(options, **changed)


FOUR_AT_FIRST = adjusted(Options(), ranges={"bytes_first": 4 * MIB})
"""Four blocks make a range while nothing is known of a source: enough to cut it in two."""

NO_COMMITS = adjusted(FOUR_AT_FIRST, commits={"age_ns": 3600 * SECOND, "bytes_due": 1024 * MIB})
"""For stories in which a commit would only be in the way."""


@dataclass(frozen=True)
class Saved:
    """One version of a checkpoint, as its holders know it."""

    space: AddressSpace
    digest: Digest

    @property
    def checkpoint(self) -> CheckpointName:
        return CheckpointName(self.space.manifest.checkpoint)

    @property
    def version(self) -> Version:
        return Version(self.space.manifest.version)

    @property
    def blocks(self) -> BlockSet:
        return BlockSet.full(self.space.block_count)


def saved(
    *normal: int,
    critical: Iterable[int] = (),
    deferred: Iterable[int] = (),
    optional: Iterable[int] = (),
    version: int = 100,
    checkpoint: str = LLAMA,
    block_size_bytes: int = MIB,
) -> Saved:
    """Lay out a version; every number is a unit of so many blocks, the optional ones last."""
    sizes = {
        Criticality.CRITICAL: critical,
        Criticality.NORMAL: normal,
        Criticality.DEFERRED: deferred,
    }
    kinds = [
        *((each.label, each, (), counts) for each, counts in sizes.items()),
        ("optional", Criticality.DEFERRED, (OPTIONAL_FLAG,), optional),
    ]
    units = tuple(
        Unit(
            path=f"{label}-{index}",
            size_bytes=block_count * block_size_bytes,
            digest=bytes(DIGEST_BYTES),
            block_size_bytes=block_size_bytes,
            block_digests=bytes(block_count * DIGEST_BYTES),
            criticality=criticality,
            flags=flags,
        )
        for label, criticality, flags, block_counts in kinds
        for index, block_count in enumerate(block_counts)
    )
    manifest = Manifest(format=FORMAT, checkpoint=checkpoint, version=version, units=units)
    digest = Digest(blake3(encode_manifest(manifest)).hexdigest())
    return Saved(AddressSpace(manifest), digest)


def phased(
    *phases: Mapping[Criticality, Iterable[int]],
    optional: Iterable[str] = (),
    after: Mapping[str, Iterable[str]] | None = None,
    prefix: str = "",
) -> Saved:
    """Lay out a version in phases; every number is a unit of so many blocks.

    Args:
        phases: Of each, sizes of units by criticality; a unit is called ``0-critical-0``.
        optional: Units that are.
        after: What some of them come after.
        prefix: All paths begin with it.
    """
    units = [
        Unit(
            path=f"{prefix}{phase}-{criticality.label}-{index}",
            size_bytes=block_count * MIB,
            digest=bytes(DIGEST_BYTES) if block_count else DIGEST_OF_NOTHING,
            block_size_bytes=MIB,
            block_digests=bytes(block_count * DIGEST_BYTES),
            criticality=criticality,
            phase=phase,
        )
        for phase, sizes in enumerate(phases)
        for criticality, counts in sizes.items()
        for index, block_count in enumerate(counts)
    ]
    units.sort(key=urgency)
    places = {unit.path: index for index, unit in enumerate(units)}
    found = tuple(
        msgspec.structs.replace(
            unit,
            flags=(OPTIONAL_FLAG,) if unit.path in set(optional) else (),
            after=tuple(sorted(places[each] for each in (after or {}).get(unit.path, ()))),
        )
        for unit in units
    )
    names = tuple(f"phase-{number}" for number in range(len(phases)))
    manifest = Manifest(format=FORMAT, checkpoint=LLAMA, version=100, units=found, phases=names)
    check_manifest(manifest)
    return Saved(AddressSpace(manifest), Digest(blake3(encode_manifest(manifest)).hexdigest()))


def blocks(*runs: tuple[int, int]) -> BlockSet:
    return BlockSet(runs)


def holding(version: Saved, held: BlockSet | None = None) -> Holding:
    """Say that a node has a version, or some blocks of it."""
    return Holding(
        version.checkpoint,
        version.version,
        version.digest,
        version.space.size_bytes,
        version.space.block_count,
        version.blocks if held is None else held,
        version.space.optional_blocks(),
    )


def holds(node: NodeId, *held: Saved | Holding, epoch: int = 1, via: str = "") -> HoldingsArrived:
    """Let a node say what it holds, on the first path to it or on another one."""
    said = tuple(holding(what) if isinstance(what, Saved) else what for what in held)
    path = further_path(node, via) if via else node
    return HoldingsArrived(node, Epoch(epoch), said, path, Origin(node))


def further_path(node: NodeId, via: str) -> PathId:
    """Name another path to a node than the first one."""
    return PathId(f"{node} via {via}")


def wanted(
    version: Saved,
    recovery: RecoveryId = R,
    *,
    is_named: bool = False,
    patience_ms: int | None = None,
    is_background: bool = False,
    allow_partial: bool = False,
    is_name_awaited: bool = False,
    is_by_choice: bool = False,
    is_progressive: bool = False,
) -> RecoveryRequested:
    """Ask for the newest version of a checkpoint, or for exactly this one."""
    return RecoveryRequested(
        recovery,
        version.checkpoint,
        version=version.version if is_named else None,
        patience_ns=None if patience_ms is None else patience_ms * MS,
        is_background=is_background,
        allow_partial=allow_partial,
        is_name_awaited=is_name_awaited,
        is_by_choice=is_by_choice,
        is_progressive=is_progressive,
    )


def resumed(version: Saved, recovery: RecoveryId = R) -> RecoveryRequested:
    """Go on with a recovery that a restart interrupted."""
    return RecoveryRequested(recovery, version.checkpoint, version.version, version.digest)


def fetch(
    version: Saved,
    transfer: int,
    source: NodeId,
    run: tuple[int, int],
    *,
    lane: int,
    criticality: Criticality = Criticality.NORMAL,
    recovery: RecoveryId = R,
) -> FetchRange:
    """Spell out the order to fetch a range."""
    return FetchRange(
        TransferId(transfer),
        recovery,
        version.digest,
        source,
        LaneId(lane),
        BlockRun(*run),
        criticality,
    )


def ended(
    result: Result,
    cause: FailureCause | None = None,
    message: str = "",
    *,
    recovery: RecoveryId = R,
) -> EndRecovery:
    """Spell out the end of a recovery. Its last view takes no part in comparisons."""
    request = RecoveryRequested(recovery, LLAMA)
    view = view_recovery(State(), Recovery(request, sequence=0, started_ns=0), Options(), now=0)
    return EndRecovery(recovery, result, view, cause, message)


def ranges(effects: Iterable[Effect]) -> list[FetchRange]:
    """Pick out the ranges that were ordered."""
    return [effect for effect in effects if isinstance(effect, FetchRange)]


def whom(effects: Iterable[Effect]) -> list[tuple[PathId, tuple[int, int]]]:
    """Say who was asked for which blocks."""
    return [(order.source, (order.blocks.start, order.blocks.end)) for order in ranges(effects)]


class Script:
    """A scheduler that is told one fact after another, with a clock in milliseconds."""

    def __init__(self, *, seed: int = 0, options: Options | None = None) -> None:
        self.options = options or FOUR_AT_FIRST
        self.scheduler = Scheduler(Random(seed), self.options)
        self.now_ms = 0
        self._spaces: dict[RecoveryId, AddressSpace] = {}
        self._in_flight: dict[TransferId, FetchRange] = {}
        self.announced: list[tuple[int, AnnounceMilestone]] = []

    @property
    def now(self) -> int:
        return self.now_ms * MS

    def tell(self, *events: Event, after_ms: int = 0) -> list[Effect]:
        """Report facts that become known at one moment; return the orders that follow.

        Whatever is due by then must be settled by them: the next deadline lies ahead. Milestones
        that are announced are none of them; they are kept with the milliseconds of their moments.
        """
        self.now_ms += after_ms
        effects: list[Effect] = []
        for event in events:
            if isinstance(event, ManifestArrived):
                self._spaces[event.recovery] = event.space
            if isinstance(event, RangeEnded):
                self._in_flight.pop(event.transfer, None)
            orders = self.scheduler.handle(event, now=self.now)
            check_invariants(self.scheduler.inspect())
            assert not idle_source(self.scheduler, self.options, now=self.now)
            assert not bad_deadline(self.scheduler, self.options, now=self.now)
            self._in_flight |= {order.transfer: order for order in ranges(orders)}
            for order in orders:
                if isinstance(order, AnnounceMilestone):
                    self.announced.append((self.now_ms, order))
                else:
                    effects.append(order)
        return effects

    @property
    def in_flight(self) -> list[FetchRange]:
        """Ranges that were ordered and have not ended."""
        return list(self._in_flight.values())

    def wait(self, ms: int) -> list[Effect]:
        """Let time pass, waking the scheduler whenever it wants to be woken."""
        end_ms = self.now_ms + ms
        effects: list[Effect] = []
        while (deadline := self.scheduler.next_deadline()) is not None:
            deadline_ms = -(-deadline // MS)
            if deadline_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, deadline_ms)
            effects += self.wake()
        self.now_ms = end_ms
        return effects

    def wake_at_deadline(self) -> list[Effect]:
        """Let time pass until the scheduler wants to be woken."""
        deadline = self.scheduler.next_deadline()
        assert deadline is not None, "nothing is due"
        self.now_ms = -(-deadline // MS)
        return self.wake()

    def wake(self) -> list[Effect]:
        """Report that time passed."""
        return self.tell(TimePassed())

    def start(
        self,
        version: Saved,
        *sources: NodeId | HoldingsArrived,
        recovery: RecoveryId = R,
        verified: BlockSet | None = None,
        nearby: BlockSet | None = None,
        patience_ms: int | None = None,
        is_background: bool = False,
        allow_partial: bool = False,
        chosen: BlockSet | None = None,
        is_progressive: bool = False,
    ) -> list[Effect]:
        """Bring a recovery as far as transferring; return the first ranges ordered."""
        for source in sources:
            self.tell(source if isinstance(source, HoldingsArrived) else holds(source, version))
        self.tell(
            DiscoverySettled(),
            wanted(
                version,
                recovery,
                is_named=True,
                patience_ms=patience_ms,
                is_background=is_background,
                allow_partial=allow_partial,
                is_by_choice=chosen is not None,
                is_progressive=is_progressive,
            ),
        )
        [asked] = self.recovery(recovery).search.asked
        self.tell(ManifestArrived(recovery, asked, version.space, chosen))
        prepared = StagingPrepared(recovery, verified or BlockSet(), nearby=nearby or BlockSet())
        return self.tell(prepared)

    def arrive(
        self,
        order: FetchRange,
        upto: int | None = None,
        *,
        rejected: tuple[int, ...] = (),
        after_ms: int = 0,
    ) -> list[Effect]:
        """Report the blocks of a range below ``upto`` as arrived; all if that is ``None``."""
        end = order.blocks.end if upto is None else upto
        received = self._spaces[order.recovery].run_bytes((order.blocks.start, end))
        progress = RangeProgressed(order.transfer, received, end, rejected)
        return self.tell(progress, after_ms=after_ms)

    def deliver(self, order: FetchRange, *, after_ms: int = 0) -> list[Effect]:
        """Report a range as arrived and over."""
        return self.arrive(order, after_ms=after_ms) + self.end(order)

    def end(
        self,
        order: FetchRange,
        outcome: RangeOutcome = RangeOutcome.DELIVERED,
        *,
        retry_after_ms: int = 0,
        refusal: Refusal | None = None,
        after_ms: int = 0,
    ) -> list[Effect]:
        """Report a transfer as over."""
        ended = RangeEnded(order.transfer, outcome, retry_after_ms * MS, refusal)
        return self.tell(ended, after_ms=after_ms)

    def end_all(self, outcome: RangeOutcome, *, refusal: Refusal | None = None) -> list[Effect]:
        """Report every range in flight as over."""
        return [
            effect
            for order in self.in_flight
            for effect in self.end(order, outcome, refusal=refusal)
        ]

    def recovery(self, recovery: RecoveryId = R) -> Recovery:
        return self.scheduler.inspect().recoveries[recovery]

    def lane(self, source: PathId, recovery: RecoveryId = R) -> Lane:
        return self.recovery(recovery).work.bundles[source].lanes[0]

    def view(self, recovery: RecoveryId = R) -> RecoverySnapshot:
        snapshot = self.scheduler.recovery(recovery, now=self.now)
        assert snapshot is not None, f"{recovery} has ended"
        return snapshot

    def view_source(self, node: NodeId) -> SourceSnapshot:
        [snapshot] = [known for known in self.scheduler.sources(now=self.now) if known.node == node]
        return snapshot


def bring_to(stage: Stage) -> tuple[Script, Saved]:
    """Bring a recovery to a stage; a range is in flight in TRANSFERRING."""
    script, version = Script(), saved(8)
    if stage is Stage.SEEKING:
        script.tell(DiscoverySettled(), wanted(version))
        return script, version
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    if stage is Stage.DESCRIBING:
        return script, version
    script.tell(ManifestArrived(R, A, version.space))
    if stage is Stage.PREPARING:
        return script, version
    script.tell(StagingPrepared(R, version.blocks if stage is Stage.PLACING else BlockSet()))
    if stage is Stage.DISCARDING:
        script.tell(RecoveryCancelled(R))
    assert script.view().stage is stage
    return script, version
