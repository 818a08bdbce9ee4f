"""Drives a scheduler through a whole story in virtual time, and lets things go wrong.

One node recovers, a few sources serve it. For a while whatever can fail does so now and then;
afterwards nothing does, and every recovery must become complete. All chance comes from one seed.

The driver keeps its own books (which orders are open, what is on the disk, who said what and who
sent what wrongly) and holds every order against them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from random import Random
from typing import assert_never

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    Effect,
    EndRecovery,
    FetchManifest,
    FetchRange,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    DiscoverySettled,
    Event,
    HoldingConfirmed,
    ManifestArrived,
    ManifestMissed,
    PlacementFailed,
    RangeEnded,
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryRequested,
    RecoveryResumed,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    TimePassed,
    VersionPlaced,
)
from ckptd.core.options import Options
from ckptd.core.scheduler import Scheduler
from ckptd.core.state.invariants import check_invariants
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, RecoveryId
from tests.support.scheduling import (
    FULL_DISK,
    LOST_STAGING,
    Saved,
    check_nothing_is_overlooked,
    saved,
)
from tests.unit.core.serving import Sources
from tests.unit.core.world import Agenda, Chance, Source, Wish

SIZES = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)
"""Units are drawn from these, in blocks."""


class Driver:
    """A daemon that recovers, its disk, and its operator.

    Attributes:
        trace: Every order, and when it was given.
        open_orders: Orders that have not ended, by the names in the event that ends them.
    """

    def __init__(
        self, seed: int, versions: Sequence[Saved], sources: Sequence[Source], *, mishaps: float
    ) -> None:
        """Set the scene.

        Args:
            seed: Decides everything that is left to chance.
            versions: What is to be recovered.
            sources: Who has it. At least one honest source must have everything.
            mishaps: Share of the things that go wrong.
        """
        self.trace: list[str] = []
        self.open_orders: Counter[tuple[object, ...]] = Counter()
        self.wishes = [Wish(version) for version in versions]
        self.agenda = Agenda()
        self._chance = Chance(seed, mishaps)
        self.sources = Sources(sources, self.wishes, self.agenda, self._chance, self._tell)
        self._start_daemon()

    def run(self, *, faults_end_ns: int, limit_ns: int) -> None:
        """Play the story: faults, healing, and on until nothing is due any more."""
        self._disturb_until(faults_end_ns)
        self.agenda.later(faults_end_ns, self._heal)
        while self.agenda.now <= limit_ns:
            deadline, planned = self.scheduler.next_deadline(), self.agenda.next_ns
            if planned is not None and (deadline is None or planned < deadline):
                self.agenda.step()
            elif deadline is not None:
                self.agenda.now = deadline
                self._tell(TimePassed())
            else:
                return
        raise AssertionError("the story does not come to an end")

    # The daemon

    def _start_daemon(self) -> None:
        """Begin a life: only what was committed is still there, and every peer is asked."""
        rng = self._chance.rng
        self.agenda.life += 1
        self.scheduler = Scheduler(Random(rng.random()))
        self.open_orders.clear()
        self.sources.begin_life()
        for source in self.sources.all.values():
            self.sources.announce_later(source, rng.randrange(500) * MS)
        self.agenda.in_this_life(600 * MS, partial(self._tell, DiscoverySettled()))
        for wish in self.wishes:
            wish.written = wish.committed
            if not wish.is_fulfilled:
                self.agenda.in_this_life(rng.randrange(1000) * MS, partial(self._request, wish))

    def _request(self, wish: Wish) -> None:
        version = wish.version
        chosen = (version.version, version.digest) if wish.is_chosen else (None, None)
        self._tell(RecoveryRequested(wish.recovery, version.checkpoint, *chosen))

    def _tell(self, event: Event) -> None:
        """Report a fact, and carry out what follows from it."""
        self._take_answer(event)
        effects = self.scheduler.handle(event, now=self.agenda.now)
        check_invariants(self.scheduler.inspect())
        check_nothing_is_overlooked(self.scheduler, Options(), now=self.agenda.now)
        for effect in effects:
            self.trace.append(f"{self.agenda.now} {_spelled(effect)}")
            self._carry_out(effect)

    def _report_later(self, delay_ns: int, event: Event) -> None:
        self.agenda.in_this_life(delay_ns, partial(self._tell, event))

    # Which orders are open

    def _open(self, *name: object) -> None:
        self.open_orders[name] += 1
        assert self.open_orders[name] == 1 or name[0] == "confirm", f"{name} was given twice"

    def _take_answer(self, event: Event) -> None:
        """Strike out the order that an event ends; it must be open."""
        name = _ended_by(event)
        if name:
            assert self.open_orders[name] > 0, f"{name} ends twice"
            self.open_orders[name] -= 1

    def _wish(self, recovery: RecoveryId) -> Wish:
        [wish] = [wish for wish in self.wishes if wish.recovery == recovery]
        return wish

    def _check_quiet(self, wish: Wish) -> None:
        """Check that nothing is written for a wish."""
        assert not self.sources.are_serving(wish)
        assert not self.open_orders["commit", wish.recovery]

    # Orders

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case FetchManifest():
                self._fetch_manifest(effect, self._wish(effect.recovery))
            case PrepareStaging():
                self._prepare_staging(effect, self._wish(effect.recovery))
            case FetchRange():
                self._open("range", effect.transfer)
                self.sources.fetch(effect, self._wish(effect.recovery))
            case CloseLane():
                self.sources.close(effect)
            case ConfirmHolding():
                self._open("confirm", effect.source, effect.digest)
                self.sources.confirm(effect)
            case CommitBlocks():
                self._commit(effect, self._wish(effect.recovery))
            case PlaceVersion():
                self._place(effect, self._wish(effect.recovery))
            case DiscardStaging():
                self._discard(effect, self._wish(effect.recovery))
            case ChooseVersion():
                self._wish(effect.recovery).is_chosen = True
            case EndRecovery():
                self._end(effect, self._wish(effect.recovery))
            case unreachable:
                assert_never(unreachable)

    def _fetch_manifest(self, order: FetchManifest, wish: Wish) -> None:
        self._open("manifest", order.recovery, order.source)
        assert order.digest == wish.version.digest
        arrived = ManifestArrived(order.recovery, order.source, wish.version.space)
        missed = ManifestMissed(order.recovery, order.source, is_lie=False)
        if order.source is None:
            self._report_later(1 * MS, arrived if wish.has_manifest else missed)
            return
        source = self.sources.all[order.source]
        lied = ManifestMissed(order.recovery, order.source, is_lie=not source.is_honest)
        self._report_later(2 * source.latency_ns, self._chance.event(arrived, missed, lied))

    def _prepare_staging(self, order: PrepareStaging, wish: Wish) -> None:
        self._open("staging", order.recovery)
        self._check_quiet(wish)
        wish.has_manifest = True
        wish.written = wish.committed
        prepared = StagingPrepared(order.recovery, wish.committed)
        refused = StagingRefused(order.recovery, FULL_DISK)
        self._report_later(5 * MS, self._chance.event(prepared, refused))

    def _commit(self, order: CommitBlocks, wish: Wish) -> None:
        self._open("commit", order.recovery)
        assert order.blocks
        assert order.blocks.issubset(wish.written - wish.committed)
        committed, failed = BlocksCommitted(order.recovery), CommitFailed(order.recovery, FULL_DISK)
        lost = CommitFailed(order.recovery, LOST_STAGING)
        event = self._chance.event(committed, *[committed] * 9, failed, lost)
        delay_ns = 2 * SECOND if self._chance.strikes() else 10 * MS
        self.agenda.in_this_life(delay_ns, partial(self._end_commit, order, wish, event))

    def _end_commit(self, order: CommitBlocks, wish: Wish, event: Event) -> None:
        if isinstance(event, BlocksCommitted):
            wish.committed |= order.blocks
        self._sweep(event, wish)
        self._tell(event)

    def _sweep(self, event: Event, wish: Wish) -> None:
        """Remove half of what is on the disk if that is what an event tells of."""
        if isinstance(event, CommitFailed | PlacementFailed) and event.refusal.is_staging_lost:
            wish.committed = BlockSet(
                (block, block + 1) for block in wish.committed if self._chance.rng.random() < 0.5
            )

    def _place(self, order: PlaceVersion, wish: Wish) -> None:
        self._open("place", order.recovery)
        self._check_quiet(wish)
        assert not order.missing
        assert wish.committed == wish.written == wish.version.blocks
        placed = VersionPlaced(order.recovery)
        failed = PlacementFailed(order.recovery, FULL_DISK)
        lost = PlacementFailed(order.recovery, LOST_STAGING)
        event = self._chance.event(placed, failed, lost)
        self._sweep(event, wish)
        self._report_later(5 * MS, event)

    def _discard(self, order: DiscardStaging, wish: Wish) -> None:
        self._open("discard", order.recovery)
        self._check_quiet(wish)
        wish.written = wish.committed = BlockSet()
        wish.is_chosen = wish.has_manifest = False
        self._report_later(5 * MS, StagingDiscarded(order.recovery))

    def _end(self, end: EndRecovery, wish: Wish) -> None:
        self._check_quiet(wish)
        wish.ends.append(end)
        wish.attempt += 1
        if not wish.is_fulfilled:
            self.agenda.in_this_life(100 * MS, partial(self._request, wish))

    # Disturbances

    def _disturb_until(self, end_ns: int) -> None:
        at_ns = 0
        while at_ns < end_ns:
            self.agenda.later(at_ns, self._disturb)
            at_ns += self._chance.rng.randrange(50, 1500) * MS

    def _disturb(self) -> None:
        """Let something happen to a source, a recovery or the daemon itself, or nothing."""
        if not self._chance.strikes():
            return
        rng = self._chance.rng
        source, wish = rng.choice(list(self.sources.all.values())), rng.choice(self.wishes)
        disturbances: list[Callable[[], None]] = [
            *[partial(self.sources.lose, source)] * 3,
            *[partial(self.sources.bear_again, source)] * 3,
            *[partial(self._pause, wish)] * 3,
            partial(self._tell, RecoveryCancelled(wish.recovery)),
            self._start_daemon,
        ]
        rng.choice(disturbances)()

    def _pause(self, wish: Wish) -> None:
        self._tell(RecoveryPaused(wish.recovery))
        self._report_later(self._chance.rng.randrange(2000) * MS, RecoveryResumed(wish.recovery))

    def _heal(self) -> None:
        """Let nothing go wrong any more, and every source say what it has."""
        self._chance.share = 0.0
        for source in self.sources.all.values():
            self.sources.announce(source)


def _ended_by(event: Event) -> tuple[object, ...]:
    """Return the name of the order that an event ends; empty for other events."""
    name: tuple[object, ...] = ()
    match event:
        case ManifestArrived() | ManifestMissed():
            name = ("manifest", event.recovery, event.source)
        case StagingPrepared() | StagingRefused():
            name = ("staging", event.recovery)
        case RangeEnded():
            name = ("range", event.transfer)
        case HoldingConfirmed():
            name = ("confirm", event.source, event.digest)
        case BlocksCommitted() | CommitFailed():
            name = ("commit", event.recovery)
        case VersionPlaced() | PlacementFailed():
            name = ("place", event.recovery)
        case StagingDiscarded():
            name = ("discard", event.recovery)
        case _:
            pass
    return name


def _spelled(effect: Effect) -> str:
    """Spell an order out, without what has no spelling of its own."""
    if isinstance(effect, PrepareStaging):
        return f"PrepareStaging({effect.recovery}, {effect.digest})"
    return repr(effect)


def drawn(seed: int) -> Driver:
    """Draw a scene: one or two checkpoints, two to five sources, the first of them honest."""
    rng = Random(seed)
    versions = [
        saved(
            *(rng.choice(SIZES) for _ in range(rng.randrange(5))),
            critical=[rng.choice(SIZES) for _ in range(rng.randrange(3))],
            deferred=[rng.choice(SIZES) for _ in range(rng.randrange(3))],
            checkpoint=f"llama/rank-{rank}",
            block_size_bytes=rng.choice([MIB, MIB // 4]),
        )
        for rank in range(rng.choice([1, 1, 2]))
    ]
    sources = [
        Source(
            NodeId(f"n{number}"),
            rate_bytes_per_s=rng.choice([1, 4, 20]) * MIB,
            latency_ns=rng.choice([1, 20, 300]) * MS,
            is_honest=number == 0 or rng.random() < 0.5,
            held={
                version.digest: version.blocks if number == 0 else _some(version.blocks, rng)
                for version in versions
            },
        )
        for number in range(rng.randrange(2, 6))
    ]
    mishaps = rng.choice([0.0, 0.05, 0.2, 0.5])
    for source in sources:
        if rng.random() < 0.5:
            source.lane_rate_bytes_per_s = source.rate_bytes_per_s // 4
    return Driver(seed, versions, sources, mishaps=mishaps)


def _some(blocks: BlockSet, rng: Random) -> BlockSet:
    """Draw half of some blocks, or all of them."""
    if rng.random() < 0.5:
        return blocks
    return BlockSet((block, block + 1) for block in blocks if rng.random() < 0.5)


def fingerprint(seeds: Iterable[int]) -> str:
    """Return a digest of all orders given for some seeds."""
    digest = sha256()
    for seed in seeds:
        driver = drawn(seed)
        driver.run(faults_end_ns=10 * SECOND, limit_ns=120 * SECOND)
        digest.update("\n".join(driver.trace).encode())
    return digest.hexdigest()
