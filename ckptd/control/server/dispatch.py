"""The daemon's end of the control socket: HTTP/1.1 and JSON on a unix socket.

    curl --unix-socket /run/ckptd/ckptd.sock http://ckptd/v1/status

Who may connect is decided by the mode of the socket, 0660; who may do what, by
:mod:`ckptd.control.roles`. A stream whose client goes away is closed at once, and with it what
it was for: a publishing stops, a recovery does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from ckptd import __version__
from ckptd.control.messages.api import (
    ErrorView,
    PublishRequest,
    RecoverRequest,
    StreamError,
    VersionDocument,
    WhoAmI,
)
from ckptd.control.messages.limit_settings import ChangeLimits
from ckptd.control.messages.observation import FollowQuery, LevelRequest, Observing
from ckptd.control.messages.plans import PlanRequest
from ckptd.control.messages.prioritized import NeedRequest, PrioritizeRequest
from ckptd.control.roles import RIGHTS, Caller, Roles, Route
from ckptd.control.server.admission import Admission, listening
from ckptd.control.server.bodies import (
    Handler,
    answer_errors,
    as_ckptd_error,
    as_json,
    as_line,
    decode_body,
    decode_query,
)
from ckptd.control.server.callers import caller_at, user_name
from ckptd.control.server.operations import Operations
from ckptd.errors import (
    NotPermitted,
)
from ckptd.limits import (
    CONTROL_MESSAGE_BYTES_MAX,
    IDLE_TIMEOUT_NS,
    SECOND,
)
from ckptd.wire.hosts import are_ours, is_from_page

_NAMES: Final = frozenset({"ckptd", "localhost"})
"""What a request to the socket may call it: our own clients and ``curl`` as everybody types it."""

_STOP_TIMEOUT_S: Final = 1.0
"""How long an action may take to end when the daemon stops; each is a matter of milliseconds."""


@contextlib.asynccontextmanager
async def serve_control(
    operations: Operations,
    socket_path: str,
    *,
    roles: Callable[[], Roles],
    inherited: socket.socket | None = None,
    observing: Observing,
    note_answer: Callable[[str, int], None] = lambda _route, _code: None,
) -> AsyncIterator[None]:
    """Serve the control API for as long as the context lasts.

    A dead socket at the path is replaced. When the context ends, streams are closed and the
    socket is removed.

    Args:
        operations: What there is to serve.
        socket_path: Where to listen.
        roles: Says who may do what; asked for every request.
        inherited: A socket that listens already, instead of one at the path.
        observing: What the daemon says of itself.
        note_answer: Told of each answer: its route, e.g. ``/v1/peers/{node}``, and its status.

    Raises:
        Conflict: Something lives at the path, or it is no socket.
        ConfigurationError: Others may write to its directory.
        StorageError: The path cannot be bound.
    """
    control = _Control(operations, observing, roles, note_answer)
    runner = web.AppRunner(
        control.application(),
        access_log=None,
        auto_decompress=False,  # a short body must not become a long one
        handler_cancellation=True,  # a client that goes away ends its stream
        lingering_time=0,  # what is read past is bounded here
        keepalive_timeout=IDLE_TIMEOUT_NS / SECOND,
        shutdown_timeout=_STOP_TIMEOUT_S,
    )
    await runner.setup()
    assert runner.server is not None
    control.admission = Admission(runner.server)
    try:
        async with listening(control.admission, socket_path, inherited):
            yield
    finally:
        control.admission.close()
        await control.end_streams()
        await runner.cleanup()


class _Control:
    """The handlers: each decodes, calls one operation, encodes."""

    admission: Admission
    """Told of every head; there is none before the application is."""

    def __init__(
        self,
        operations: Operations,
        observing: Observing,
        roles: Callable[[], Roles],
        note_answer: Callable[[str, int], None],
    ) -> None:
        self._operations = operations
        self._observing = observing
        self._roles = roles
        self._note_answer = note_answer
        self._streams: set[asyncio.Task[object]] = set()

    def application(self) -> web.Application:
        """Return the application with every route of the API."""
        operations, observing = self._operations, self._observing
        application = web.Application(
            middlewares=[answer_errors, self._check_caller],
            client_max_size=CONTROL_MESSAGE_BYTES_MAX,
        )
        application.on_response_prepare.append(self._count)
        application.add_routes(
            [
                web.get("/v1/version", _snapshot(_version)),
                web.get("/v1/whoami", self._whoami),
                web.get("/v1/status", _snapshot(operations.status)),
                web.get("/v1/health", _snapshot(observing.health)),
                web.get("/v1/events", self._events),
                web.get("/v1/log", self._lines),
                web.get("/v1/log/level", _snapshot(observing.log_level)),
                web.post("/v1/log/level", self._set_level),
                web.post("/v1/examinations", self._examine),
                web.get("/v1/checkpoints", _snapshot(operations.checkpoints)),
                web.get("/v1/peers", _snapshot(operations.peers)),
                web.get("/v1/peers/{node}", self._peer),
                web.get("/v1/plan", self._plan),
                web.get("/v1/limits", _snapshot(operations.limits)),
                web.post("/v1/limits", self._change_limits),
                web.post("/v1/publications", self._publish),
                web.get("/v1/recoveries", _snapshot(operations.recoveries)),
                web.post("/v1/recoveries", self._recover),
                web.get("/v1/recoveries/{recovery}", self._recovery),
                web.get("/v1/recoveries/{recovery}/events", self._watch),
                web.get("/v1/recoveries/{recovery}/explanation", self._explain),
                web.post("/v1/recoveries/{recovery}/pause", _action(operations.pause)),
                web.post("/v1/recoveries/{recovery}/resume", _action(operations.resume)),
                web.post("/v1/recoveries/{recovery}/cancel", _action(operations.cancel)),
                web.post("/v1/recoveries/{recovery}/prioritize", self._prioritize),
                web.post("/v1/needs", self._need),
                web.post("/v1/reload", self._reload),
            ]
        )
        served = {_route_of(route.method, route) for route in application.router.routes()}
        assert served == RIGHTS.keys(), f"no right, or no route: {served ^ RIGHTS.keys()}"
        return application

    async def end_streams(self) -> None:
        """Close every stream and wait until it is closed."""
        for task in self._streams:
            task.cancel()
        if self._streams:
            await asyncio.wait(self._streams)

    @web.middleware
    async def _check_caller(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who may not, before anything of the request is looked at."""
        self.admission.note_head(request.transport)
        _refuse_pages(request)
        route = _route_of(request.method, request.match_info.route)
        right = RIGHTS.get(route)
        if right is None:  # the handler is aiohttp's own, for what is not there
            return await handler(request)
        caller = _caller(request)
        roles = self._roles()
        if roles.role_of(caller) < right.role:
            roles.check(caller, right, user=await asyncio.to_thread(user_name, caller.uid))
        return await handler(request)

    async def _whoami(self, request: web.Request) -> web.Response:
        caller = _caller(request)
        roles = self._roles()
        return as_json(
            WhoAmI(
                uid=caller.uid,
                user=await asyncio.to_thread(user_name, caller.uid),
                gids=tuple(sorted(caller.gids)),
                role=str(roles.role_of(caller)),
            )
        )

    async def _reload(self, _: web.Request) -> web.Response:
        return as_json(await self._operations.reload())

    async def _peer(self, request: web.Request) -> web.Response:
        return as_json(self._operations.peer(request.match_info["node"]))

    async def _plan(self, request: web.Request) -> web.Response:
        return as_json(await self._operations.plan(decode_query(request, PlanRequest)))

    async def _change_limits(self, request: web.Request) -> web.Response:
        wanted = await decode_body(request, ChangeLimits)
        return as_json(self._operations.change_limits(wanted))

    async def _recovery(self, request: web.Request) -> web.Response:
        return as_json(self._operations.recovery(request.match_info["recovery"]))

    async def _explain(self, request: web.Request) -> web.Response:
        return as_json(self._operations.explain(request.match_info["recovery"]))

    async def _recover(self, request: web.Request) -> web.Response:
        wanted = await decode_body(request, RecoverRequest)
        return as_json(await self._operations.recover(wanted), HTTPStatus.CREATED)

    async def _prioritize(self, request: web.Request) -> web.Response:
        wanted = await decode_body(request, PrioritizeRequest)
        recovery = request.match_info["recovery"]
        return as_json(await self._operations.prioritize(recovery, wanted))

    async def _need(self, request: web.Request) -> web.StreamResponse:
        wanted = await decode_body(request, NeedRequest)
        return await self._stream(request, self._operations.need(wanted))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._operations.watch(request.match_info["recovery"]))

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        wanted = await decode_body(request, PublishRequest)
        return await self._stream(request, self._operations.publish(wanted))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        query = decode_query(request, FollowQuery)
        return await self._stream(request, self._observing.events(query))

    async def _lines(self, request: web.Request) -> web.StreamResponse:
        query = decode_query(request, FollowQuery)
        return await self._stream(request, self._observing.lines(query))

    async def _set_level(self, request: web.Request) -> web.Response:
        wanted = await decode_body(request, LevelRequest)
        return as_json(self._observing.set_log_level(wanted))

    async def _examine(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._observing.examine())

    async def _count(self, request: web.Request, response: web.StreamResponse) -> None:
        # The pattern and not the path: a client must not be able to make up series.
        resource = request.match_info.route.resource
        self._note_answer(resource.canonical if resource else "other", response.status)

    async def _stream(
        self, request: web.Request, events: AsyncGenerator[msgspec.Struct, None]
    ) -> web.StreamResponse:
        """Send events, one a line.

        An error before the first event is an ordinary answer; later it is the last event.
        """
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            async with contextlib.aclosing(events):
                event = await anext(events)
                response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
                await response.prepare(request)
                await response.write(as_line(event))
                try:
                    async for event in events:
                        await response.write(as_line(event))
                except ConnectionError:
                    raise
                except Exception as error:  # noqa: BLE001 -- edge: an event's failure → its last line
                    view = ErrorView.of(as_ckptd_error(error))
                    await response.write(as_line(StreamError(**msgspec.structs.asdict(view))))
                return response
        finally:
            self._streams.discard(task)


