"""Lanes: one connection to a source each, with the thread that takes bodies off it.

The event loop connects, sends requests and closes; the thread (:mod:`ckptd.net.lane.receiving`)
reads responses. Several requests may be under way at once; they are answered in order. Every
order that is accepted ends with exactly one ``RangeEnded``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ckptd.core.events import RangeEnded, Refusal, Reporting
from ckptd.errors import Shortage, shortage_of
from ckptd.model.addresses import format_address
from ckptd.model.ids import NodeId
from ckptd.model.words import HandshakeFailure, HandshakeSide, RangeOutcome
from ckptd.net.coded_bases import DECODED
from ckptd.net.connection.dialling import dial
from ckptd.net.connection.handshakes import HandshakeFailed, trouble_of
from ckptd.net.connection.identity import Identity
from ckptd.net.connection.transports import Connection
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.receiving import AskedRange, BlockSink, RangeOrder, Receiver
from ckptd.net.lane.reports import Report, ReportQueue
from ckptd.net.throttle import Throttles
from ckptd.wire.byte_ranges import format_range
from ckptd.wire.coding_fields import BASES, CODERS, format_bases, format_coders
from ckptd.wire.fields import CLASS
from ckptd.wire.heads import request_head
from ckptd.wire.targets import CodedTarget, VersionTarget

__all__ = ["LANE_ORDERS_MAX", "AskedRange", "BlockSink", "RangeOrder", "Report", "SocketLane"]

_log = logging.getLogger(__name__)

LANE_ORDERS_MAX: Final = 8
"""Requests that wait for their response on one lane. Their heads, 5 KiB with four bases each, fit
a socket's send buffer, so that sending them never waits."""


