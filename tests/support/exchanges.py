"""What passes through a proxy, read lightly: which requests, and which bytes are bodies.

Only as much of HTTP is read as is needed to tell heads from bodies. No sockets here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ckptd.limits import HEAD_BYTES_MAX

_END = b"\r\n\r\n"
_REQUEST = re.compile(rb"(\S+) (\S+) ")
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d+)", re.IGNORECASE)
_RESPONSE = re.compile(rb"HTTP/1\.\d (\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BODILESS = frozenset({204, 304})
_OFFER, _HIDDEN = b"Ckptd-Coders", b"Ckptd-Hidden"
"""A source that codes says so. Here it does not: what is planned is planned in bytes of ranges."""


@dataclass(slots=True)
class Exchange:
    """One request and what became of it.

    Attributes:
        connection: Which connection, counted from 0.
        method: As in the request.
        target: As in the request.
        asked_s: When the request had come, by ``time.monotonic``.
        start: First byte of the range that was asked for; 0 without one.
        end: The byte behind the last one; 0 without a range.
        status: Of the response; 0 until its head was passed on.
        body_bytes: How much of the body was passed on.
        heard_s: When the last of those was.
    """

    connection: int
    method: str
    target: str
    asked_s: float
    start: int = 0
    end: int = 0
    status: int = 0
    body_bytes: int = 0
    heard_s: float = 0.0

    @property
    def is_of_range(self) -> bool:
        """Bytes of a version were asked for."""
        return self.end > 0


@dataclass(slots=True)
class Heads:
    """Collects heads that come in pieces."""

    _seen: bytearray = field(default_factory=bytearray)

    def take(self, data: memoryview) -> tuple[int, bytes]:
        """Take what belongs to one head.

        Returns:
            How many bytes did, and the whole head, which is empty until its last byte came.
        """
        before = len(self._seen)
        self._seen += data[:HEAD_BYTES_MAX]
        end = self._seen.find(_END)
        if end < 0:
            assert len(self._seen) <= HEAD_BYTES_MAX, "this is not HTTP"
            return len(data), b""
        head = bytes(self._seen[: end + len(_END)])
        self._seen.clear()
        return len(head) - before, head


_HANDSHAKE = b"\x16"
"""The first byte of a connection with TLS (RFC 8446 section 5.1)."""


class Conversation:
    """Both directions of one connection. What is said over TLS is passed on and not understood.

    Args:
        connection: Its number.
        now: Gives the time.
        asked: Told of every request.
    """

    def __init__(
        self, connection: int, now: Callable[[], float], asked: Callable[[Exchange], None]
    ) -> None:
        self._connection = connection
        self._now = now
        self._asked = asked
        self._awaiting: deque[Exchange] = deque()
        self._requests = Heads()
        self._responses = Heads()
        self._answered: Exchange | None = None
        self._left_bytes = 0
        self._is_secret = False

    def request(self, data: memoryview) -> tuple[int, Exchange | None]:
        """Read the next bytes of the requests; return how many belong together.

        The exchange is always ``None``: requests have no bodies.
        """
        self._is_secret = self._is_secret or data[:1] == _HANDSHAKE
        if self._is_secret:
            return len(data), None
        size_bytes, head = self._requests.take(data)
        line = _REQUEST.match(head)
        if line:
            exchange = Exchange(
                self._connection, line[1].decode(), line[2].decode(), asked_s=self._now()
            )
            asked = _RANGE.search(head)
            if asked:
                exchange.start, exchange.end = int(asked[1]), int(asked[2]) + 1
            self._awaiting.append(exchange)
            self._asked(exchange)
        return size_bytes, None

    def response(self, data: memoryview) -> tuple[int, Exchange | None]:
        """Read the next bytes of the responses; return how many belong together.

        The exchange is given if these are bytes of a body.
        """
        if self._is_secret:
            return len(data), None
        if self._left_bytes:
            size_bytes = min(self._left_bytes, len(data))
            self._left_bytes -= size_bytes
            return size_bytes, self._answered
        size_bytes, head = self._responses.take(data)
        at = bytes(data[:size_bytes]).find(_OFFER)
        if at >= 0:
            data[at : at + len(_OFFER)] = _HIDDEN
        line = _RESPONSE.match(head)
        if line:
            exchange = self._answered = self._awaiting.popleft()
            exchange.status = int(line[1])
            length = _LENGTH.search(head)
            if length and exchange.method != "HEAD" and exchange.status not in _BODILESS:
                self._left_bytes = int(length[1])
        return size_bytes, None
