"""A peer that answers whatever a test tells it to, and an address that must never be dialled."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec

from ckptd.model.manifest import Manifest
from ckptd.store.files.hashing import hexdigest_of
from tests.support.answering import answering

_LONG_POLL_S = 10.0


class Reply(NamedTuple):
    body: bytes = b""
    status: int = 200
    fields: Mapping[str, str] = {}
    drip_s: float = 0.0


class HostilePeer(ThreadingHTTPServer):
    """Answers from a table; whatever is not in it is 404.

    Attributes:
        replies: By request target.
        requests: The targets that were asked for, in order.
        any_manifest: Answers a question for a manifest that is not in the table.
    """

    daemon_threads = True

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = dict(replies)
        self.requests: list[str] = []
        self.closing = threading.Event()
        self.any_manifest = Reply(status=404)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        peer = self.server
        assert isinstance(peer, HostilePeer)
        is_manifest = self.path.startswith("/v1/manifests/")
        reply = peer.replies.get(self.path, peer.any_manifest if is_manifest else Reply(status=404))
        if "If-None-Match" in self.headers:
            peer.closing.wait(_LONG_POLL_S)
            reply = Reply(status=304)
        peer.requests.append(self.path)
        with contextlib.suppress(OSError):
            self.send_response(reply.status)
            for name, value in reply.fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if not reply.drip_s:
                self.wfile.write(reply.body)
                return
            for byte in reply.body:
                if peer.closing.wait(reply.drip_s):
                    return
                self.wfile.write(bytes([byte]))

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def hostile_peer(replies: Mapping[str, Reply]) -> Iterator[HostilePeer]:
    """Serve from a table."""
    peer = HostilePeer(replies)
    with answering(peer, peer.closing):
        yield peer


def claims(node: str, manifest: Manifest, digest: str, **more: object) -> Reply:
    """Say that a node holds a version whole, with more in the document than belongs there."""
    size_bytes = sum(unit.size_bytes for unit in manifest.units)
    holding = {
        "checkpoint": manifest.checkpoint,
        "version": manifest.version,
        "digest": digest,
        "size_bytes": size_bytes,
        "block_count": sum(unit.block_count for unit in manifest.units),
        "blocks": "all",
        **more,
    }
    document = {"node": node, "epoch": 1, "revision": 1, "holdings": [holding], **more}
    return Reply(msgspec.json.encode(document), fields={"ETag": '"1-1"'})


def inventions(node: str, checkpoint: str, count: int, *, first: int) -> Reply:
    """Say that a node holds many versions, each with a digest of its own."""
    holdings = [
        {
            "checkpoint": checkpoint,
            "version": first + index,
            "digest": hexdigest_of(f"{node} {index}".encode()),
            "size_bytes": 1000,
            "block_count": 1,
            "blocks": "all",
        }
        for index in range(count)
    ]
    document = {"node": node, "epoch": 1, "revision": 1, "holdings": holdings}
    return Reply(msgspec.json.encode(document), fields={"ETag": '"1-1"'})


class Canary:
    """A listener that nobody has a reason to talk to.

    Attributes:
        address: Where it is.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        host, port = listener.getsockname()
        self.address = f"{host}:{port}"

    def is_untouched(self) -> bool:
        """Tell whether nobody ever connected."""
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False


@contextlib.contextmanager
def canary() -> Iterator[Canary]:
    """Listen; connections wait in the backlog to be seen."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Canary(listener)
