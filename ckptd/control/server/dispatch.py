"""The daemon's end of the control socket: HTTP/1.1 and JSON on a unix socket.

    curl --unix-socket /run/ckptd/ckptd.sock http://ckptd/v1/status

The mode of the socket, 0660, decides who may connect; the roles in :mod:`ckptd.control.routes`
decide who may do what. When the client of a stream goes away, the stream is closed at once. That
stops a publishing, but not a recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from ckptd import __version__
from ckptd.control.messages.daemon_status import VersionDocument, WhoAmI
from ckptd.control.messages.error_documents import ErrorView, StreamError
from ckptd.control.roles import Caller, Roles
from ckptd.control.routes import Route
from ckptd.control.server.bodies import (
    Handler,
    answer_errors,
    as_ckptd_error,
    as_json,
    as_line,
    decode_body,
    decode_query,
)
from ckptd.control.server.callers import UserNames, caller_at, user_name
from ckptd.control.server.gate import Gate, listening
from ckptd.control.server.handing import Handing
from ckptd.control.server.handlers import (
    CALLER,
    HANDING,
    Answering,
    bind,
    methods_by_name,
)
from ckptd.errors import NotPermitted
from ckptd.limits import CONTROL_MESSAGE_BYTES_MAX, IDLE_TIMEOUT_NS, SECOND
from ckptd.wire.hosts import are_ours, is_from_page

_NAMES: Final = frozenset({"ckptd", "localhost"})
"""Hosts that a request may name: what our own client sends, and what people type with ``curl``."""

_NAMING: Final = ("checkpoint", "version", "directory", "to", "place", "pattern", "path", "offset")
"""Fields of requests that say what an order is about."""

_STOP_TIMEOUT_S: Final = 1.0
"""How long an action may take to end when the daemon stops; each is a matter of milliseconds."""


@contextlib.asynccontextmanager
async def serve_control(  # noqa: PLR0913 (what the daemon gives it, each named)
    parts: Iterable[object],
    socket_path: str,
    *,
    roles: Callable[[], Roles],
    inherited: socket.socket | None = None,
    note_answer: Callable[[str, int], None] = lambda _route, _code: None,
    note_order: Callable[[Ordered], None] = lambda _: None,
    prepare: Callable[[str, Sequence[object]], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    """Serve the control API for as long as the context lasts.

    A dead socket at the path is replaced. When the context ends, streams are closed and the
    socket is removed.

    Args:
        parts: What answers: their public methods are those that the rows of
            :class:`ckptd.control.routes.Api` name, but for ``version`` and ``whoami``. They run on
            the event loop. A coroutine may be cancelled at any ``await`` when its client goes
            away: it has then taken effect or it has not. Whatever cannot be done raises a
            :class:`~ckptd.errors.CkptdError`.
        socket_path: Where to listen.
        roles: Says who may do what; asked for every request.
        inherited: A socket that listens already, instead of one at the path.
        note_answer: Called for each answer: its route, e.g. ``/v1/peers/{node}``, and its status.
        note_order: Called for each request that is no question, before it is carried out.
        prepare: Waited for before a request is answered, with the name of its row and what the row
            takes.

    Raises:
        TypeError: A row has no method, a method has no row, or they do not fit.
        Conflict: Something lives at the path, or it is no socket.
        ConfigurationError: Others may write to its directory.
        StorageError: The path cannot be bound.
    """
    control = _Control(
        bind(methods_by_name((OwnAnswers(roles), *parts))),
        roles,
        note_answer,
        note_order,
        prepare,
    )
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
    control.gate = Gate(runner.server)
    try:
        async with listening(control.gate, socket_path, inherited):
            yield
    finally:
        control.gate.close()
        await control.end_streams()
        await runner.cleanup()


class Ordered(NamedTuple):
    """Something that a caller ordered.

    Attributes:
        uid: Who: the user id …
        user: … and its name; empty if it has none.
        verb: What to type for it behind ``ckptctl``.
        facts: What it is about: of the request, what names something.
        is_permitted: The caller has the role that it needs; else it was refused.
    """

    uid: int
    user: str
    verb: str
    facts: Mapping[str, object]
    is_permitted: bool = True


def _facts(names: Sequence[str], taken: Sequence[object]) -> dict[str, object]:
    """Return what an order is about.

    Args:
        names: Those of the varying parts of its path.
        taken: These parts, and the body if there is one.
    """
    facts: dict[str, object] = dict(zip(names, taken, strict=False))
    for body in taken[len(names) :]:
        known = {name: getattr(body, name, None) for name in _NAMING}
        facts |= {name: fact for name, fact in known.items() if fact not in {None, ""}}
    return facts


class OwnAnswers:
    """The rows that the server answers itself."""

    def __init__(self, roles: Callable[[], Roles]) -> None:
        self._roles = roles

    def version(self) -> VersionDocument:
        """Return what the daemon runs."""
        return VersionDocument(ckptd_version=__version__)

    async def whoami(self, caller: Caller) -> WhoAmI:
        """Return the caller."""
        return WhoAmI(
            uid=caller.uid,
            user=await asyncio.to_thread(user_name, caller.uid),
            gids=tuple(sorted(caller.gids)),
            role=str(self._roles().role_of(caller)),
        )


class _Control:
    """Decodes each request, calls the method of its row, encodes the answer."""

    gate: Gate
    """Notified of every head; there is none before the application is."""

    def __init__(
        self,
        handlers: Mapping[Route[..., object], Answering],
        roles: Callable[[], Roles],
        note_answer: Callable[[str, int], None],
        note_order: Callable[[Ordered], None],
        prepare: Callable[[str, Sequence[object]], Awaitable[None]] | None,
    ) -> None:
        self._prepare = prepare
        self._handlers = handlers
        self._routes = {(route.method, route.path): route for route in handlers}
        self._roles = roles
        self._note_answer = note_answer
        self._note_order = note_order
        self._users = UserNames()
        self._streams: set[asyncio.Task[object]] = set()

    def application(self) -> web.Application:
        """Return the application with every route of the API."""
        application = web.Application(
            middlewares=[answer_errors, self._check_caller],
            client_max_size=CONTROL_MESSAGE_BYTES_MAX,
        )
        application.on_response_prepare.append(self._count)
        add = {"GET": application.router.add_get, "POST": application.router.add_post}
        for route, answering in self._handlers.items():
            add[route.method](route.path, self._handler(route, answering))
        return application

    async def end_streams(self) -> None:
        """Close every stream and wait until it is closed."""
        for task in self._streams:
            task.cancel()
        if self._streams:
            await asyncio.wait(self._streams)

    @web.middleware
    async def _check_caller(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the caller's role before anything else of the request is read."""
        self.gate.note_head(request.transport)
        _refuse_pages(request)
        route = self._route_of(request)
        if route is None:  # the handler is aiohttp's own, for what is not there
            return await handler(request)
        caller = _caller(request)
        roles = self._roles()
        if roles.role_of(caller) < route.role:
            user = await self._users.of(caller.uid)
            if route.method != "GET":
                self._note_order(Ordered(caller.uid, user, route.verb, {}, is_permitted=False))
            roles.check(caller, route.role, verb=route.verb, user=user)
        return await handler(request)

    def _route_of(self, request: web.Request) -> Route[..., object] | None:
        resource = request.match_info.route.resource
        method = request.method.replace("HEAD", "GET")  # GET serves HEAD as well
        return None if resource is None else self._routes.get((method, resource.canonical))

    def _handler(self, route: Route[..., object], answering: Answering) -> Handler:
        shape = route.shape
        takes = inspect.signature(answering).parameters.keys()

        async def handle(request: web.Request) -> web.StreamResponse:
            taken: list[object] = [request.match_info[name] for name in shape.names]
            if shape.request is not None:
                if route.method == "GET":
                    taken.append(decode_query(request, shape.request))
                else:
                    taken.append(await decode_body(request, shape.request))
            if route.method != "GET":
                caller = _caller(request)
                user = await self._users.of(caller.uid)
                self._note_order(Ordered(caller.uid, user, route.verb, _facts(shape.names, taken)))
            if self._prepare is not None:
                await self._prepare(route.name, taken)
            handing = Handing(request)
            given: dict[str, object] = {CALLER: _caller(request), HANDING: handing}
            answer = answering(*taken, **{name: given[name] for name in given.keys() & takes})
            if isinstance(answer, AsyncGenerator):
                return await self._stream(request, answer, handing)
            if inspect.isawaitable(answer):
                answer = await answer
            return as_json(answer, route.status)

        return handle

    async def _count(self, request: web.Request, response: web.StreamResponse) -> None:
        # The pattern and not the path: a client must not be able to create series of metrics.
        resource = request.match_info.route.resource
        self._note_answer(resource.canonical if resource else "other", response.status)

    async def _stream(
        self, request: web.Request, events: AsyncGenerator[msgspec.Struct, None], handing: Handing
    ) -> web.StreamResponse:
        """Send events, one a line, with what was attached for them.

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
                await handing.write(response, as_line(event))
                try:
                    async for event in events:
                        await handing.write(response, as_line(event))
                except ConnectionError:
                    raise
                except Exception as error:  # noqa: BLE001 -- edge: an event's failure → its last line
                    view = ErrorView.of(as_ckptd_error(error))
                    await response.write(as_line(StreamError(**msgspec.structs.asdict(view))))
                return response
        finally:
            handing.close()
            self._streams.discard(task)


def _refuse_pages(request: web.Request) -> None:
    """Refuse what a browser sends for a web page.

    Raises:
        NotPermitted: It comes from a page.
        HTTPMisdirectedRequest: It is addressed to another host.
    """
    if is_from_page(request.headers):
        raise NotPermitted("control socket", "does not serve web pages")
    if not are_ours(request.headers.getall("Host", ()), _NAMES, is_tcp=False):
        raise web.HTTPMisdirectedRequest


def _caller(request: web.Request) -> Caller:
    """Return who sent a request.

    Raises:
        NotPermitted: The kernel does not say who it is.
    """
    connected = request.get_extra_info("socket")
    try:
        return caller_at(connected)
    except OSError as error:
        raise NotPermitted("control socket", f"cannot tell who you are: {error}") from error
