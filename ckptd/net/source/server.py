"""The serving side of one node: what happens on each accepted connection.

Heads are read and small answers sent on the event loop; bytes of versions are sent by threads
(:mod:`ckptd.net.source.sending`). Requests on one connection are answered in the order in which
they came; what has arrived of later ones stays in the buffer until then.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from ckptd.errors import ContentChanged, NotFound, ProtocolViolation, StorageError
from ckptd.limits import (
    BODY_RATE_MIN_BYTES_PER_S,
    HEAD_BYTES_MAX,
    HEAD_TIMEOUT_NS,
    IDLE_TIMEOUT_NS,
    KIB,
    MIB,
    SECOND,
)
from ckptd.model.ids import Epoch, NodeId
from ckptd.model.words import RefusalReason, UnservedReason, Urgency
from ckptd.net.coded_bases import DECODED
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.connection.identity import CertifiedPeer, Identity
from ckptd.net.connection.transports import Connection, reset_on_close
from ckptd.net.loaded_coding import can_code
from ckptd.net.source.answers import (
    Answer,
    Answers,
    CodedBody,
    Content,
    VersionBody,
    no_place,
    refuse,
    turn_away,
    unserved_reason,
)
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.coded_sending import BlockCoder, CodedSending
from ckptd.net.source.giving_way import GivingWay
from ckptd.net.source.sending import SEND_THREADS, Piece, Sending, ServedBytes
from ckptd.net.source.shared_coding import SharedCoding
from ckptd.net.source.waits import Waits
from ckptd.net.throttle import Throttle
from ckptd.traffic.buckets import Flow
from ckptd.traffic.workload import Workload
from ckptd.wire.coding_fields import CODERS, format_coders
from ckptd.wire.fields import CLASS, EPOCH, LOAD, NODE, parse_class
from ckptd.wire.heads import RequestHead, head_end, parse_request_head, response_head

__all__ = ["Content", "PeerServer", "Piece", "ServedBytes"]

_log = logging.getLogger(__name__)

_LINGER_S: Final = 1.0
"""For how long a peer may go on sending after its last response. Closing with bytes unread makes
the kernel reset the connection, and the peer would lose the end of that response."""
_LINGER_BYTES_MAX: Final = 64 * KIB

_AWAY_S: Final = "5"
"""For how many seconds who gave way should stay away: somebody needs the place for bodies."""

_PART_BYTES: Final = MIB
_PART_S: Final = _PART_BYTES / BODY_RATE_MIN_BYTES_PER_S
"""Answers in memory are sent in parts of this size; each must be taken in this time."""

_SENSELESS: Final = frozenset({400, 416})
"""Answers to what no peer of this protocol asks: bad request, range not satisfiable."""


class PeerServer:
    """Answers peers; the listener hands it one connection after another.

    Args:
        content: What there is to serve.
        node: Who this node is.
        epoch: Which life of it.
        caps: Learns which connections are used, and whom this server turns away.
        identity: Proves it, and who may ask; ``None``: plaintext, and everybody.
        throttle: Says when bodies may be sent.
        drops_sent: What was sent leaves the page cache.
        coding_cores: How much processor time coding may take.

    Attributes:
        unserved: How often it did not give what a peer asked for, by why.
        coding: What its coded answers have in common.
        on_asked: Called with the IP address of whoever asks something on a new connection.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        content: Content,
        *,
        node: NodeId,
        epoch: Epoch,
        caps: ConnectionCaps,
        identity: Identity | None = None,
        throttle: Throttle | None = None,
        drops_sent: bool = False,
        coding_cores: float = 0.0,
    ) -> None:
        self.content = content
        self.drops_sent = drops_sent
        self.caps = caps
        self.unserved: Counter[UnservedReason] = Counter()
        self.waits = Waits()
        self.answers = Answers(content, epoch, self.waits)
        self.throttle = throttle or Throttle()
        self.giving_way = GivingWay(self.throttle)
        self.coding = SharedCoding(coding_cores)
        # Each class has its own: bodies that have to give way must not be in the way of others.
        self.threads = {
            urgency: ThreadPoolExecutor(SEND_THREADS, thread_name_prefix=f"send-{urgency.label}")
            for urgency in Urgency
        }
        self.workloads = {urgency: Workload() for urgency in Urgency}
        self.sendings: set[Sending] = set()
        self.identity = identity
        self.on_asked: Callable[[str], None] = lambda _: None
        self._coders = format_coders(DECODED) if coding_cores else ""
        self._own_fields = {NODE: node, EPOCH: str(epoch)}

    @property
    def load_bytes(self) -> int:
        """Bytes that were promised to peers and are not sent yet."""
        return sum(sending.left_bytes for sending in self.sendings)

    async def serve(self, connected: socket.socket) -> None:
        """Answer what comes on a connection until nobody asks any more.

        Args:
            connected: Connected, non-blocking. A response that cannot be sent to its end
                leaves it so that closing it resets it: a body must not look complete.
        """
        try:
            if self.identity is None:
                conversation = _Conversation(self, Connection(connected))
                await conversation.run(self.caps.refusal_of(connected))
            else:
                await self._serve_securely(connected, self.identity)
        except TimeoutError as error:
            _log.debug("a connection ends: %r", error)
            self.caps.refusals[RefusalReason.READER_SLOW] += 1
            reset_on_close(connected)
        except OSError as error:
            _log.debug("a connection ends: %r", error)
            reset_on_close(connected)
        except asyncio.CancelledError:
            reset_on_close(connected)
            raise
        except Exception:  # noqa: BLE001 -- edge: request → response
            _log.exception("serving a connection failed")
            reset_on_close(connected)

    async def _serve_securely(self, connected: socket.socket, identity: Identity) -> None:
        """Shake hands first; a stranger gets no further."""
        try:
            connection, peer = await identity.accept(connected)
        except HandshakeFailed:
            with suppress(OSError):  # the peer learns why only if it is not reset
                await _linger(Connection(connected))
            return
        refusal = self.caps.refusal_of(connected)
        if refusal is None and not self.caps.identify(connected, peer.node):
            refusal = RefusalReason.NODE
            _log.warning("no place for a connection of %s: this node %s", peer.node, refusal.cap)
        await _Conversation(self, connection, peer).run(refusal)

    def drain(self) -> None:
        """Close idle connections, and the others after the response that is under way."""
        self.waits.cut()

    def close(self) -> None:
        """End the threads; no connection may be served any more."""
        for threads in self.threads.values():
            threads.shutdown()

    def head(self, answer: Answer, *, keep_alive: bool) -> bytes:
        """Write the head of a response."""
        fields = {
            **self._own_fields,
            LOAD: str(self.load_bytes),
            "Date": formatdate(usegmt=True),
            "Connection": "keep-alive" if keep_alive else "close",
            **answer.fields,
        }
        if self._coders and isinstance(answer.body, VersionBody):
            fields[CODERS] = self._coders
        if answer.status != HTTPStatus.NOT_MODIFIED and not isinstance(answer.body, CodedBody):
            fields["Content-Length"] = str(answer.content_length)
        return response_head(answer.status, fields)


