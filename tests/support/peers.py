"""Peers that are not what they should be."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import msgspec

from tests.support.answering import answering

_VERSIONS = "/v1/checkpoints/"
_FIELDS = ("ETag", "Content-Range", "Content-Type", "Content-Length")
_LONG_POLL_S = 10.0


class Liar(ThreadingHTTPServer):
    """Says what an honest daemon says, under another name; in bodies of versions it flips a bit.

    Attributes:
        node: What it calls itself.
        honest_port: Whom it asks.
        serves: It has bodies of versions; else it has none, whatever it says.
        lies: Bodies with a wrong bit.
    """

    def __init__(self, node: str, honest_port: int, *, serves: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _LiarsHandler)
        self.node = node
        self.honest_port = honest_port
        self.serves = serves
        self.lies = 0
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


EVIL: Final = "\nlevel=error event=forged \x1b[2J\x9b2J\u202e " + "A" * 2**20
"""What somebody would like to see in a log, or not to end at all."""


class Shouter(ThreadingHTTPServer):
    """Puts :data:`EVIL` wherever the protocol has room for text, another place each time.

    Attributes:
        answers: How many it gave.
    """

    def __init__(self) -> None:
        super().__init__(("0.0.0.0", 0), _ShoutersHandler)
        self.answers = 0

    @property
    def addresses(self) -> list[str]:
        """As many as it has answers, so that nobody has to wait for all of them."""
        return [f"127.0.0.{host}:{self.server_address[1]}" for host in range(1, 8)]


class _ShoutersHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        shouter = self.server
        assert isinstance(shouter, Shouter)
        shouter.answers += 1
        document = {"node": EVIL, "epoch": 1, "revision": 1, "holdings": []}
        body = msgspec.json.encode(document)
        answers = (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
            b"HTTP/1.1 200 %b\r\nContent-Length: 0\r\n\r\n" % EVIL[1:300].encode(),
            b"HTTP/1.1 599 %b\r\nContent-Length: 0\r\n\r\n" % EVIL.encode()[1:],
            b"HTTP/1.1 200 OK\r\nX-Name: %b\r\nContent-Length: 0\r\n\r\n" % EVIL.encode()[1:],
            b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % EVIL[1:200].encode(),
            EVIL.encode(),
        )
        with contextlib.suppress(OSError):
            self.wfile.write(answers[shouter.answers % len(answers)])
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def shouter() -> Iterator[Shouter]:
    """Answer everything with text that does not belong into a log."""
    server = Shouter()
    server.daemon_threads = True
    with answering(server):
        yield server


class _LiarsHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        liar = self.server
        assert isinstance(liar, Liar)
        if "If-None-Match" in self.headers:
            liar.closing.wait(_LONG_POLL_S)
            self._answer(304, {"ETag": self.headers["If-None-Match"]})
            return
        if self.path.startswith(_VERSIONS) and not liar.serves:
            self._answer(404, {"Content-Length": "0"})
            return
        status, fields, body = self._ask_honest(liar.honest_port)
        if self.path == "/v1/holdings":
            document = msgspec.json.decode(body) | {"node": liar.node, "epoch": 1}
            body = msgspec.json.encode(document)
        elif self.path.startswith(_VERSIONS) and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            liar.lies += 1
        if body:
            fields["Content-Length"] = str(len(body))
        self._answer(status, fields, body)

    do_HEAD = do_GET  # noqa: N815

    def _ask_honest(self, port: int) -> tuple[int, dict[str, str], bytes]:
        asked = {name: self.headers[name] for name in ("Range",) if name in self.headers}
        honest = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.closing(honest):
            honest.request(self.command, self.path, headers=asked)
            answer = honest.getresponse()
            fields = {name: answer.getheader(name) for name in _FIELDS}
            return answer.status, {k: v for k, v in fields.items() if v}, answer.read()

    def _answer(self, status: int, fields: dict[str, str], body: bytes = b"") -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def liar(node: str, honest_port: int, *, serves: bool = True) -> Iterator[Liar]:
    """Serve what an honest daemon holds, with wrong bytes, or say so and serve nothing."""
    server = Liar(node, honest_port, serves=serves)
    with answering(server, server.closing):
        yield server
