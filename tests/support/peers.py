"""Peers that are not what they should be: far away behind a slow link, or liars."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from ckptd.limits import KIB, MIB

_PART_BYTES = 64 * KIB
_VERSIONS = "/v1/checkpoints/"
_FIELDS = ("ETag", "Content-Range", "Content-Type", "Content-Length")
_LONG_POLL_S = 10.0


class SlowLink:
    """A way to a daemon with limited rate, until the limit is lifted.

    Attributes:
        address: ``HOST:PORT`` of this end.
        request_count: Ranges that were asked for through it.
        answered_bytes: Everything that the daemon answered.
    """

    def __init__(self, target_port: int, rate_bytes_per_s: float) -> None:
        self._target_port = target_port
        self._rate_bytes_per_s = rate_bytes_per_s
        self._lifted = threading.Event()
        self._lock = threading.Lock()
        self._free_at_s = 0.0
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.request_count = 0
        self.answered_bytes = 0
        self._run(self._accept)

    def lift(self) -> None:
        """Let everything through at once from now on."""
        self._lifted.set()

    def close(self) -> None:
        """Cut all connections."""
        self.lift()
        self._cut(self._listening)
        self._threads[0].join()
        for connection in self._sockets:
            self._cut(connection)
        for thread in self._threads:
            thread.join()
        for connection in (self._listening, *self._sockets):
            connection.close()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _cut(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self._sockets.append(near)
                try:
                    far = socket.create_connection(("127.0.0.1", self._target_port))
                except OSError:
                    self._cut(near)
                    continue
                self._sockets.append(far)
                self._run(self._ask, near, far)
                self._run(self._answer, far, near)

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := near.recv(_PART_BYTES):
                # Heads are sent whole, so none is cut in two here.
                self.request_count += part.count(b"GET " + _VERSIONS.encode())
                far.sendall(part)
        self._cut(far)

    def _answer(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := far.recv(_PART_BYTES):
                self._pace(len(part))
                near.sendall(part)
                with self._lock:
                    self.answered_bytes += len(part)
        self._cut(near)

    def _pace(self, size_bytes: int) -> None:
        with self._lock:
            now_s = time.monotonic()
            self._free_at_s = max(self._free_at_s, now_s) + size_bytes / self._rate_bytes_per_s
            wait_s = self._free_at_s - now_s
        self._lifted.wait(wait_s)


@contextlib.contextmanager
def slow_link(target_port: int, rate_bytes_per_s: float = 16 * MIB) -> Iterator[SlowLink]:
    link = SlowLink(target_port, rate_bytes_per_s)
    try:
        yield link
    finally:
        link.close()


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
