"""The daemon's side of the control socket for tests."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

import msgspec

from ckptd.control.messages.checkpoints import (
    CheckpointRow,
    PublishEvent,
    PublishRequest,
)
from ckptd.control.messages.copies import CopiesRequest, CopiesView
from ckptd.control.messages.current_links import Activated, ActivateRequest
from ckptd.control.messages.daemon_status import ReloadResult, Status
from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.jobs import Adopted, AdoptRequest, NewestRequest, NewestView
from ckptd.control.messages.life_cycle import LetGo, LetGoRequest, RemoveEvent, RemoveRequest
from ckptd.control.messages.limit_settings import ChangeLimits, LimitsView
from ckptd.control.messages.manifests import ManifestRequest, ManifestView
from ckptd.control.messages.materialising import MaterialiseEvent, MaterialiseRequest
from ckptd.control.messages.peers import PeerRow, PeerView
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedRequest,
    NeedResult,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.control.messages.recovery_results import (
    WatchEvent,
)
from ckptd.control.messages.retention import CollectEvent, CollectRequest
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.control.messages.verifications import VerifyEvent, VerifyRequest
from ckptd.control.messages.waiting import WaitEvent, WaitRequest
from ckptd.control.messages.watched import WatchedRow
from ckptd.control.messages.workloads import WorkloadRequest, WorkloadView
from ckptd.control.roles import Roles
from ckptd.control.server.dispatch import Ordered, serve_control
from ckptd.control.server.handing import Handing
from ckptd.errors import CkptdError, NotFound
from ckptd.model.words import (
    Stage,
)
from tests.support.control_samples import (
    ACTIVATED,
    ADOPTED,
    BAD_UNIT,
    CHECKPOINT,
    COLLECT_RESULT,
    COLLECTED,
    COPIES,
    EXPLANATION,
    LET_GO,
    LIMITS,
    MANIFEST,
    MATERIALISE_PROGRESS,
    MATERIALISED,
    NEED_PROGRESS,
    NEED_RESULT,
    NEWEST,
    PEER,
    PEER_VIEW,
    PLAN,
    PRIORITIZED,
    PROGRESS,
    PUBLISH_PROGRESS,
    PUBLISH_RESULT,
    RELOADED,
    REMOVE_PROGRESS,
    REMOVED,
    RESULT,
    STATUS,
    STAYS,
    VERIFY_PROGRESS,
    VERIFY_RESULT,
    VIEW,
    WAIT_PROGRESS,
    WAIT_RESULT,
    WATCHED,
    WORKLOAD,
)
from tests.support.observing import StandInObserving


class Hold:
    """A step of a script that never ends by itself."""


class StandInDaemon:
    """Plays scripts: what a stream yields, raises, or waits for.

    Attributes:
        watching: Steps of each watch stream.
        waiting: Steps of each wait stream, one after another; the last one is played again.
        publishing: Steps of each publish stream.
        needing: Steps of each stream about a unit that is needed; bytes follow the next message.
        verifying: Steps of each verify stream.
        views: What the daemon knows of recoveries; :meth:`recover` adds one.
        copied: What it knows of copies.
        ends_when_seen: Each of them has ended when it is looked at once more.
        handed_descriptors: How many go with the result about a unit that is needed, if asked for.
        refusal: Raised by every action.
        observing: What it says of itself.
        calls: Actions that came through, with what they were given.
        orders: What was noted of who ordered what.
        watched: Recoveries that a watch stream was asked for.
        publishing_begun: Set when a publish stream was asked for.
        publishing_stopped: Set when one was closed before its end.
    """

    def __init__(
        self,
        *,
        watching: Sequence[WatchEvent | Exception | Hold] = (PROGRESS, RESULT),
        waiting: Sequence[Sequence[WaitEvent | Exception | Hold]] = ((WAIT_PROGRESS, WAIT_RESULT),),
        publishing: Sequence[PublishEvent | Exception | Hold] = (PUBLISH_PROGRESS, PUBLISH_RESULT),
        needing: Sequence[NeedEvent | bytes | Exception | Hold] = (NEED_PROGRESS, NEED_RESULT),
        verifying: Sequence[VerifyEvent] = (VERIFY_PROGRESS, BAD_UNIT, VERIFY_RESULT),
        views: Sequence[RecoveryView] = (),
        refusal: CkptdError | None = None,
    ) -> None:
        self.watching = watching
        self.waiting = list(waiting)
        self.publishing = publishing
        self.needing = needing
        self.verifying = verifying
        self.views = list(views)
        self.copied = COPIES
        self.ends_when_seen = False
        self.handed_descriptors = 1
        self.refusal = refusal
        self.observing = StandInObserving()
        self.calls: list[tuple[str, object]] = []
        self.orders: list[Ordered] = []
        self.watched: list[str] = []
        self.publishing_begun = threading.Event()
        self.publishing_stopped = threading.Event()

    def status(self) -> Status:
        if self.refusal:
            raise self.refusal
        return STATUS

    def checkpoints(self) -> list[CheckpointRow]:
        return [CHECKPOINT]

    def copies(self, request: CopiesRequest) -> CopiesView:
        self._act("copies", request)
        return self.copied

    def peers(self) -> list[PeerRow]:
        return [PEER]

    def peer(self, node: str) -> PeerView:
        if node != PEER_VIEW.node:
            raise NotFound(f"peer {node!r}", "is not known", "Known: node-b.")
        return PEER_VIEW

    async def plan(self, request: PlanRequest) -> Plan:
        self._act("plan", request)
        return PLAN

    async def manifest(self, request: ManifestRequest) -> ManifestView:
        self._act("manifest", request)
        return MANIFEST

    def recoveries(self) -> list[RecoveryView]:
        found = list(self.views)
        if self.ends_when_seen:
            self.views = [msgspec.structs.replace(view, stage=Stage.COMPLETE) for view in found]
        return found

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

    async def recover_matching(self, request: RecoverRequest) -> list[RecoveryView]:
        self._act("recover_matching", request)
        return self.views

    async def withdraw(self, request: LetGoRequest) -> LetGo:
        self._act("withdraw", request)
        return msgspec.structs.replace(LET_GO, is_dry_run=request.is_dry_run)

    async def forget(self, request: LetGoRequest) -> LetGo:
        self._act("forget", request)
        return msgspec.structs.replace(LET_GO, is_dry_run=request.is_dry_run)

    async def newest(self, request: NewestRequest) -> NewestView:
        self._act("newest", request)
        return NEWEST

    async def adopt(self, request: AdoptRequest) -> Adopted:
        self._act("adopt", request)
        return msgspec.structs.replace(ADOPTED, is_dry_run=request.is_dry_run)

    async def activate(self, request: ActivateRequest) -> Activated:
        self._act("activate", request)
        return ACTIVATED

    async def materialise(
        self, request: MaterialiseRequest
    ) -> AsyncGenerator[MaterialiseEvent, None]:
        self._act("materialise", request)
        yield MATERIALISE_PROGRESS
        yield msgspec.structs.replace(MATERIALISED, is_dry_run=request.is_dry_run)

    async def remove(self, request: RemoveRequest) -> AsyncGenerator[RemoveEvent, None]:
        self._act("remove", request)
        yield REMOVE_PROGRESS
        yield msgspec.structs.replace(REMOVED, is_dry_run=request.is_dry_run)

    async def collect(self, request: CollectRequest) -> AsyncGenerator[CollectEvent, None]:
        self._act("collect", request)
        yield STAYS
        yield COLLECTED
        yield msgspec.structs.replace(COLLECT_RESULT, is_dry_run=request.is_dry_run)

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
        return PRIORITIZED

    async def need(self, request: NeedRequest, handing: Handing) -> AsyncGenerator[NeedEvent, None]:
        self._act("need", request)
        for step in self.needing:
            match step:
                case Hold():
                    await asyncio.Event().wait()
                case Exception():
                    raise step
                case bytes():
                    handing.follow(memoryview(step))
                case NeedResult() if request.with_descriptor:
                    for _ in range(self.handed_descriptors):
                        fd = os.open(step.path, os.O_RDONLY)
                        handing._attached.append(fd)
                    yield msgspec.structs.replace(step, has_descriptor=True)
                case _:
                    yield step

    def limits(self) -> LimitsView:
        return LIMITS

    def watches(self) -> list[WatchedRow]:
        return [WATCHED]

    def workload(self, request: WorkloadRequest) -> WorkloadView:
        self._act("workload", request)
        return WORKLOAD

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

    async def wait(self, request: WaitRequest) -> AsyncGenerator[WaitEvent, None]:
        self._act("wait", request)
        for step in self.waiting.pop(0) if len(self.waiting) > 1 else self.waiting[0]:
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

    async def verify(self, request: VerifyRequest) -> AsyncGenerator[VerifyEvent, None]:
        self._act("verify", request)
        for step in self.verifying:
            yield step

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
        answering = (daemon, daemon.observing)
        async with serve_control(
            answering, socket_path, roles=lambda: known, note_order=daemon.orders.append
        ):
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
