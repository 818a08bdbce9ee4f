"""Carries out the scheduler's orders in one life of a simulated node.

The counterpart of ``ckptd.daemon.recover.runner``: every order that starts something ends with one
event, unless the node dies before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVarTuple, assert_never

from ckptd.core.effects import (
    AnnounceMilestone,
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    DropManifest,
    Effect,
    EndRecovery,
    ExamineRival,
    FetchManifest,
    FetchRange,
    JoinManifests,
    PlacePhase,
    PlaceVersion,
    PrepareStaging,
    WakeReader,
    WidenStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    HoldingConfirmed,
    ManifestsJoined,
    PhaseHeld,
    PhasePlaced,
    PlacementFailed,
    Refusal,
    Reporting,
    RivalExamined,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    StagingWidened,
    VersionPlaced,
    WideningRefused,
)
from ckptd.limits import CONNECT_TIMEOUT_NS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS, Digest, LaneId, NeedId, NodeId, PathId, RecoveryId
from ckptd.model.words import Confirmation, Criticality, RivalVerdict
from ckptd.sim.node.shelf import Shelf
from ckptd.sim.node.simulated_coding import SimulatedCoding
from ckptd.sim.node.simulated_disk_lane import SimulatedDiskLane
from ckptd.sim.node.simulated_lane import Delivered, SimulatedLane
from ckptd.sim.node.simulated_manifests import JOURNAL_NS, SimulatedManifests
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.disk import FULL, IN_THE_WAY, LOST, Disk
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion
from ckptd.sim.world.network import Network
from ckptd.sim.world.virtual_time import World

QUESTION_TIMEOUT_NS: Final = 10 * SECOND
"""How long an answer to a small question may take, as in ``net.inquiry``."""

HANG_NS: Final = 2 * SECOND
"""How long a disk hangs now and then when things go wrong."""

_CLOSED_MAX: Final = 100
"""So many lanes that were closed last may still end what they had begun."""

UsualLane: TypeAlias = SimulatedLane | SimulatedDiskLane
"""A lane to a peer, or to the node's own disks."""

