"""Sources that send nothing but wrong bytes, and say whatever gets them asked again."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from tests.support.certificates import client_context, server_context

_MANIFESTS = "/v1/manifests/"
_VERSIONS = "/v1/checkpoints/"
_LONG_POLL_S = 10.0


@dataclass(frozen=True)
class Honest:
    """What an honest daemon says of the version that it holds."""

    document: dict[str, Any]
    manifests: dict[str, bytes]

    @classmethod
    def ask(cls, port: int, files: tuple[str, str] | None) -> Honest:
        """Ask a daemon, over TLS as the node with this certificate and key."""
        context = None if files is None else client_context(files)

        def get(target: str) -> bytes:
            address = ("127.0.0.1", port)
            connection = (
                http.client.HTTPConnection(*address)
                if context is None
                else http.client.HTTPSConnection(*address, context=context)
            )
            with contextlib.closing(connection):
                connection.request("GET", target)
                return connection.getresponse().read()

        document = msgspec.json.decode(get("/v1/holdings"))
        digests = [holding["digest"] for holding in document["holdings"]]
        return cls(document, {digest: get(_MANIFESTS + digest) for digest in digests})


class Washer(ThreadingHTTPServer):
    """Claims what an honest daemon holds, and sends wrong bytes of it.

    Args:
        node: What it calls itself.
        honest: What it claims.
        status: What it answers when it is asked about bad blocks; then it claims them again.
        epoch_s: It says so often that it has restarted; ``None``: never.
        files: Its certificate and key; ``None``: plaintext.

    Attributes:
        sent_bytes: What it sent of the version.
    """

    daemon_threads = True

    def __init__(
        self,
        node: str,
        honest: Honest,
        *,
        status: int,
        epoch_s: float | None,
        files: tuple[str, str] | None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.node = node
        self.honest = honest
        self.status = status
        self.epoch = self.revision = 1
        self.sent_bytes = 0
        self.closing = threading.Event()
        self.changed = threading.Condition()
        self._epoch_s = epoch_s
        if files is not None:
            self.socket = server_context(files).wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def etag(self) -> str:
        return f'"{self.epoch}-{self.revision}"'

    def claim_again(self, *, is_reborn: bool = False) -> None:
        with self.changed:
            self.epoch += is_reborn
            self.revision += 1
            self.changed.notify_all()

    def restart_in_words(self) -> None:
        while self._epoch_s is not None and not self.closing.wait(self._epoch_s):
            self.claim_again(is_reborn=True)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # who is asked no more hangs up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        washer = self.server
        assert isinstance(washer, Washer)
        if self.path == "/v1/holdings":
            self._say_holdings(washer)
        elif self.path.startswith(_MANIFESTS):
            manifest = washer.honest.manifests.get(self.path.removeprefix(_MANIFESTS))
            self._answer(200 if manifest else 404, {}, manifest or b"")
        elif self.path.startswith(_VERSIONS) and self.command == "HEAD":
            self._answer(washer.status, {})
            washer.claim_again()
        elif self.path.startswith(_VERSIONS):
            self._send_range(washer, self.path.removeprefix(_VERSIONS))
        else:
            self._answer(404, {})

    do_HEAD = do_GET  # noqa: N815

    def _say_holdings(self, washer: Washer) -> None:
        known = self.headers["If-None-Match"]
        with washer.changed:
            if known is not None:
                washer.changed.wait_for(lambda: washer.etag != known, _LONG_POLL_S)
            etag = washer.etag
            said = {"node": washer.node, "epoch": washer.epoch, "revision": washer.revision}
        if etag == known:
            self._answer(304, {"ETag": etag})
        else:
            body = msgspec.json.encode(washer.honest.document | said)
            self._answer(200, {"ETag": etag}, body)

    def _send_range(self, washer: Washer, digest: str) -> None:
        holdings = washer.honest.document["holdings"]
        (size_bytes,) = (each["size_bytes"] for each in holdings if each["digest"] == digest)
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        body = b"\xa5" * (last + 1 - first)
        fields = {"Content-Range": f"bytes {first}-{last}/{size_bytes}", "ETag": f'"{digest}"'}
        self._answer(206, fields, body)
        washer.sent_bytes += len(body)

    def _answer(self, status: int, fields: dict[str, str], body: bytes = b"") -> None:
        washer = self.server
        assert isinstance(washer, Washer)
        own = {"Ckptd-Node": washer.node, "Content-Length": str(len(body))}
        with contextlib.suppress(OSError, ssl.SSLError):
            self.send_response(status)
            for name, value in (own | fields).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def washer(
    node: str,
    honest: Honest,
    *,
    status: int = 200,
    epoch_s: float | None = None,
    files: tuple[str, str] | None = None,
) -> Iterator[Washer]:
    """Let one serve; see :class:`Washer`."""
    with Washer(node, honest, status=status, epoch_s=epoch_s, files=files) as server:
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,)),
            threading.Thread(target=server.restart_in_words),
        ]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.claim_again()
            server.shutdown()
            for thread in threads:
                thread.join()
