"""Listens for Prometheus and health checks, as carefully as for peers: same listener, same caps.

Whoever reaches the port may connect a thousand times and send half a head on each. So connections
are few, one without a request makes room for the next, and each must ask something in time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import web

from ckptd.daemon.host.descriptors import affordable
from ckptd.errors import CkptdError
from ckptd.limits import HEAD_TIMEOUT_NS, METRICS_CONNECTIONS_MAX, SECOND
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.listener import Listener
from ckptd.observe.pages import KEEP_ALIVE_S, Handler, create_app

_NO_ANSWER_MAX: Final = 0
"""Who finds no place is closed: it takes as many answers under way at once."""


@asynccontextmanager
async def serve_metrics(
    host: str,
    port: int,
    *,
    names: Collection[str] = (),
    render: Callable[[], bytes],
    obstacle: Callable[[], str],
    inherited: socket.socket | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Serve ``/metrics``, ``/-/healthy`` and ``/-/ready`` while the context is open.

    Args:
        host: Where to listen.
        port: 0 lets the kernel choose.
        names: Host names this node is known by, besides ``host`` and ``localhost``.
        render: Returns the page of metrics; called on the event loop.
        obstacle: Returns why the daemon is not ready, e.g. ``"starting"``; empty if it is.
        inherited: A socket that listens already, instead of one at ``host`` and ``port``.

    Yields:
        The address and port that are listened on.

    Raises:
        CkptdError: The address cannot be listened on.
    """
    most = affordable(METRICS_CONNECTIONS_MAX, one_in=8)
    caps = ConnectionCaps(
        connections_max=most,
        per_address_max=max(most // 2, 1),
        unproven_max=max(most // 2, 1),
        refused_max=_NO_ANSWER_MAX,
    )
    pages = _Pages(caps)
    application = create_app(names={*names, host}, render=render, obstacle=obstacle)
    application.middlewares.insert(0, pages.watch)
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=KEEP_ALIVE_S)
    await runner.setup()
    pages.http = runner.server
    try:
        listener = await _listener(host, port, caps, inherited)
        # No group: what goes wrong in the context would leave it as a group as well.
        serving = asyncio.get_running_loop().create_task(listener.serve(pages.serve))
        try:
            yield listener.address
        finally:
            await listener.drain(0)
            with suppress(asyncio.CancelledError):
                await serving
    finally:
        await runner.cleanup()


async def _listener(
    host: str, port: int, caps: ConnectionCaps, inherited: socket.socket | None
) -> Listener:
    if inherited is not None:
        inherited.settimeout(0)
        return Listener.adopt(inherited, caps)
    try:
        return await asyncio.to_thread(Listener.bind, host, port, caps)
    except OSError as error:
        raise CkptdError(
            f"metrics listener {host}:{port}",
            f"cannot listen: {error.strerror or error}",
            "Choose another listen.metrics, or stop whoever has it.",
        ) from error


class _Pages:
    """The connections that the HTTP server has, and until when each must ask something."""

    def __init__(self, caps: ConnectionCaps) -> None:
        self.http: web.Server | None = None
        self._caps = caps
        self._visits: dict[asyncio.BaseTransport, _Visit] = {}

    async def serve(self, connected: socket.socket) -> None:
        """Let the HTTP server have a connection until it ends, or nothing is asked for too long."""
        assert self.http is not None, "it is set up before anybody is served"
        loop = asyncio.get_running_loop()
        visit = _Visit(self.http(), connected)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: visit, connected)
        except OSError:  # it is gone already
            return
        self._visits[transport] = visit
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_NS / SECOND) as visit.deadline:
                await visit.lost.wait()
        except TimeoutError:
            pass
        finally:
            del self._visits[transport]
            if not visit.lost.is_set():
                transport.abort()
                await visit.lost.wait()

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that something was asked, and that the next question has time then."""
        visit = None if request.transport is None else self._visits.get(request.transport)
        if visit is None:
            return await handler(request)
        self._caps.prove(visit.connected)
        self._caps.work(visit.connected)
        try:
            return await handler(request)
        finally:
            visit.give_time(KEEP_ALIVE_S)
            self._caps.rest(visit.connected, lambda: visit.give_time(0))


class _Visit(asyncio.Protocol):
    """Passes on what happens to a connection, and notes when it is lost."""

    def __init__(self, inner: asyncio.Protocol, connected: socket.socket) -> None:
        self.connected = connected
        self.lost = asyncio.Event()
        self.deadline: asyncio.Timeout | None = None
        self._inner = inner

    def give_time(self, left_s: float) -> None:
        """Let the connection end after so much time, unless something is asked by then."""
        deadline = self.deadline
        if deadline is not None and not deadline.expired() and not self.lost.is_set():
            deadline.reschedule(asyncio.get_running_loop().time() + left_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self.lost.set()
