"""The daemon's end of the control socket: HTTP/1.1 and JSON on a unix socket.

    curl --unix-socket /run/ckptd/ckptd.sock http://ckptd/v1/status

Who may connect is decided by the mode of the socket, 0660. A stream whose client goes away is
closed at once, and with it what it was for: a publishing stops, a recovery does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar, cast

import msgspec
from aiohttp import web

from ckptd import __version__
from ckptd.control.api import (
    ErrorDocument,
    ErrorView,
    PublishRequest,
    RecoverRequest,
    StreamError,
    VersionDocument,
)
from ckptd.control.operations import Operations
from ckptd.control.plans import PlanRequest
from ckptd.control.raising import NeedRequest, PrioritizeRequest
from ckptd.errors import (
    CkptdError,
    Conflict,
    DaemonUnreachable,
    NotFound,
    NotPermitted,
    StorageError,
    UsageError,
)
from ckptd.limits import (
    CONTROL_CLIENTS_MAX,
    CONTROL_MESSAGE_BYTES_MAX,
    HEAD_TIMEOUT_NS,
    IDLE_TIMEOUT_NS,
    SECOND,
)

_HTTP_STATUS: Final = {
    "usage": HTTPStatus.BAD_REQUEST,
    "not_permitted": HTTPStatus.FORBIDDEN,
    "outside_roots": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "content_changed": HTTPStatus.CONFLICT,
    "out_of_space": HTTPStatus.INSUFFICIENT_STORAGE,
    "unreachable": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""By the code of the error; every other error is a 500."""

_SOCKET_MODE: Final = 0o660

_STOP_TIMEOUT_S: Final = 1.0
"""How long an action may take to end when the daemon stops; each is a matter of milliseconds."""

_logger = logging.getLogger(__name__)

_Message = TypeVar("_Message", bound=msgspec.Struct)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serve_control(operations: Operations, socket_path: str) -> AsyncIterator[None]:
    """Serve the control API for as long as the context lasts.

    A dead socket at the path is replaced. When the context ends, streams are closed and the
    socket is removed.

    Raises:
        Conflict: Something lives at the path, or it is no socket.
        StorageError: The path cannot be bound.
    """
    control = _Control(operations)
    runner = web.AppRunner(
        control.application(),
        access_log=None,
        auto_decompress=False,  # a short body must not become a long one
        handler_cancellation=True,  # a client that goes away ends its stream
        keepalive_timeout=IDLE_TIMEOUT_NS / SECOND,
        shutdown_timeout=_STOP_TIMEOUT_S,
    )
    await runner.setup()
    assert runner.server is not None
    http = runner.server
    try:
        async with _listening(lambda: _Admission(http), socket_path):
            yield
    finally:
        await control.end_streams()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _listening(
    connect: Callable[[], asyncio.Protocol], socket_path: str
) -> AsyncIterator[None]:
    """Listen at a path.

    The socket has its mode before it is listened on; until then a connection is refused.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(socket_path)
        listener.bind(socket_path)
        os.chmod(socket_path, _SOCKET_MODE)
        bound = os.lstat(socket_path)
        server = await asyncio.get_running_loop().create_unix_server(connect, sock=listener)
    except CkptdError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise StorageError(
            f"control socket {socket_path}",
            f"cannot be bound: {error.strerror or error}",
            "Its directory must exist and be writable; its path has at most 107 bytes.",
        ) from error
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(bound, os.lstat(socket_path)):
                os.unlink(socket_path)


def _clear(socket_path: str) -> None:
    """Remove a socket that nobody listens on; refuse anything else.

    Raises:
        Conflict: Something lives at the path, or it is no socket.
    """
    subject = f"control socket {socket_path}"
    try:
        found = os.lstat(socket_path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Conflict(subject, "is taken by something that is no socket", "Remove it first.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # a full backlog is an answer too
        if probe.connect_ex(socket_path) != errno.ECONNREFUSED:
            raise Conflict(
                subject, "is in use by another daemon", "Stop it, or configure another path."
            )
    os.unlink(socket_path)


class _Admission(asyncio.Protocol):
    """Hands a connection on to the HTTP server, or turns it away if there are too many."""

    def __init__(self, http: web.Server) -> None:
        self._http = http
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        if len(self._http.connections) < CONTROL_CLIENTS_MAX:
            admitted = self._http()
            self._transport.set_protocol(admitted)
            admitted.connection_made(self._transport)
        else:
            self._deadline = asyncio.get_running_loop().call_later(
                HEAD_TIMEOUT_NS / SECOND, self._transport.close
            )

    def data_received(self, data: bytes) -> None:
        """Refuse, whatever is asked; not earlier, or the client would fail to ask."""
        if not self._transport.is_closing():
            self._transport.write(_TOO_MANY)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()


class _Control:
    """The handlers: each decodes, calls one operation, encodes."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._streams: set[asyncio.Task[object]] = set()

    def application(self) -> web.Application:
        """Return the application with every route of the API."""
        operations = self._operations
        application = web.Application(
            middlewares=[_answer_errors], client_max_size=CONTROL_MESSAGE_BYTES_MAX
        )
        application.add_routes(
            [
                web.get("/v1/version", _snapshot(_version)),
                web.get("/v1/status", _snapshot(operations.status)),
                web.get("/v1/checkpoints", _snapshot(operations.checkpoints)),
                web.get("/v1/peers", _snapshot(operations.peers)),
                web.get("/v1/peers/{node}", self._peer),
                web.get("/v1/plan", self._plan),
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
            ]
        )
        return application

    async def end_streams(self) -> None:
        """Close every stream and wait until it is closed."""
        for task in self._streams:
            task.cancel()
        if self._streams:
            await asyncio.wait(self._streams)

    async def _peer(self, request: web.Request) -> web.Response:
        return _json(self._operations.peer(request.match_info["node"]))

    async def _plan(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.convert(dict(request.query), PlanRequest, strict=False)
        except msgspec.ValidationError as error:
            raise UsageError("query", f"is not understood: {error}") from error
        return _json(await self._operations.plan(wanted))

    async def _recovery(self, request: web.Request) -> web.Response:
        return _json(self._operations.recovery(request.match_info["recovery"]))

    async def _explain(self, request: web.Request) -> web.Response:
        return _json(self._operations.explain(request.match_info["recovery"]))

    async def _recover(self, request: web.Request) -> web.Response:
        wanted = await _decode_body(request, RecoverRequest)
        return _json(await self._operations.recover(wanted), HTTPStatus.CREATED)

    async def _prioritize(self, request: web.Request) -> web.Response:
        wanted = await _decode_body(request, PrioritizeRequest)
        recovery = request.match_info["recovery"]
        return _json(await self._operations.prioritize(recovery, wanted))

    async def _need(self, request: web.Request) -> web.StreamResponse:
        wanted = await _decode_body(request, NeedRequest)
        return await self._stream(request, self._operations.need(wanted))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._operations.watch(request.match_info["recovery"]))

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        wanted = await _decode_body(request, PublishRequest)
        return await self._stream(request, self._operations.publish(wanted))

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
                await response.write(_line(event))
                try:
                    async for event in events:
                        await response.write(_line(event))
                except ConnectionError:
                    raise
                except Exception as error:  # noqa: BLE001 -- edge: an event's failure → its last line
                    view = ErrorView.of(_as_ckptd_error(error))
                    await response.write(_line(StreamError(**msgspec.structs.asdict(view))))
                return response
        finally:
            self._streams.discard(task)


