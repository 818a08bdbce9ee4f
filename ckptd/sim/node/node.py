"""A simulated node: the real scheduler in a daemon that runs, is killed and is restarted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ckptd.core.effects import Effect, EndRecovery, FetchRange
from ckptd.core.events import Event, HoldingsArrived, RecoveryRequested, TimePassed
from ckptd.core.options import Options
from ckptd.core.scheduler import Scheduler
from ckptd.limits import MS
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    LaneId,
    NeedId,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    Version,
)
from ckptd.model.shards import split_shard
from ckptd.model.unit_choice import Choice
from ckptd.sim.node.shelf import Shelf
from ckptd.sim.node.simulated_coding import SimulatedCoding
from ckptd.sim.node.simulated_runner import SimulatedRunner, Surroundings, UsualLane
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.disk import Disk
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion
from ckptd.sim.world.mishaps import Mishaps
from ckptd.sim.world.network import Network
from ckptd.sim.world.virtual_time import World


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """How nodes behave.

    Attributes:
        scheduler: The numbers of the scheduler.
        progress_ns: How often a lane reports progress; 50 ms in ``net.lane.receiving``.
        is_swarming: Committed blocks are served while the version is not complete.
    """

    scheduler: Options = field(default_factory=Options)
    progress_ns: int = 50 * MS
    is_swarming: bool = True


class Watch:
    """Sees everything and does nothing; checkers look at what concerns them."""

    def started(self, node: Node) -> None:
        """See a daemon start: with no memory but its journal."""

    def stopped(self, node: Node) -> None:
        """See a daemon get killed."""

    def delivered(self, node: Node, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        """See blocks come off a lane, before they are reported.

        Args:
            node: The receiver.
            order: What it asked for.
            run: The blocks that came.
            bad: Those of them with a wrong digest.
        """

    def swept(self, node: Node, recovery: RecoveryId, removed: BlockSet) -> None:
        """See somebody remove committed blocks from staging."""

    def handled(self, node: Node, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """See events and what was ordered because of them, before that is carried out."""


class Node:
    """One node of a cluster.

    Args:
        name: Who it is.
        world: Time.
        network: Connects it; its port is there already.
        servers: The serving sides of all nodes; its own is added.
        disk: Its disk.
        shelf_disk: What lies on its disks is copied as fast as this one works.
        watches: See everything, one after another.
        options: How it behaves.

    Attributes:
        name: Who it is.
        server: Its serving side.
        disk: Its disk.
        shelf: What lies on its disks already.
        scheduler: The decider of this life.
        stagings: What it recovers. A crash leaves of each the request, the version and what
            was committed.
        places: What stands on its disk under a final name, by digest.
        marks: The newest version of each job that was whole when it was placed here.
        ends: When its recoveries ended, and how.
        on_ended: Called with each.
        thawed_ns: When it went on after it stood still last.
        lane_count: How many lanes it opened, in all lives.
        request_count: How many ranges it asked for, in all lives.
        path_count: At how many addresses it is reached.
        readers: Who waits for a range in this life; called when more of it is here.
        reads_ns: How long each range was waited for that was read, in all lives.
    """

    def __init__(  # noqa: PLR0913 (the parts it is made of, each named)
        self,
        name: NodeId,
        *,
        world: World,
        network: Network,
        servers: dict[PathId, Server],
        disk: Disk,
        shelf_disk: Disk,
        watches: Sequence[Watch],
        options: NodeOptions,
    ) -> None:
        self.name = name
        self.server = servers[name] = Server(
            name, world.stream(f"{name}/server"), Mishaps(world.stream(f"{name}/mishaps"))
        )
        self.disk = disk
        self.stagings: dict[RecoveryId, SimulatedStaging] = {}
        self.places: dict[Digest, tuple[SavedVersion, BlockSet]] = {}
        self.marks: dict[CheckpointName, Version] = {}
        self.shelf = Shelf(shelf_disk, self.server, self.places)
        self.ends: dict[RecoveryId, tuple[int, EndRecovery]] = {}
        self.on_ended: Callable[[EndRecovery], None] = lambda _: None
        self.thawed_ns = 0
        self.lane_count = 0
        self.request_count = 0
        self.path_count = 1
        self._said_recovering: tuple[tuple[CheckpointName, Version], ...] = ()
        self.readers: dict[NeedId, Callable[[], None]] = {}
        self.reads_ns: list[int] = []
        self._need_count = 0
        self._world = world
        self._network = network
        self._servers: Mapping[PathId, Server] = servers
        self._watches = watches
        self._options = options
        self._inbox: deque[tuple[Event, ...]] = deque()
        self._is_handling = False
        self._is_frozen = False
        self._is_arming = False
        self._is_ticking = False
        self._timer_ns: int | None = None
        self._tick_phase_ns = world.stream(f"{name}/tick").randrange(options.progress_ns)
        self._begin_life()

    @property
    def is_up(self) -> bool:
        """The daemon runs."""
        return self.server.is_up

    @property
    def is_frozen(self) -> bool:
        """The daemon is stopped as by ``SIGSTOP``."""
        return self._is_frozen

    @property
    def life(self) -> int:
        """Which life of it; its epoch."""
        return self.server.life

    @property
    def path(self) -> PathId:
        """How others call the way to it; who states the id of another is a further path to that."""
        states = self.server.ruse.states
        return self.name if states is None else PathId(f"{states} via {self.name}")

    @property
    def now(self) -> int:
        """The moment."""
        return self._world.now

    @property
    def lanes(self) -> tuple[UsualLane, ...]:
        """The lanes it has open."""
        return tuple(self._runner.lanes.values())

    @property
    def coding(self) -> SimulatedCoding:
        """How blocks came in this life."""
        return self._runner.coding

    def lane(self, name: LaneId) -> UsualLane | None:
        """Return an open lane."""
        return self._runner.lanes.get(name)

    def committed(self, recovery: RecoveryId) -> BlockSet:
        """Return what a crash would leave of a recovery that has not ended."""
        staging = self.stagings.get(recovery)
        return BlockSet() if staging is None else staging.committed

    @property
    def paths(self) -> tuple[PathId, ...]:
        """How others call all ways to it."""
        further = (PathId(f"{self.path} via {number}") for number in range(2, self.path_count + 1))
        return (self.path, *further)

    def announcements(self) -> tuple[HoldingsArrived, ...]:
        """Return what it announces to peers, on each path."""
        server, origin = self.server, Origin(self.name)
        node, epoch = server.ruse.states or self.name, Epoch(self.life + server.epochs)
        claims = server.claims()
        recovering = (*self.scheduler.recovering(), *server.announces)
        return tuple(
            HoldingsArrived(node, epoch, claims, path, origin, recovering) for path in self.paths
        )

    # Life and death

    def _begin_life(self) -> None:
        self.server.life += 1
        self.scheduler = Scheduler(
            self._world.stream(f"{self.name}/scheduler/{self.life}"), self._options.scheduler
        )
        around = Surroundings(
            world=self._world,
            network=self._network,
            servers=self._servers,
            disk=self.disk,
            shelf=self.shelf,
            stagings=self.stagings,
            places=self.places,
            report=self.report,
            placed=self._placed,
            delivered=self._delivered,
            swept=self._swept,
            ended=self._ended,
            woken=self._woken,
        )
        self._runner = SimulatedRunner(self.name, around, is_swarming=self._options.is_swarming)

    def start(self) -> None:
        """Start the daemon; recoveries that were interrupted go on."""
        assert not self.is_up, f"{self.name} runs"
        self.server.is_up = True
        for watch in self._watches:
            watch.started(self)
        for staging in list(self.stagings.values()):
            request = staging.request
            if staging.version is not None:
                version = staging.version
                request = replace(
                    request,
                    version=version.version,
                    digest=version.digest,
                    is_named=request.version is not None,
                )
                if request.job is not None and isinstance(version, JoinedVersion):
                    members = tuple(version.joint.shards)
                    request = replace(request, job=replace(request.job, members=members))
                if self._options.is_swarming:
                    _, placed = self.places.get(version.digest, (None, BlockSet()))
                    self.server.hold(version, staging.committed | placed)
            self.report(replace(request, has_placed=staging.has_placed))

    def crash(self) -> None:
        """Kill the daemon."""
        assert self.is_up, f"{self.name} does not run"
        for watch in self._watches:
            watch.stopped(self)
        self.server.is_up = False
        self._runner.stop()
        self.count()
        self.server.reset_connections()
        self.disk.restart()
        self.shelf.restart()
        self._inbox.clear()
        self.readers.clear()
        self._is_frozen = False
        self._timer_ns = None
        self._is_ticking = False
        self._begin_life()

    def freeze(self) -> None:
        """Stop the daemon as by ``SIGSTOP``: events wait meanwhile."""
        self._is_frozen = True

    def thaw(self) -> None:
        """Let the daemon go on."""
        if self._is_frozen:
            self._is_frozen = False
            self.thawed_ns = self._world.now
            self._handle_all()

    def count(self) -> None:
        """Bring the counts of lanes and requests up to date."""
        self.lane_count += self._runner.lane_count
        self.request_count += self._runner.request_count
        self._runner.lane_count = self._runner.request_count = 0

    def stand(self, version: SavedVersion, blocks: BlockSet) -> None:
        """Have some blocks of a version at a place, and offer them."""
        self.places[version.digest] = (version, blocks)
        self.server.hold(version, blocks)

    def mark_of(self, job: CheckpointName) -> Version | None:
        """Return below which version it does not go back by itself: one that was whole here.

        What it has of a version alone, as a shard that it published, does not count.
        """
        return self.marks.get(job)

    def _placed(self, version: SavedVersion, blocks: BlockSet) -> None:
        """Have a version at a place; one that was joined stands there as its shards."""
        if not isinstance(version, JoinedVersion):
            self.places[version.digest] = (version, blocks)
            return
        for digest, member in version.members.items():
            self.places[digest] = (member, version.joint.to_member(digest, blocks))
        known = self.marks.get(version.checkpoint, version.version)
        self.marks[version.checkpoint] = max(known, version.version)

    # Events

    def want(self, request: RecoveryRequested, choice: Choice | None = None) -> None:
        """Ask for a version; a daemon that is down begins with it when it starts.

        Args:
            request: What is asked for.
            choice: Which units of it; ``None``: all.
        """
        own = tuple(
            version.holding(blocks)
            for version, blocks in self.places.values()
            if _is_of(version, request)
        )
        request = replace(request, own=own, is_by_choice=choice is not None)
        if request.job is not None:
            request = replace(request, not_below=self.mark_of(request.checkpoint))
        self.stagings[request.recovery] = SimulatedStaging(request, self.disk, choice)
        if self.is_up:
            self.report(request)

    def report(self, *events: Event) -> None:
        """Report facts that became known together, and carry out what follows."""
        self._inbox.append(events)
        if not self._is_handling and not self._is_frozen:
            self._handle_all()

    def _handle_all(self) -> None:
        self._is_handling = True
        while self._inbox and not self._is_frozen:
            events = self._inbox.popleft()
            effects = self.scheduler.handle(*events, now=self._world.now)
            for watch in self._watches:
                watch.handled(self, events, effects)
            for effect in effects:
                self._runner.carry_out(effect)
            if self._said_recovering != self.scheduler.recovering():
                self._said_recovering = self.scheduler.recovering()
                self.server.on_changed()
        self._is_handling = False
        if self._runner.lanes and not self._is_ticking:
            self._plan_tick()
        if not self._is_arming:
            self._is_arming = True
            self._world.when_moment_closes(self._arm)

    def _delivered(self, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        self._runner.look_at_stagings()
        for watch in self._watches:
            watch.delivered(self, order, run, bad)

    def _swept(self, recovery: RecoveryId, removed: BlockSet) -> None:
        for watch in self._watches:
            watch.swept(self, recovery, removed)

    def next_need(self) -> NeedId:
        """Return a name for a range that somebody waits for; it was not used before."""
        self._need_count += 1
        return NeedId(self._need_count)

    def _woken(self, need: NeedId) -> None:
        reader = self.readers.get(need)
        if reader is not None:
            reader()

    def _ended(self, effect: EndRecovery) -> None:
        self.ends[effect.recovery] = (self._world.now, effect)
        self.on_ended(effect)

    # Time

    def _plan_tick(self) -> None:
        """Plan the next look at what came; each node looks at moments of its own."""
        self._is_ticking = True
        pace_ns = self._options.progress_ns
        self._world.after(
            pace_ns - (self._world.now - self._tick_phase_ns) % pace_ns, self._tick, self.life
        )

    def _tick(self, life: int) -> None:
        if life != self.life:
            return
        self._is_ticking = False
        for lane in self.lanes:
            lane.progress()
        if self._runner.lanes and not self._is_ticking:
            self._plan_tick()

    def _arm(self) -> None:
        """See to it that the scheduler is woken no later than it wants to be.

        Deadlines mostly move away. A timer that turns out to be early is set again.
        """
        self._is_arming = False
        deadline = self.scheduler.next_deadline() if self.is_up else None
        if deadline is not None and (self._timer_ns is None or deadline < self._timer_ns):
            self._timer_ns = max(deadline, self._world.now)
            self._world.at(self._timer_ns, self._wake, self._timer_ns, self.life)

    def _wake(self, moment: int, life: int) -> None:
        if life != self.life or moment != self._timer_ns:
            return
        self._timer_ns = None
        deadline = self.scheduler.next_deadline()
        if deadline is not None and deadline <= self._world.now:
            self.report(TimePassed())
        else:
            self._arm()


def _is_of(version: SavedVersion, request: RecoveryRequested) -> bool:
    """Tell whether a version is of what is asked for; of a job, one of its shards."""
    if request.job is None:
        return version.checkpoint == request.checkpoint
    split = split_shard(version.checkpoint)
    return split is not None and split[0] == request.checkpoint