class SocketLane:
    """One connection to a source; made and used on the event loop.

    The owner runs ``run`` as a task of its own. When it returns every order has been reported
    as ended, and what is requested from then on ends at once.

    Args:
        address: IP address and port of the source.
        pool: Memory for bodies.
        report: Called on the loop with progress and ends of orders.
        peer: This node's identity and the node that must answer; ``None``: plaintext, and
            whoever answers.
        throttles: Say when bodies may be taken and written.
        name: What limits call the source.
        note_trouble: Called on the loop with why nothing comes, before the orders end.

    Attributes:
        address: IP address and port of the source.
        name: What limits call the source.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        address: tuple[str, int],
        *,
        pool: BufferPool,
        report: Reporting,
        peer: tuple[Identity, NodeId] | None = None,
        throttles: Throttles | None = None,
        name: str = "",
        note_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.address = address
        self._note_trouble = note_trouble
        self._throttles = throttles or Throttles.create()
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._peer = peer
        self._reports = ReportQueue(self._loop, report)
        self._orders: deque[RangeOrder] = deque()
        self._connecting: asyncio.Timeout | None = None
        self._connection: Connection | None = None
        self._receiver: Receiver | None = None
        self._is_closed = False
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """The connection is gone, or never came to be."""
        return self._is_over

    def request(self, order: RangeOrder) -> None:
        """Ask for a range; before the connection is up it waits for that.

        At most ``LANE_ORDERS_MAX`` orders may wait for their response.
        """
        assert len(self._orders) < LANE_ORDERS_MAX
        self._orders.append(order)
        if self._is_over:
            self._end_orders(RangeOutcome.DISCONNECTED)
        elif self._connection is not None:
            self._send([order])

    def close(self) -> None:
        """Shut the connection down. Every order that has not ended ends as ``CLOSED``."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._receiver is not None:
            self._receiver.stop()  # its thread ends the order in progress, ``run`` the others
            return
        if self._connecting is not None and not self._connecting.expired():
            self._connecting.reschedule(self._loop.time())
        self._end_orders(RangeOutcome.CLOSED)

    def cut(self) -> None:
        """Let the connection end as if the source had closed it."""
        if self._receiver is not None:
            self._receiver.break_off()
        elif self._connecting is not None and not self._connecting.expired():
            self._connecting.reschedule(self._loop.time())

    async def run(self) -> None:
        """Connect and move bodies until the lane is closed or the connection ends."""
        outcome, refusal, pause_ns = RangeOutcome.UNREACHABLE, None, 0
        try:
            if not self._is_closed:
                if self._peer is not None:
                    self._peer[0].handshakes.check_dial(self.address)
                with await self._connect() as connected:
                    connection = await self._secure(connected)
                    outcome = RangeOutcome.DISCONNECTED
                    receiver = await self._receive(connection)
                    if receiver is not None and receiver.is_turned_away:
                        outcome, pause_ns = RangeOutcome.TURNED_AWAY, receiver.retry_after_ns
        except (OSError, Shortage) as error:
            _log.debug("no connection to %s port %d: %s", *self.address, error)
            shortage = shortage_of(error)
            if shortage is not None:
                outcome, refusal = RangeOutcome.STORE_FAILED, Refusal.of(shortage)
            elif not self._is_closed:
                self._note_trouble(trouble_of(error))
        except asyncio.CancelledError:
            self._is_closed = True
            raise
        finally:
            self._connection = self._receiver = None
            self._end_orders(outcome, refusal, pause_ns)
            self._reports.flush()

    async def _connect(self) -> socket.socket:
        """Connect to the source.

        Raises:
            OSError: It does not answer, or not in time.
        """
        try:
            async with asyncio.timeout(None) as self._connecting:  # for ``close``
                return await dial(self.address)
        finally:
            self._connecting = None

    async def _secure(self, connected: socket.socket) -> Connection:
        """Make sure who answers.

        Raises:
            OSError: Somebody else does, or the lane was closed.
        """
        if self._is_closed:  # in the moment in which the connection was up
            raise ConnectionAbortedError("the lane is closed")
        if self._peer is None:
            return Connection(connected)
        identity, source = self._peer
        try:
            async with asyncio.timeout(None) as self._connecting:  # for ``close``
                connection, _ = await identity.connect(connected, self.address, source)
        finally:
            self._connecting = None
        return connection

    async def _receive(self, connection: Connection) -> Receiver | None:
        """Send what waits and let the thread read until it is done; return what read."""
        if self._is_closed:
            return None
        over = asyncio.Event()
        source = None if self._peer is None else self._peer[1]
        receiver = Receiver(
            connection,
            source,
            self._orders,
            self._pool,
            self._reports,
            throttles=self._throttles,
            peer=self.name,
        )
        self._connection, self._receiver = connection, receiver
        self._send(list(self._orders))

        def read() -> None:
            try:
                receiver.run()
            finally:
                self._loop.call_soon_threadsafe(over.set)

        # A daemon thread, because a disk that hangs must not keep the process from ending.
        thread = threading.Thread(target=read, name="lane", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise shortage_of(error, "lane") or error from error
        try:
            await over.wait()
        finally:
            receiver.stop()
            while not over.is_set():  # the thread uses the socket: nothing may close it before
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue  # one is on its way already
            thread.join()
            if receiver.trouble:
                self._note_trouble(receiver.trouble)
            if self._peer is not None and not self._is_closed:
                self._note_whether_refused(self._peer[0], receiver)
            if receiver.is_given_up:
                self._end_orders(RangeOutcome.CLOSED)
        return receiver

    def _note_whether_refused(self, identity: Identity, receiver: Receiver) -> None:
        """Take an end before the first byte as the source's answer to this node's certificate.

        With TLS 1.3 the dialler is through before its certificate is looked at.
        """
        if receiver.has_heard:
            identity.handshakes.forget(self.address)
        else:
            refused = HandshakeFailed(HandshakeFailure.REFUSED, "it closed before it answered")
            self._note_trouble(trouble_of(refused))
            identity.handshakes.note(HandshakeSide.CLIENT, self.address, refused)

    def _send(self, orders: list[RangeOrder]) -> None:
        host, port = self.address
        heads = b"".join(map(self._head, orders))
        assert self._connection is not None
        assert self._receiver is not None
        try:
            if orders:
                self._connection.mark(orders[-1].urgency)
            is_sent = self._connection.send_now(heads)
        except OSError as error:
            _log.debug("no request to %s port %d: %s", host, port, error)
            is_sent = False
        if not is_sent:
            self._receiver.break_off()

    def _head(self, order: RangeOrder) -> bytes:
        asked = order.asked
        fields = {"Host": format_address(*self.address)}
        if order.coded is None:
            fields |= {"Range": format_range(asked.byte_range), CLASS: order.urgency.label}
            return request_head(VersionTarget(asked.digest).path, fields)
        fields |= {CLASS: order.urgency.label, CODERS: format_coders(DECODED)}
        if order.coded.bases:
            fields[BASES] = format_bases([base.digest for base in order.coded.bases])
        return request_head(CodedTarget(asked.digest, asked.blocks).path, fields)

    def _end_orders(
        self, outcome: RangeOutcome, refusal: Refusal | None = None, pause_ns: int = 0
    ) -> None:
        self._is_over = True
        while self._orders:
            transfer = self._orders.popleft().transfer
            if self._is_closed:
                self._reports.put(RangeEnded(transfer, RangeOutcome.CLOSED))
            else:
                self._reports.put(RangeEnded(transfer, outcome, pause_ns, refusal))