def _version() -> VersionDocument:
    return VersionDocument(ckptd_version=__version__)


def _snapshot(take: Callable[[], object]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return as_json(take())

    return handle


def _action(act: Callable[[str], Awaitable[msgspec.Struct]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return as_json(await act(request.match_info["recovery"]))

    return handle


def _refuse_pages(request: web.Request) -> None:
    """Refuse what a browser sends for a web page.

    Raises:
        NotPermitted: It comes from a page.
        HTTPMisdirectedRequest: It names somebody else.
    """
    if is_from_page(request.headers):
        raise NotPermitted("control socket", "does not serve web pages")
    if not are_ours(request.headers.getall("Host", ()), _NAMES, is_tcp=False):
        raise web.HTTPMisdirectedRequest


def _route_of(method: str, route: web.AbstractRoute) -> Route:
    resource = route.resource
    # GET serves HEAD as well.
    return Route(method.replace("HEAD", "GET"), "" if resource is None else resource.canonical)


def _caller(request: web.Request) -> Caller:
    """Return who asks.

    Raises:
        NotPermitted: The kernel does not say.
    """
    connected = request.get_extra_info("socket")
    try:
        return caller_at(connected)
    except OSError as error:
        raise NotPermitted("control socket", f"cannot tell who you are: {error}") from error
