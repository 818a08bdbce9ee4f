"""The daemon's side of the control socket for tests, and messages to send through it."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

import msgspec

from ckptd.control.messages.checkpoints import (
    CheckpointRow,
    PublishEvent,
    PublishProgress,
    PublishRequest,
    PublishResult,
)
from ckptd.control.messages.daemon_status import ListenAddresses, ReloadResult, RootRow, Status
from ckptd.control.messages.explanations import ExplanationView, Happening, PeerPart
from ckptd.control.messages.limit_settings import ChangeLimits, LimitRow, LimitsView, YieldView
from ckptd.control.messages.peers import BadBlockRow, PeerRow, PeerView
from ckptd.control.messages.plans import ClassBytes, PassedOverRow, Plan, PlanRequest, PlanSource
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.control.messages.recovery_results import (
    RecoveryProgress,
    RecoveryResult,
    SourceShare,
    WatchEvent,
)
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView, SourceRow
from ckptd.control.roles import Roles
from ckptd.control.server.dispatch import serve_control
from ckptd.errors import CkptdError, NotFound
from ckptd.limits import GIB, MIB
from ckptd.model.words import (
    Confirmation,
    LimitOrigin,
    Location,
    PeerState,
    Result,
    SourceState,
    Stage,
)
from tests.support.observing import StandInObserving

LIMITS = LimitsView(
    limits=(
        LimitRow(
            limit="egress.background",
            bytes_per_s=50 * MIB,
            origin=LimitOrigin.SCHEDULE,
            configured_bytes_per_s=50 * MIB,
        ),
        LimitRow(
            limit="ingress.total",
            bytes_per_s=None,
            origin=LimitOrigin.RUNTIME,
            configured_bytes_per_s=400 * MIB,
            left_s=600,
        ),
    ),
    throttled_s={"ingress": {"normal": 12.5, "background": 0.0}},
    yielding=YieldView(
        interface="eth0",
        link_bytes_per_s=GIB,
        ingress_bytes_per_s=100 * MIB,
        egress_bytes_per_s=200 * MIB,
    ),
)

DIGEST = "ab" * 32

VIEW = RecoveryView(
    recovery="01J9QX",
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    target="/data/llama/rank-0/100",
    stage=Stage.TRANSFERRING,
    is_paused=False,
    units_total=120,
    units_done=37,
    bytes_total=2 * GIB,
    bytes_verified=512 * MIB,
    bytes_left=2 * GIB - 512 * MIB,
    rate_bytes_per_s=1.5 * GIB,
    eta_s=1.0,
    waiting_for="",
    missing_blocks=0,
    missing_units=(),
    sources=(
        SourceRow(
            node="node-b",
            state=SourceState.ACTIVE,
            bytes=300 * MIB,
            rate_bytes_per_s=900.0 * MIB,
            in_flight_bytes=32 * MIB,
        ),
        SourceRow(
            node="node-c",
            state=SourceState.BACKING_OFF,
            bytes=212 * MIB,
            rate_bytes_per_s=636.0 * MIB,
            in_flight_bytes=0,
        ),
    ),
    started_at_s=1_700_000_000.0,
    elapsed_s=0.4,
)
PROGRESS = RecoveryProgress(view=VIEW)

RESULT = RecoveryResult(
    recovery="01J9QX",
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    result=Result.COMPLETE,
    is_degraded=False,
    missing_units=(),
    cause=None,
    message="",
    target="/data/llama/rank-0/100",
    bytes_total=2 * GIB,
    bytes_received=2 * GIB,
    bytes_resumed=0,
    bytes_wasted=0,
    duration_s=1.4,
    time_to_critical_s=0.3,
    sources=(
        SourceShare(node="node-b", bytes=1200 * MIB),
        SourceShare(node="node-c", bytes=848 * MIB),
    ),
)

PUBLISH_PROGRESS = PublishProgress(
    files_done=3, files_total=12, bytes_done=512 * MIB, bytes_total=2 * GIB
)
PUBLISH_RESULT = PublishResult(
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    size_bytes=2 * GIB,
    units=12,
    is_new=True,
    directory="/data/llama/rank-0/100",
    duration_s=0.7,
)

CHECKPOINT = CheckpointRow(
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    size_bytes=2 * GIB,
    held=Location.PEERS,
    is_complete=True,
    is_stale=False,
    nodes=("node-b", "node-c"),
)
PEER = PeerRow(
    node="node-b",
    address="10.0.0.2:7421",
    state=PeerState.LIVE,
    epoch=7,
    versions=3,
    rate_bytes_per_s=900.0 * MIB,
)
PEER_VIEW = PeerView(
    node="node-b",
    address="10.0.0.2:7421",
    state=SourceState.DISTRUSTED,
    epoch=7,
    versions=3,
    versions_complete=2,
    rate_bytes_per_s=900.0 * MIB,
    latency_s=0.0021,
    trust=0,
    failures=0,
    quarantines=1,
    quarantined_until_s=1_700_000_060.0,
    bad_blocks=51,
    evidence=(
        BadBlockRow(
            at_s=1_700_000_000.0,
            checkpoint="llama/rank-0",
            version=100,
            unit="model.safetensors",
            block=3,
            recovery="01J9QX",
            answer=Confirmation.HELD,
        ),
    ),
)
PLAN = Plan(
    checkpoint="llama/rank-0",
    version=100,
    why="newest of which every block is reachable",
    passed_over=(),
    is_settled=True,
    digest=DIGEST,
    bytes_total=2 * GIB,
    units=120,
    bytes_by_class=ClassBytes(critical=GIB // 2, normal=GIB, deferred=GIB // 2),
    sources=(
        PlanSource(
            node="node-b",
            state=SourceState.IDLE,
            bytes=2 * GIB,
            is_complete=True,
            rate_bytes_per_s=900.0 * MIB,
            latency_s=0.0021,
        ),
        PlanSource(
            node="node-c",
            state=SourceState.IDLE,
            bytes=GIB,
            is_complete=False,
            rate_bytes_per_s=None,
            latency_s=None,
        ),
    ),
    missing_critical_blocks=0,
    target="/data/llama/rank-0/100",
    needed_bytes=2 * GIB,
    free_bytes=3 * GIB,
    predicted_critical_s=0.6,
    predicted_complete_s=2.3,
    prediction_remark="not counting node-c, whose rates are not known yet",
)
EXPLANATION = ExplanationView(
    recovery="01J9QX",
    checkpoint="llama/rank-0",
    version=100,
    digest=DIGEST,
    stage=Stage.TRANSFERRING,
    why="newest of which every block is reachable",
    passed_over=(PassedOverRow(version=90, digest=DIGEST, why="older"),),
    bottleneck="network",
    waiting_for="",
    message="",
    peers=(
        PeerPart(
            node="node-b",
            code="used",
            sentence="gave 300 MiB, delivers 900 MiB/s",
            bytes=300 * MIB,
            share=0.586,
            rate_bytes_per_s=900 * MIB,
        ),
        PeerPart(
            node="node-d",
            code="not_held",
            sentence="does not hold the version",
            bytes=0,
            share=0.0,
            rate_bytes_per_s=0,
        ),
    ),
    wasted={"hedge": MIB, "corrupt": 2 * MIB},
    counts={"version_chosen": 1, "lane_late": 2},
    story=(
        Happening(
            at_s=1_700_000_000.2,
            after_s=0.2,
            kind="lane_late",
            reason="silent",
            sentence="node-c was silent for 620ms, allowed 500ms: cut off, not asked for 200ms",
            source="node-c",
            other=None,
            blocks=(3, 7),
            numbers={"silent_s": 0.62, "allowed_s": 0.5, "pause_s": 0.2},
        ),
    ),
)
STATUS = Status(
    node="node-a",
    ckptd_version="0.1.0",
    epoch=3,
    started_at_s=1_700_000_000.0,
    uptime_s=11_100.0,
    listen=ListenAddresses(data="0.0.0.0:7421", metrics=None, control="/run/ckptd/ckptd.sock"),
    roots=(RootRow(name="ckpt", path="/data", free_bytes=3 * GIB // 2),),
    checkpoints=2,
    peers=4,
    peers_reachable=3,
    recoveries=(),
    event_loop_lag_s=0.002,
)


RAISED = Prioritized(recovery="01J9QX", units=3, units_here=1, bytes=48 * MIB, bytes_here=16 * MIB)
NEED_PROGRESS = NeedProgress(
    recovery="01J9QX",
    unit="model/a",
    is_prioritized=True,
    bytes_total=32 * MIB,
    bytes_here=8 * MIB,
    waiting_for="",
)
NEED_RESULT = NeedResult(
    recovery="01J9QX", unit="model/a", path="/data/.ckptd/01J9QX/model/a", is_placed=False
)
RELOADED = ReloadResult(applied=("log.level",), needs_restart=("listen.data",))


class Hold:
    """A step of a script that never ends by itself."""


class StandInDaemon:
    """Plays scripts: what a stream yields, raises, or waits for.

    Attributes:
        watching: Steps of each watch stream.
        publishing: Steps of each publish stream.
        needing: Steps of each stream about a unit that is needed.
        views: What the daemon knows of recoveries; :meth:`recover` adds one.
        refusal: Raised by every action.
        observing: What it says of itself.
        calls: Actions that came through, with what they were given.
        watched: Recoveries that a watch stream was asked for.
        publishing_begun: Set when a publish stream was asked for.
        publishing_stopped: Set when one was closed before its end.
    """

    def __init__(
        self,
        *,
        watching: Sequence[WatchEvent | Exception | Hold] = (PROGRESS, RESULT),
        publishing: Sequence[PublishEvent | Exception | Hold] = (PUBLISH_PROGRESS, PUBLISH_RESULT),
        needing: Sequence[NeedEvent | Exception | Hold] = (NEED_PROGRESS, NEED_RESULT),
        views: Sequence[RecoveryView] = (),
        refusal: CkptdError | None = None,
    ) -> None:
        self.watching = watching
        self.publishing = publishing
        self.needing = needing
        self.views = list(views)
        self.refusal = refusal
        self.observing = StandInObserving()
        self.calls: list[tuple[str, object]] = []
        self.watched: list[str] = []
        self.publishing_begun = threading.Event()
        self.publishing_stopped = threading.Event()

    def status(self) -> Status:
        if self.refusal:
            raise self.refusal
        return STATUS

    def checkpoints(self) -> list[CheckpointRow]:
        return [CHECKPOINT]

    def peers(self) -> list[PeerRow]:
        return [PEER]

    def peer(self, node: str) -> PeerView:
        if node != PEER_VIEW.node:
            raise NotFound(f"peer {node!r}", "is not known", "Known: node-b.")
        return PEER_VIEW

    async def plan(self, request: PlanRequest) -> Plan:
        self._act("plan", request)
        return PLAN

    def recoveries(self) -> list[RecoveryView]:
        return self.views

    def recovery(self, recovery: str) -> RecoveryView:
        for view in self.views:
            if view.recovery == recovery:
                return view
        raise NotFound(f"recovery {recovery}", "is not known")

    def explain(self, recovery: str) -> ExplanationView:
        self.recovery(recovery)
        return EXPLANATION

    async def recover(self, request: RecoverRequest) -> RecoveryView:
        self._act("recover", request)
        view = msgspec.structs.replace(
            VIEW, checkpoint=request.checkpoint, version=request.version, stage=Stage.SEEKING
        )
        self.views.insert(0, view)
        return view

    async def pause(self, recovery: str) -> RecoveryView:
        self._act("pause", recovery)
        return msgspec.structs.replace(self.recovery(recovery), is_paused=True)

    async def resume(self, recovery: str) -> RecoveryView:
        self._act("resume", recovery)
        return self.recovery(recovery)

    async def cancel(self, recovery: str) -> RecoveryView:
        self._act("cancel", recovery)
        return msgspec.structs.replace(self.recovery(recovery), stage=Stage.CANCELLED)

    async def prioritize(self, recovery: str, request: PrioritizeRequest) -> Prioritized:
        self._act("prioritize", (recovery, request))
        return RAISED

    async def need(self, request: NeedRequest) -> AsyncGenerator[NeedEvent, None]:
        self._act("need", request)
        for step in self.needing:
            match step:
                case Hold():
                    await asyncio.Event().wait()
                case Exception():
                    raise step
                case _:
                    yield step

    def limits(self) -> LimitsView:
        return LIMITS

    def change_limits(self, request: ChangeLimits) -> LimitsView:
        self._act("limits", request)
        return LIMITS

    async def reload(self) -> ReloadResult:
        self._act("reload", None)
        return RELOADED

    async def watch(self, recovery: str) -> AsyncGenerator[WatchEvent, None]:
        self.recovery(recovery)
        self.watched.append(recovery)
        for step in self.watching:
            match step:
                case Hold():
                    await asyncio.Event().wait()
                case Exception():
                    raise step
                case _:
                    yield step

    async def publish(self, request: PublishRequest) -> AsyncGenerator[PublishEvent, None]:
        self._act("publish", request)
        self.publishing_begun.set()
        is_ended = False
        try:
            for step in self.publishing:
                match step:
                    case Hold():
                        await asyncio.Event().wait()
                    case Exception():
                        raise step
                    case _:
                        yield step
            is_ended = True
        finally:
            if not is_ended:
                self.publishing_stopped.set()

    def _act(self, action: str, given: object) -> None:
        if self.refusal:
            raise self.refusal
        self.calls.append((action, given))


@contextlib.contextmanager
def serving(
    daemon: StandInDaemon,
    socket_path: str,
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    *,
    roles: Roles | None = None,
) -> Iterator[StandInDaemon]:
    """Serve a daemon's control API from a thread for as long as the context lasts.

    Without ``roles`` the caller is the daemon's own user.
    """
    known = roles or Roles(os.geteuid(), {})
    begun = threading.Event()
    stopping: Callable[[], object] = begun.set
    failures: list[Exception] = []

    async def serve() -> None:
        nonlocal stopping
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        async with serve_control((daemon, daemon.observing), socket_path, roles=lambda: known):
            stopping = lambda: loop.call_soon_threadsafe(stop.set)  # noqa: E731
            begun.set()
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(serve())
        except Exception as error:  # noqa: BLE001 -- raised again by the test's own thread
            failures.append(error)
        finally:
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        if failures:
            raise failures[0]
        yield daemon
    finally:
        stopping()
        thread.join()
    if failures:
        raise failures[0]
