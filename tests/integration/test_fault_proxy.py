"""The fault proxy itself, between a plain client and a plain server."""

import contextlib
import http.client
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import pytest

from ckptd.limits import KIB, MIB
from tests.support.answering import answering
from tests.support.cluster import eventually
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.link_faults import Bucket, Faults, Mishap, Planned

pytestmark = pytest.mark.integration

CONTENT = Random(1).randbytes(2 * MIB)
PATIENCE_S = 60.0
SEGMENTS_RECEIVED = slice(140, 144)
"""Of ``struct tcp_info``."""


class Origin(ThreadingHTTPServer):
    """Answers ranges of the content, and the whole of it at another place."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _OriginsHandler)
        self.request_count = 0


class _OriginsHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Origin)
        self.server.request_count += 1
        asked = self.headers["Range"]
        start, last = asked.removeprefix("bytes=").split("-") if asked else (0, len(CONTENT) - 1)
        body = CONTENT[int(start) : int(last) + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # what a proxy does to a server, too
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextmanager
def running_origin() -> Iterator[Origin]:
    with answering(Origin()) as server:
        yield server


@pytest.fixture
def origin() -> Iterator[Origin]:
    with running_origin() as server:
        yield server


@pytest.fixture
def proxy(origin: Origin) -> Iterator[FaultProxy]:
    with fault_proxy(origin.server_address[1]) as made:
        yield made


class Client:
    """Asks for ranges and takes the answers, byte by byte if need be."""

    def __init__(self, proxy: FaultProxy) -> None:
        host, port = proxy.address.split(":")
        self.connection = socket.create_connection((host, int(port)), PATIENCE_S)
        self.sent_bytes = 0
        self.received_bytes = 0

    def close(self) -> None:
        self.connection.close()

    def ask(self, start: int, end: int) -> None:
        head = (
            f"GET /v1/checkpoints/x HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-{end - 1}\r\n\r\n"
        )
        self.connection.sendall(head.encode())
        self.sent_bytes += len(head)

    def take(self, size_bytes: int) -> bytes:
        data = b""
        while len(data) < size_bytes and (part := self.connection.recv(size_bytes - len(data))):
            data += part
        self.received_bytes += len(data)
        return data

    def take_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = self.take(1)
            assert part, "the connection ended"
            head += part
        return head

    def take_waiting(self) -> bytes:
        """Take what is here, without waiting for more."""
        self.connection.settimeout(0)
        try:
            return self.take(len(CONTENT))
        except BlockingIOError:
            return b""
        finally:
            self.connection.settimeout(PATIENCE_S)

    def fetch(self, start: int, end: int) -> bytes:
        self.ask(start, end)
        self.take_head()
        return self.take(end - start)


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Client]:
    with closing(Client(proxy)) as made:
        yield made


def happened(proxy: FaultProxy) -> Callable[[], bool]:
    return lambda: proxy.plan.mishap_count == 1


def test_without_faults_every_byte_passes_and_is_counted(proxy: FaultProxy, client: Client) -> None:
    assert client.fetch(0, MIB) == CONTENT[:MIB]
    assert client.fetch(5, 6) == CONTENT[5:6]
    assert proxy.requests.passed_bytes == client.sent_bytes
    eventually(lambda: proxy.replies.passed_bytes == client.received_bytes, "all is counted")
    assert proxy.plan.body_bytes == MIB + 1
    assert proxy.connection_count == 1
    asked = [(each.connection, each.start, each.end, each.body_bytes) for each in proxy.ranges]
    assert asked == [(0, 0, MIB, MIB), (0, 5, 6, 1)]
    assert all(each.heard_s >= each.asked_s for each in proxy.ranges)


def test_answers_without_a_body_are_told_apart(proxy: FaultProxy) -> None:
    host, port = proxy.address.split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)) as connection:
        for method, body in (("HEAD", b""), ("GET", CONTENT)):
            connection.request(method, "/v1/manifests/x")
            assert connection.getresponse().read() == body
    head, get = proxy.exchanges
    eventually(lambda: get.body_bytes == len(CONTENT), "all is counted")
    assert (head.method, head.status, head.body_bytes) == ("HEAD", 200, 0)
    assert proxy.ranges == []


def test_a_silence_begins_at_its_byte_and_nothing_is_lost(
    proxy: FaultProxy, client: Client
) -> None:
    proxy.after(300_001, Mishap.SILENCE)
    client.ask(0, MIB)
    head = client.take_head()
    begin = client.take(300_001)
    eventually(happened(proxy), "the silence")
    assert client.take_waiting() == b""
    assert proxy.replies.passed_bytes == len(head) + 300_001
    proxy.resume()
    assert begin + client.take(MIB - 300_001) == CONTENT[:MIB]


def test_a_silence_may_end_by_itself(proxy: FaultProxy, client: Client) -> None:
    proxy.after(1000, Mishap.SILENCE, lasting_s=0.01)
    assert client.fetch(0, MIB) == CONTENT[:MIB]
    assert proxy.plan.mishap_count == 1


def test_a_silent_way_leaves_the_other_one_alone(
    proxy: FaultProxy, client: Client, origin: Origin
) -> None:
    assert client.fetch(0, 1) == CONTENT[:1]
    proxy.replies.silence()
    client.ask(0, 1000)
    eventually(lambda: origin.request_count == 2, "the request came")
    assert client.take_waiting() == b""
    proxy.resume()
    client.take_head()
    assert client.take(1000) == CONTENT[:1000]
    proxy.requests.silence()
    client.ask(0, 1000)
    passed = proxy.requests.passed_bytes
    proxy.replies.silence()
    proxy.replies.resume()
    assert (origin.request_count, proxy.requests.passed_bytes) == (2, passed)
    proxy.resume()
    client.take_head()
    assert client.take(1000) == CONTENT[:1000]


def test_a_reset_comes_at_its_byte(proxy: FaultProxy, client: Client) -> None:
    proxy.after(5000, Mishap.RESET)
    client.ask(0, MIB)
    client.take_head()
    assert client.take(5000) == CONTENT[:5000]
    with pytest.raises(ConnectionResetError):
        client.take(1)


def test_a_truncation_is_a_clean_close_at_its_byte(proxy: FaultProxy, client: Client) -> None:
    proxy.after(5000, Mishap.TRUNCATION)
    client.ask(0, MIB)
    client.ask(0, MIB)  # what is still asked does not turn it into a reset
    client.take_head()
    assert client.take(MIB) == CONTENT[:5000]
    with closing(Client(proxy)) as another:
        assert another.fetch(0, MIB) == CONTENT[:MIB]


def test_one_flip_is_one_wrong_bit_of_its_byte(proxy: FaultProxy, client: Client) -> None:
    proxy.after(70_000, Mishap.FLIP)
    body = client.fetch(0, MIB)
    wrong = [(at, a ^ b) for at, (a, b) in enumerate(zip(body, CONTENT, strict=False)) if a != b]
    ((at, bits),) = wrong
    assert at == 70_000
    assert bits.bit_count() == 1
    assert client.fetch(0, MIB) == CONTENT[:MIB]


def test_flips_by_chance_hit_ranges_and_nothing_else(proxy: FaultProxy, client: Client) -> None:
    proxy.plan.flips_per_mib = 50
    body = client.fetch(0, 2 * MIB)
    wrong = sum(a != b for a, b in zip(body, CONTENT, strict=True))
    assert 50 <= wrong <= 200
    assert wrong == proxy.plan.mishap_count
    host, port = proxy.address.split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/v1/manifests/x")
        assert connection.getresponse().read() == CONTENT


def test_slices_leave_one_by_one(proxy: FaultProxy, client: Client) -> None:
    def segments() -> int:
        facts = client.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return int.from_bytes(facts[SEGMENTS_RECEIVED], sys.byteorder)

    assert client.fetch(0, 64 * KIB) == CONTENT[: 64 * KIB]
    whole = segments()
    proxy.replies.slice_bytes = 100
    assert client.fetch(0, 64 * KIB) == CONTENT[: 64 * KIB]
    assert segments() - whole > 2 * whole


def test_a_rate_holds_for_all_connections_together_until_it_is_lifted(
    proxy: FaultProxy, client: Client
) -> None:
    proxy.replies.rate_bytes_per_s = 1000
    with closing(Client(proxy)) as another:
        for each in (client, another):
            each.ask(0, MIB)
        eventually(lambda: proxy.replies.passed_bytes > 20, "something passes")
        assert proxy.replies.passed_bytes < 64 * KIB  # a minute's worth
        proxy.replies.rate_bytes_per_s = None
        for each in (client, another):
            each.take_head()
            assert each.take(MIB) == CONTENT[:MIB]


def test_connections_share_a_rate_equally(proxy: FaultProxy, client: Client) -> None:
    proxy.replies.rate_bytes_per_s = 8 * MIB
    with closing(Client(proxy)), closing(Client(proxy)) as another:  # one asks for nothing
        for each in (client, another):
            each.ask(0, 2 * MIB)
        eventually(lambda: proxy.plan.body_bytes > MIB, "a good part has come")
        assert all(each.body_bytes > 300 * KIB for each in proxy.ranges)
        proxy.heal()
        for each in (client, another):
            each.take_head()
            assert each.take(2 * MIB) == CONTENT


def test_latency_and_jitter_keep_order(proxy: FaultProxy, client: Client) -> None:
    proxy.replies.latency_s, proxy.replies.jitter_s = 0.02, 0.01
    for start in (0, 10, 1000):
        client.ask(start, MIB)
    for start in (0, 10, 1000):
        client.take_head()
        assert client.take(MIB - start) == CONTENT[start:MIB]
    assert all(each.heard_s - each.asked_s >= 0.02 for each in proxy.ranges)


def test_a_flapping_link_brings_everything_in_the_end(proxy: FaultProxy, client: Client) -> None:
    proxy.apply(Faults(flap_s=(0.01, 0.02), rate_bytes_per_s=20 * MIB))
    client.ask(0, 2 * MIB)
    client.take_head()
    eventually(lambda: proxy.replies.is_silent, "it is silent")
    assert client.take(2 * MIB) == CONTENT
    proxy.heal()
    assert not proxy.replies.is_silent
    assert client.fetch(0, 2 * MIB) == CONTENT


def test_a_daemon_that_is_gone_resets_and_one_that_returns_is_reached() -> None:
    with running_origin() as origin:
        port = origin.server_address[1]
    with fault_proxy(port) as proxy:
        with pytest.raises(ConnectionResetError), closing(Client(proxy)) as client:
            client.take(1)
        with socket.create_server(("127.0.0.1", port)), closing(Client(proxy)):
            eventually(lambda: proxy.connection_count == 2, "it is reached")


def test_closing_cuts_everything(origin: Origin) -> None:
    with contextlib.ExitStack() as running:
        proxy = running.enter_context(fault_proxy(origin.server_address[1]))
        with closing(Client(proxy)) as client:
            assert client.fetch(0, 1) == CONTENT[:1]
            proxy.silence()
            running.close()
            with pytest.raises(ConnectionResetError):
                client.take(1)
            with pytest.raises(ConnectionRefusedError):
                Client(proxy)


def test_a_bucket_lets_pass_what_its_rate_allows_whenever_it_is_asked() -> None:
    rng = Random(3)
    for rate in (500.0, 80e6, 3e9):
        bucket, now, passed = Bucket(rate, now=0.0), 0.0, [(0.0, 0)]
        while now < 2.0:
            now += rng.uniform(0.0001, 0.015)
            size_bytes = bucket.room(now=now)
            bucket.take(size_bytes)
            passed.append((now, passed[-1][1] + size_bytes))
        for at, before in passed:
            after = max(total for then, total in passed if then <= at + 0.1)
            assert after - before <= rate * 0.1201 + 1
            if at + 0.12 < now:
                assert after - before >= rate * 0.08 - 1


def test_a_bucket_says_when_it_has_room() -> None:
    bucket = Bucket(1000.0, now=5.0)
    assert bucket.room(now=5.0) == 0
    room_at_s = bucket.room_at()
    assert room_at_s is not None
    assert bucket.room(now=room_at_s + 1e-9) >= 4
    assert bucket.room_at() is None
    assert bucket.room(now=100.0) == 20


def test_a_seed_draws_the_same_faults_and_seeds_draw_all_of_them() -> None:
    drawn = [Faults.draw(seed, MIB) for seed in range(50)]
    assert drawn == [Faults.draw(seed, MIB) for seed in range(50)]
    assert {each.mishap for faults in drawn for each in faults.mishaps} == set(Mishap)
    for name in ("rate_bytes_per_s", "latency_s", "jitter_s", "slice_bytes"):
        assert {bool(getattr(faults, name)) for faults in drawn} == {True, False}
    assert all(0 <= each.at_bytes < MIB for faults in drawn for each in faults.mishaps)


def test_mishaps_happen_in_the_order_of_their_bytes(proxy: FaultProxy, client: Client) -> None:
    first = Planned(10, Mishap.FLIP)
    proxy.apply(Faults(mishaps=(Planned(20, Mishap.TRUNCATION), first)))
    client.ask(0, 1000)
    client.take_head()
    body = client.take(1000)
    assert len(body) == 20
    assert body != CONTENT[:20]
