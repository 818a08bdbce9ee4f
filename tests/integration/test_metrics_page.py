from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from ckptd.daemon.measure import page_listener
from ckptd.daemon.measure.page_listener import serve_metrics
from ckptd.errors import CkptdError
from ckptd.limits import METRICS_CONNECTIONS_MAX, MS
from ckptd.observe.metrics import MetricGroup, MetricRow, create_registry, gauge, render

pytestmark = pytest.mark.integration


@dataclass
class Page:
    """The listener under test, and the daemon's obstacle to being ready."""

    client: aiohttp.ClientSession
    url: str
    obstacle: str = ""

    async def get(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        async with self.client.request(method, self.url + path, headers=headers) as response:
            return response.status, await response.text()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    row: MetricRow[int] = gauge("holdings", "Versions held.", lambda count: count)
    registry = create_registry([MetricGroup(lambda: 3, (row,))])
    async with aiohttp.ClientSession() as client:
        found = Page(client, "")
        async with serve_metrics(
            "127.0.0.1",
            0,
            names=["Node-A"],
            render=lambda: render(registry),
            obstacle=lambda: found.obstacle,
        ) as (host, port):
            found.url = f"http://{host}:{port}"
            yield found


async def test_the_metrics_are_served_in_prometheus_format(page: Page) -> None:
    async with page.client.get(page.url + "/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "ckptd_holdings 3.0" in (await response.text()).splitlines()


async def test_head_is_answered_without_a_body(page: Page) -> None:
    assert await page.get("/metrics", "HEAD") == (200, "")


async def test_readiness_says_what_is_in_the_way_and_health_does_not_care(page: Page) -> None:
    assert await page.get("/-/ready") == (200, "ready\n")
    page.obstacle = "draining"
    assert await page.get("/-/ready") == (503, "draining\n")
    assert await page.get("/-/healthy") == (200, "healthy\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_reading_is_possible(page: Page, method: str) -> None:
    status, _ = await page.get("/metrics", method)
    assert status == 405


async def test_nothing_else_is_there(page: Page) -> None:
    status, _ = await page.get("/")
    assert status == 404


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "10.1.2.3:7422", "[::1]:7422", "[::1]", "localhost", "LOCALHOST:1", "node-a:7422"],
)
async def test_addresses_and_own_names_are_answered(page: Page, host: str) -> None:
    status, _ = await page.get("/-/healthy", headers={"Host": host})
    assert status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7422", "localhost.evil.example", "127.0.0.1.evil.example",
     "", "[::1", "::1", "localhost:x", "[localhost]"],
)  # fmt: skip
async def test_foreign_names_are_refused(page: Page, host: str) -> None:
    status, text = await page.get("/metrics", headers={"Host": host})
    assert status == 421
    assert "ckptd_" not in text


async def test_web_pages_are_refused(page: Page) -> None:
    status, text = await page.get("/metrics", headers={"Origin": "http://localhost"})
    assert status == 403
    assert "ckptd_" not in text


async def test_a_taken_address_is_reported_with_a_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host, port = taken.getsockname()
        with pytest.raises(CkptdError) as refused:
            async with serve_metrics(host, port, render=bytes, obstacle=str):
                pass
    assert refused.value.subject == f"metrics listener {host}:{port}"
    assert "listen.metrics" in refused.value.hint


async def test_the_listener_is_gone_afterwards() -> None:
    async with serve_metrics("::1", 0, render=bytes, obstacle=str) as (host, port):
        assert (host, port > 0) == ("::1", True)
    with socket.socket(socket.AF_INET6) as late, pytest.raises(ConnectionRefusedError):
        late.connect((host, port))


# Whoever asks nothing


def half_heads(url: str, count: int) -> list[socket.socket]:
    """Connect so often, and begin to ask."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    connections = []
    for _ in range(count):
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        connections.append(connection)
    return connections


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_half_heads_take_few_places_and_whoever_asks_is_answered(page: Page) -> None:
    before = open_descriptors()
    halves = await asyncio.to_thread(half_heads, page.url, 200)
    assert (await page.get("/metrics"))[0] == 200
    own_ends = len(halves) + 1
    assert open_descriptors() <= before + own_ends + METRICS_CONNECTIONS_MAX
    for connection in halves:
        connection.close()


async def test_a_head_that_does_not_end_has_its_time(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_listener, "HEAD_TIMEOUT_NS", 50 * MS)
    (half,) = await asyncio.to_thread(half_heads, page.url, 1)
    assert await asyncio.to_thread(half.recv, 1) == b""
    half.close()


async def test_a_second_head_that_does_not_end_has_its_time_as_well(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_listener, "KEEP_ALIVE_S", 0.05)
    (half,) = await asyncio.to_thread(half_heads, page.url, 1)
    half.sendall(b"\r\nGET /metrics HTT")
    answer = b""
    while part := await asyncio.to_thread(half.recv, 65536):
        answer += part
    assert b"ckptd_holdings 3.0" in answer
    half.close()


async def test_idle_connections_give_way_to_who_asks(page: Page) -> None:
    host, port = page.url.removeprefix("http://").rsplit(":", 1)
    idle = [
        await asyncio.open_connection(host, int(port)) for _ in range(METRICS_CONNECTIONS_MAX // 2)
    ]
    for reader, writer in idle:
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"healthy\n")
    await asyncio.sleep(0.6)
    assert (await page.get("/-/healthy"))[0] == 200
    for _, writer in idle:
        writer.close()