def _version() -> VersionDocument:
    return VersionDocument(ckptd_version=__version__)


def _snapshot(take: Callable[[], object]) -> _Handler:
    async def handle(_: web.Request) -> web.Response:
        return _json(take())

    return handle


def _action(act: Callable[[str], Awaitable[msgspec.Struct]]) -> _Handler:
    async def handle(request: web.Request) -> web.Response:
        return _json(await act(request.match_info["recovery"]))

    return handle


@web.middleware
async def _answer_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an error document."""
    if "Origin" in request.headers:  # sent by browsers, and by nothing else
        return _error(
            NotPermitted("control socket", "does not serve web pages"), HTTPStatus.FORBIDDEN
        )
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(_of_http(error, request), HTTPStatus(error.status))
    except ConnectionError:
        raise  # the client is gone
    except Exception as error:  # noqa: BLE001 -- edge: request → response
        known = _as_ckptd_error(error)
        return _error(known, _HTTP_STATUS.get(known.code, HTTPStatus.INTERNAL_SERVER_ERROR))


def _as_ckptd_error(error: Exception) -> CkptdError:
    """Return the error a client is told; one that nobody expected is logged as well."""
    if isinstance(error, CkptdError):
        return error
    _logger.error("control request failed", exc_info=error)
    return CkptdError("ckptd", f"made a mistake: {error!r}", "Its log says more; report it.")


def _of_http(error: web.HTTPException, request: web.Request) -> CkptdError:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return NotFound(f"path {request.path}", "is not part of the control API")
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return UsageError("request", f"has more than {CONTROL_MESSAGE_BYTES_MAX} bytes")
        case _:
            return UsageError(f"{request.method} {request.path}", error.reason)


async def _decode_body(request: web.Request, kind: type[_Message]) -> _Message:
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_NS / SECOND):
            body = await request.read()
    except TimeoutError as error:
        raise UsageError("request", "has a body that did not arrive") from error
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError("request", f"is not understood: {error}") from error


def _json(message: object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(message), status=status, content_type="application/json"
    )


def _error(error: CkptdError, status: HTTPStatus) -> web.Response:
    return _json(ErrorDocument(error=ErrorView.of(error)), status)


def _line(event: msgspec.Struct) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def _too_many() -> bytes:
    error = DaemonUnreachable(
        "control socket",
        f"{CONTROL_CLIENTS_MAX} clients are connected already",
        "Try again when one of them is done.",
    )
    body = msgspec.json.encode(ErrorDocument(error=ErrorView.of(error)))
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


_TOO_MANY: Final = _too_many()
