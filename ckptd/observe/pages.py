"""The page for Prometheus and the two for health checks, over plain HTTP.

Nothing here is secret and nothing can be changed. Still, no web page that an operator looks at
may read it: see :mod:`ckptd.wire.hosts`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from aiohttp import web

from ckptd.errors import CkptdError
from ckptd.observe.metrics import CONTENT_TYPE
from ckptd.wire.hosts import are_ours, is_from_page

KEEP_ALIVE_S: Final = 75.0
"""Longer than the usual minute between two scrapes."""

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
    runner = web.AppRunner(
        create_app(names={*names, host}, render=render, obstacle=obstacle),
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_S,
    )
    await runner.setup()
    try:
        try:
            if inherited is not None:
                await web.SockSite(runner, inherited).start()
            else:
                await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CkptdError(
                f"metrics listener {host}:{port}",
                f"cannot listen: {error.strerror or error}",
                "Choose another listen.metrics, or stop whoever has it.",
            ) from error
        bound = runner.addresses[0]
        yield bound[0], bound[1]
    finally:
        await runner.cleanup()


def create_app(
    *, names: Collection[str], render: Callable[[], bytes], obstacle: Callable[[], str]
) -> web.Application:
    """Return the application; the arguments are those of :func:`serve_metrics`."""
    known_names = {"localhost", *(name.lower() for name in names)}

    @web.middleware
    async def refuse_strangers(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if is_from_page(request.headers):
            return web.Response(status=403, text="requests of web pages are refused\n")
        if not are_ours(request.headers.getall("Host", ()), known_names, is_tcp=True):
            return web.Response(
                status=421,
                text="unknown host name: use an IP address, or the name in listen.metrics\n",
            )
        return await handler(request)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE})

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def ready(_request: web.Request) -> web.Response:
        reason = obstacle()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ready'}\n")

    app = web.Application(middlewares=[refuse_strangers])
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/-/healthy", healthy)
    app.router.add_get("/-/ready", ready)
    return app
