"""Peers that are not what they should be."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

_VERSIONS = "/v1/checkpoints/"
_FIELDS = ("ETag", "Content-Range", "Content-Type", "Content-Length")
_LONG_POLL_S = 10.0


class Liar(ThreadingHTTPServer):
    """Says what an honest daemon says, under another name; in bodies of versions it flips a bit.

    Attributes:
        node: What it calls itself.
        honest_port: Whom it asks.
        lies: Bodies with a wrong bit.
    """

    def __init__(self, node: str, honest_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _LiarsHandler)
        self.node = node
        self.honest_port = honest_port
        self.lies = 0
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _LiarsHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        liar = self.server
        assert isinstance(liar, Liar)
        if "If-None-Match" in self.headers:
            liar.closing.wait(_LONG_POLL_S)
            self._answer(304, {"ETag": self.headers["If-None-Match"]})
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
def liar(node: str, honest_port: int) -> Iterator[Liar]:
    """Serve what an honest daemon holds, with wrong bytes."""
    with Liar(node, honest_port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
