"""The page for Prometheus and the two for health checks, over plain HTTP.

Nothing here is secret and nothing can be changed. Still, no web page that an operator looks at
may read it: see :mod:`ckptd.wire.hosts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeAlias

from aiohttp import web

from ckptd.observe.metrics import CONTENT_TYPE
from ckptd.wire.hosts import are_ours, is_from_page

KEEP_ALIVE_S: Final = 75.0
"""Longer than the usual minute between two scrapes."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a request."""


def create_app(
    *, names: Collection[str], render: Callable[[], bytes], obstacle: Callable[[], str]
) -> web.Application:
    """Return the application that serves ``/metrics``, ``/-/healthy`` and ``/-/ready``.

    Args:
        names: Host names this node is known by, besides ``localhost``.
        render: Returns the page of metrics; called on the event loop.
        obstacle: Returns why the daemon is not ready, e.g. ``"starting"``; empty if it is.
    """
    known_names = {"localhost", *(name.lower() for name in names)}

    @web.middleware
    async def refuse_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
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