_Args = TypeVarTuple("_Args")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node's life takes place in.

    Attributes:
        world: Time.
        network: What lies between the nodes.
        servers: The serving sides of all nodes.
        disk: The node's disk.
        shelf: What lies on its disks already.
        stagings: What the node recovers; outlives it.
        places: What stands on its disk under a final name, by digest; outlives it too.
        report: Takes events for the scheduler.
        placed: Called with what stands at a place from now on.
        delivered: Called with blocks that come off a lane.
        swept: Called with blocks that somebody removed from staging.
        ended: Called with recoveries that are over.
        woken: Called with ranges of which more is here.
    """

    world: World
    network: Network
    servers: Mapping[PathId, Server]
    disk: Disk
    shelf: Shelf
    stagings: dict[RecoveryId, SimulatedStaging]
    places: dict[Digest, tuple[SavedVersion, BlockSet]]
    report: Reporting
    placed: Callable[[SavedVersion, BlockSet], None]
    delivered: Delivered
    swept: Callable[[RecoveryId, BlockSet], None]
    ended: Callable[[EndRecovery], None]
    woken: Callable[[NeedId], None]


class SimulatedRunner:
    """Does what the scheduler says, until it is stopped.

    Args:
        node: Whose.
        around: What it works with.
        is_swarming: Committed blocks are served while the version is not complete.

    Attributes:
        lanes: The open ones.
        lane_count: How many were opened.
        request_count: How many ranges were asked for.
        coding: Knows how blocks came.
    """

    def __init__(self, node: NodeId, around: Surroundings, *, is_swarming: bool) -> None:
        self.lanes: dict[LaneId, UsualLane] = {}
        self.lane_count = 0
        self.request_count = 0
        self._closed: deque[UsualLane] = deque(maxlen=_CLOSED_MAX)
        self._node = node
        self._around = around
        self._server = around.servers[node]
        processors = around.network.ports[node].processors
        self.coding = SimulatedCoding(around.world, processors, self._server, around.places)
        self.coding.lane_count = lambda node: sum(
            isinstance(lane, SimulatedLane) and lane.source == node for lane in self.lanes.values()
        )
        self._is_swarming = is_swarming
        self._is_stopped = False
        self._was_any_full = False
        self._arrived: dict[tuple[RecoveryId, Digest], SavedVersion] = {}
        self._manifests = SimulatedManifests(
            self._ask,
            self._after,
            self._report,
            self._own_version,
            self._arrived,
            around.stagings,
        )

    def stop(self) -> None:
        """Stop: nothing that was started goes on."""
        self._is_stopped = True
        for lane in (*self.lanes.values(), *self._closed):
            lane.drop()
        self.lanes.clear()
        self._closed.clear()

    def carry_out(self, effect: Effect) -> None:  # noqa: PLR0912 (one for each order)
        """Start what an order asks for."""
        match effect:
            case FetchRange():
                self._fetch_range(effect)
            case CloseLane():
                lane = self.lanes.pop(effect.lane, None)
                if lane is not None:
                    lane.close()
                    self._closed.append(lane)
            case ChooseVersion() | AnnounceMilestone():
                pass
            case WakeReader():
                self._around.woken(effect.need)
            case FetchManifest():
                self._manifests.fetch(effect)
            case DropManifest():
                self._manifests.drop(effect)
            case JoinManifests():
                self._join(effect)
            case ExamineRival():
                self._examine(effect)
            case ConfirmHolding():
                self._confirm(effect)
            case PrepareStaging():
                self._prepare(effect)
            case WidenStaging():
                self._widen(effect)
            case CommitBlocks():
                self._commit(effect)
            case PlacePhase():
                self._place_phase(effect)
            case PlaceVersion():
                self._place(effect)
            case DiscardStaging():
                self._discard(effect)
            case EndRecovery():
                self._around.stagings.pop(effect.recovery)
                self._around.ended(effect)
            case unreachable:
                assert_never(unreachable)

    def look_at_stagings(self) -> None:
        """Stop lanes from taking more than may lie uncommitted."""
        is_any_full = any(staging.is_full for staging in self._around.stagings.values())
        if is_any_full or self._was_any_full:
            for lane in self.lanes.values():
                lane.look_at_staging()
        self._was_any_full = is_any_full

    # Questions to peers

    def _fetch_range(self, order: FetchRange) -> None:
        around = self._around
        lane = self.lanes.get(order.lane)
        if lane is None and order.source == OWN_DISKS:
            lane = self.lanes[order.lane] = SimulatedDiskLane(
                order.lane,
                around.world,
                around.shelf,
                self._report,
                around.delivered,
                self._server.mishaps,
            )
        elif lane is None:
            server = around.servers[order.source]
            lane = self.lanes[order.lane] = SimulatedLane(
                order.lane,
                around.world,
                around.network,
                server,
                self._node,
                self._report,
                around.delivered,
                self._server.mishaps,
                self.coding,
            )
            self.lane_count += 1
        self.request_count += order.source != OWN_DISKS
        lane.request(order, around.stagings[order.recovery])

    def _own_version(self, order: FetchManifest) -> SavedVersion | None:
        """Return a version of which this node has the manifest: in the journal or the catalog."""
        version = self._around.stagings[order.recovery].version
        if version is None or version.digest != order.digest:
            version, _ = self._around.places.get(order.digest, (None, None))
            if version is not None:
                self._arrived[order.recovery, order.digest] = version
        return version

    def _join(self, order: JoinManifests) -> None:
        """Join the manifests of shards: those that came, or that are in the journal or catalog."""
        around, staging = self._around, self._around.stagings[order.recovery]
        known: dict[Digest, SavedVersion] = {}
        if isinstance(staging.version, JoinedVersion):
            known |= staging.version.members
        known |= {digest: version for digest, (version, _) in around.places.items()}
        known |= {
            digest: version
            for (recovery, digest), version in self._arrived.items()
            if recovery == order.recovery
        }
        joined = JoinedVersion(order.job, [known[digest] for digest in order.members])
        joined = self._server.joints.setdefault(joined.digest, joined)
        self._arrived[order.recovery, joined.digest] = joined
        event = ManifestsJoined(order.recovery, joined.digest, joined.joint)
        self._after(JOURNAL_NS, lambda: self._report(event))

    def _examine(self, order: ExamineRival) -> None:
        def verdict(verdict: RivalVerdict, size_bytes: int = 0) -> None:
            about = (order.recovery, order.digest, order.source)
            self._report(RivalExamined(*about, verdict, size_bytes, block=order.block))

        def answered(server: Server) -> None:
            version = server.held_version(order.digest)
            if server.invents(order.digest):
                verdict(RivalVerdict.FALSE)
            elif server.mishaps.goes_wrong():
                verdict(RivalVerdict.NO_ANSWER)
            elif version is None:
                verdict(RivalVerdict.NOT_HELD)
            elif server.lies_about_manifest():
                verdict(RivalVerdict.FALSE)
            elif order.block is None:
                verdict(RivalVerdict.GENUINE, version.size_bytes)
            else:
                run = BlockRun(order.block, order.block + 1)
                if server.answer(order.digest, run) is not None:
                    verdict(RivalVerdict.NO_ANSWER)
                elif server.bad_among(order.digest, *run):
                    verdict(RivalVerdict.BAD_BLOCK)
                else:
                    verdict(RivalVerdict.GENUINE, version.size_bytes)

        self._ask(order.source, answered, lambda: verdict(RivalVerdict.NO_ANSWER))

    def _confirm(self, order: ConfirmHolding) -> None:
        def answer(confirmation: Confirmation, denied: BlockSet | None = None) -> None:
            self._report(HoldingConfirmed(order.source, order.digest, confirmation, denied))

        self._ask(
            order.source,
            lambda server: answer(*server.confirm(order.digest, order.blocks)),
            lambda: answer(Confirmation.NO_ANSWER),
        )

    def _ask(
        self, source: PathId, answered: Callable[[Server], None], failed: Callable[[], None]
    ) -> None:
        """Put a small question: over a new connection, one way there and back for each."""
        network, server = self._around.network, self._around.servers[source]
        node = server.node
        if not network.reaches(self._node, node):
            self._after(CONNECT_TIMEOUT_NS, failed)
            return
        there_and_back_ns = 2 * network.delay_ns(self._node, node)
        if not server.accepts:
            self._after(there_and_back_ns, failed)
            return
        life = server.life

        def arrive() -> None:
            is_there = server.is_up and server.life == life
            if is_there and network.reaches(self._node, node) and not server.is_mute:
                answered(server)
            else:
                self._after(QUESTION_TIMEOUT_NS, failed)

        self._after(2 * there_and_back_ns, arrive)

    # The disk

    def _prepare(self, order: PrepareStaging) -> None:
        staging, disk = self._around.stagings[order.recovery], self._around.disk
        arrived = self._arrived.get((order.recovery, order.digest), staging.version)
        if staging.version is not None and staging.version is not arrived:
            self._disclaim(staging.version)  # another content was chosen
            staging.committed = BlockSet()
        staging.version = arrived

        def prepared() -> None:
            refusal = disk.refusal or (FULL if self._server.mishaps.goes_wrong() else None)
            if refusal is not None:
                self._report(StagingRefused(order.recovery, refusal))
                return
            staging.committed |= local
            staging.open()
            self._serve(staging)
            here = staging.committed
            nearby = self._around.shelf.believed(order.digest) - here
            factors = self.coding.factors(version, self._around.servers)
            found = (here, local, zeros, nearby)
            self._report(StagingPrepared(order.recovery, *found, factors=factors))

        version = staging.known_version()
        zeros = version.zeros - order.unchosen
        local = zeros - staging.committed
        disk.work(version.set_bytes(staging.committed), self._in_this_life(prepared))

    def _widen(self, order: WidenStaging) -> None:
        staging, disk = self._around.stagings[order.recovery], self._around.disk

        def widened() -> None:
            refusal = disk.refusal or (FULL if self._server.mishaps.goes_wrong() else None)
            if refusal is not None:
                self._report(WideningRefused(order.recovery, refusal))
                return
            zeros = staging.known_version().zeros & order.blocks
            staging.hold(zeros)
            self._report(StagingWidened(order.recovery, order.blocks, zeros))

        disk.work(0, self._in_this_life(widened))

    def _commit(self, order: CommitBlocks) -> None:
        staging, disk = self._around.stagings[order.recovery], self._around.disk

        def written() -> None:
            refusal = disk.refusal or self._draw_refusal(staging, often=0.5)
            if refusal is not None:
                self._report(CommitFailed(order.recovery, refusal))
                return
            staging.commit(order.blocks)
            self.look_at_stagings()
            self._serve(staging)
            self._report(BlocksCommitted(order.recovery))

        size_bytes = staging.known_version().set_bytes(order.blocks)
        if self._server.mishaps.goes_wrong():
            size_bytes += HANG_NS * disk.rate_bytes_per_s // SECOND
        disk.work(size_bytes, self._in_this_life(written))

    def _serve(self, staging: SimulatedStaging) -> None:
        if self._is_swarming:
            version = staging.known_version()
            _, standing = self._around.places.get(version.digest, (None, BlockSet()))
            right = standing - self._server.spoiled(version.digest, standing)
            self._server.hold(version, staging.committed | right)

    def _place(self, order: PlaceVersion) -> None:
        staging, disk = self._around.stagings[order.recovery], self._around.disk
        version = staging.known_version()

        def placed() -> None:
            refusal = disk.refusal or self._draw_refusal(staging)
            if refusal is not None:
                self._report(PlacementFailed(order.recovery, refusal))
                return
            blocks = version.space.of_whole_units(order.missing)
            self._around.placed(version, blocks)
            self._server.hold(version, blocks)
            self._report(VersionPlaced(order.recovery))

        # Critical units are hashed once more.
        critical_bytes = version.set_bytes(version.classes[Criticality.CRITICAL])
        disk.work(critical_bytes, self._in_this_life(placed))

    def _place_phase(self, order: PlacePhase) -> None:
        staging, disk = self._around.stagings[order.recovery], self._around.disk
        version = staging.known_version()
        phases = [each for each in version.space.phases if each.phase <= order.phase]
        upto = BlockSet.full(phases[-1].blocks[1])
        blocks = upto & version.space.of_whole_units(order.missing)
        staging.has_placed = True  # in the journal, before anything can be seen

        def placed() -> None:
            is_in_the_way = self._server.mishaps.goes_wrong(0.5)
            refusal = disk.refusal or self._draw_refusal(staging, often=0.5)
            if is_in_the_way or refusal is not None:
                held = PhaseHeld(order.recovery, refusal or IN_THE_WAY, refusal is None)
                self._report(held)
                return
            staging.visible |= blocks
            self._report(PhasePlaced(order.recovery, order.phase))

        critical = version.classes[Criticality.CRITICAL] & blocks
        disk.work(version.set_bytes(critical), self._in_this_life(placed))

    def _draw_refusal(self, staging: SimulatedStaging, often: float = 1.0) -> Refusal | None:
        """Draw why what was asked of the disk fails; ``None`` if it does not."""
        mishaps = self._server.mishaps
        if not mishaps.goes_wrong(often):
            return None
        refusal = mishaps.pick(FULL, LOST)
        if refusal.is_staging_lost:
            self._around.swept(staging.recovery, staging.sweep(mishaps))
        return refusal

    def _discard(self, order: DiscardStaging) -> None:
        staging = self._around.stagings[order.recovery]
        staging.committed = BlockSet()
        if order.withdraws_placed:
            staging.visible = BlockSet()
        if staging.version is not None:
            self._disclaim(staging.version)
        discarded = StagingDiscarded(order.recovery)
        self._around.disk.work(0, self._in_this_life(lambda: self._report(discarded)))

    def _disclaim(self, version: SavedVersion) -> None:
        """Offer nothing of a version any more but what stands at a place."""
        members = version.members if isinstance(version, JoinedVersion) else {version.digest: None}
        for digest in members:
            self._server.disclaim(digest)
            if digest in self._around.places:
                self._server.hold(*self._around.places[digest])

    # This life

    def _report(self, *events: Event) -> None:
        if not self._is_stopped:
            self._around.report(*events)

    def _after(self, delay_ns: int, action: Callable[[*_Args], None], *args: *_Args) -> None:
        self._around.world.after(delay_ns, self._in_this_life(lambda: action(*args)))

    def _in_this_life(self, action: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            if not self._is_stopped:
                action()

        return act