class _Conversation:
    """Requests and answers on one connection."""

    def __init__(
        self, server: PeerServer, connection: Connection, peer: CertifiedPeer | None = None
    ) -> None:
        self._server = server
        self._connection = connection
        self._peer = peer
        self._peer_name = peer.node if peer else connection.peer_address
        self._buffer = bytearray()
        self._is_proven = False
        self._gives_way = False
        self._loop = asyncio.get_running_loop()

    async def run(self, refusal: RefusalReason | None = None) -> None:
        """Answer request after request.

        Args:
            refusal: Why there is no place for the connection; the first request is answered so.
        """
        is_last_answered = (
            await self._answer_all() if refusal is None else await self._turn_away(refusal)
        )
        if not is_last_answered:
            return
        await _linger(self._connection)

    async def _turn_away(self, refusal: RefusalReason) -> bool:
        """Say that there is no place; tell whether somebody asked."""
        with_body = True
        with suppress(ProtocolViolation):
            request = await self._read_request()
            if request is None:
                return False
            with_body = request.method == "GET"
        await self._send(no_place(refusal), keep_alive=False, with_body=with_body)
        return True

    async def _answer_all(self) -> bool:
        """Answer request after request; tell whether the last one was answered."""
        while True:
            try:
                request = await self._read_request()
            except ProtocolViolation as violation:
                is_late = violation.status == HTTPStatus.REQUEST_TIMEOUT
                self._count(RefusalReason.HEAD_LATE if is_late else RefusalReason.HEAD)
                await self._send(refuse(violation), keep_alive=False)
                return True
            if request is None or self._is_revoked():
                return False
            if not self._is_proven:
                self._server.on_asked(self._connection.peer_address)
            self._is_proven = True
            self._server.caps.prove(self._connection.socket)
            if not await self._respond(request):
                return True

    def _is_revoked(self) -> bool:
        """Tell whether the peer's certificate was revoked after the handshake."""
        identity = self._server.identity
        return identity is not None and self._peer is not None and identity.is_revoked(self._peer)

    async def _read_request(self) -> RequestHead | None:
        """Read the next request head; ``None`` if nobody asks any more.

        Raises:
            ProtocolViolation: What came is no head; where the next one begins is unknown.
        """
        end = head_end(self._buffer)
        is_idle = self._is_proven and not self._buffer
        patience_ns = IDLE_TIMEOUT_NS if is_idle else HEAD_TIMEOUT_NS
        try:
            async with self._server.waits.wait(patience_ns / SECOND) as deadline:
                if is_idle:
                    self._rest(deadline)
                while end is None:
                    if len(self._buffer) >= HEAD_BYTES_MAX:
                        raise ProtocolViolation("request head", "is too long", status=431)
                    received = await self._connection.receive(HEAD_BYTES_MAX)
                    if not received:
                        return None
                    if is_idle and not self._buffer:
                        self._server.caps.work(self._connection.socket)
                        deadline.reschedule(self._loop.time() + HEAD_TIMEOUT_NS / SECOND)
                    self._buffer += received
                    end = head_end(self._buffer)
        except TimeoutError as error:
            if not self._buffer:
                if not self._is_proven and not self._server.waits.is_cut:
                    self._count(RefusalReason.HEAD_LATE)
                return None
            raise ProtocolViolation("request head", "took too long", status=408) from error
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return parse_request_head(head)

    async def _respond(self, request: RequestHead) -> bool:
        """Answer one request; tell whether another may follow."""
        answer = await self._server.answers.find(request, self._peer_name, self._rest)
        self._server.caps.work(self._connection.socket)
        if answer.status in _SENSELESS:
            self._count(RefusalReason.REQUEST)
        self._note_unserved(unserved_reason(request, answer))
        keep_alive = request.keep_alive and not self._server.waits.is_cut
        if self._gives_way:
            keep_alive = False
            answer = replace(answer, fields={**answer.fields, "Retry-After": _AWAY_S})
        if isinstance(answer.body, VersionBody):
            await self._send_version(request, answer, answer.body, keep_alive=keep_alive)
        else:
            await self._send(answer, keep_alive=keep_alive, with_body=request.method == "GET")
        return keep_alive and not self._server.waits.is_cut

    def _rest(self, deadline: asyncio.Timeout) -> None:
        """Be ready to give way to another connection from now on, by ending a wait."""

        def give_way() -> None:
            self._gives_way = True
            if not deadline.expired():
                deadline.reschedule(self._loop.time())

        self._server.caps.rest(self._connection.socket, give_way)

    async def _send_version(
        self, request: RequestHead, answer: Answer, body: VersionBody, *, keep_alive: bool
    ) -> None:
        server, size_bytes = self._server, body.byte_range.size_bytes
        urgency = parse_class(request.fields.get(CLASS.lower()))
        workload = server.workloads[urgency]
        if not workload.admits(size_bytes):
            self._note_unserved(UnservedReason.BUSY)
            await self._send(turn_away(), keep_alive=keep_alive)
            return
        self._connection.mark(urgency)
        head = server.head(answer, keep_alive=keep_alive)
        sending = self._sending(head, body, Flow(urgency, self._peer_name))
        server.sendings.add(sending)
        server.content.sending(body, self._peer_name)
        workload.begin(size_bytes, now=time.monotonic_ns())
        try:
            with server.giving_way.sending(self._connection, urgency):
                await sending.run(server.threads[urgency])
        except (NotFound, StorageError) as error:
            _log.warning("bytes of version %s cannot be served: %s", body.digest, error)
            if isinstance(error, ContentChanged):
                server.content.content_changed(body.digest)
            if sending.has_begun:
                is_changed = isinstance(error, ContentChanged)
                self._note_unserved(
                    UnservedReason.CUT_CHANGED if is_changed else UnservedReason.CUT_FAILED
                )
                raise ConnectionAbortedError("a body that cannot be completed") from error
            answer = refuse(error)
            self._note_unserved(unserved_reason(request, answer))
            await self._send(answer, keep_alive=keep_alive)
        except OSError:
            self._note_unserved(UnservedReason.CUT_BY_RECEIVER)
            raise
        except asyncio.CancelledError:
            self._note_unserved(UnservedReason.CUT_STOPPED)
            raise
        finally:
            server.sendings.discard(sending)
            done_bytes = size_bytes - sending.left_bytes  # coded ones are fewer
            workload.end(size_bytes, done_bytes, now=time.monotonic_ns())
            server.content.bytes_sent(urgency.label, sending.sent_bytes)

    def _sending(self, head: bytes, body: VersionBody, flow: Flow) -> Sending:
        server = self._server
        if not isinstance(body, CodedBody):
            return Sending(
                self._connection,
                head,
                body.version,
                body.byte_range,
                throttle=server.throttle,
                flow=flow,
                drops_sent=server.drops_sent,
            )
        space = body.version.space

        def coder() -> BlockCoder | None:
            if not can_code():
                return None
            from ckptd.net.source.coded_blocks import CodedBlocks, CodedVersion  # noqa: PLC0415

            version = CodedVersion(body.digest, space, body.coders, body.bases)
            return CodedBlocks(version, server.coding)

        return CodedSending(
            self._connection,
            head,
            body.version,
            space=space,
            blocks=body.blocks,
            make_coder=coder,
            shared=server.coding,
            throttle=server.throttle,
            flow=flow,
            drops_sent=server.drops_sent,
        )

    async def _send(self, answer: Answer, *, keep_alive: bool, with_body: bool = True) -> None:
        """Send an answer whose body is in memory."""
        assert not isinstance(answer.body, VersionBody)
        body = memoryview(answer.body if with_body else b"")
        head = self._server.head(answer, keep_alive=keep_alive)
        await self._send_part(head + body[:_PART_BYTES])
        for start in range(_PART_BYTES, len(body), _PART_BYTES):
            await self._send_part(body[start : start + _PART_BYTES])

    async def _send_part(self, part: bytes | memoryview) -> None:
        async with asyncio.timeout(_PART_S):
            await self._connection.send(part)

    def _note_unserved(self, reason: UnservedReason | None) -> None:
        if reason is not None:
            self._server.unserved[reason] += 1

    def _count(self, refusal: RefusalReason) -> None:
        self._server.caps.refusals[refusal] += 1


async def _linger(connection: Connection) -> None:
    """Send no more, and read past what the peer goes on sending."""
    loop = asyncio.get_running_loop()
    left = _LINGER_BYTES_MAX
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            await connection.finish()
            while left > 0:
                received = await loop.sock_recv(connection.socket, left)
                if not received:
                    return
                left -= len(received)
