"""The thread of a lane: takes response heads and bodies off a connection, one after another.

Why a thread: a blocking ``recv_into(…, MSG_WAITALL)`` into a buffer that is hashed and written
by the same thread, while it is in that core's cache, costs the least of all ways that were
measured. The loop sends the requests and ends the thread by shutting the socket down; the
thread alone reads.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from ckptd.core.events import RangeEnded, RangeProgressed, Refusal
from ckptd.errors import CkptdError, ProtocolViolation, StorageError, shortage_of
from ckptd.limits import HEAD_BYTES_MAX, KIB, MS, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Digest, NodeId, TransferId
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.coded_bases import BaseLost, CodedAsk
from ckptd.net.connection.marking import bound_window
from ckptd.net.connection.transports import Connection
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.groups import Groups
from ckptd.net.lane.reports import ReportQueue
from ckptd.net.throttle import Throttles
from ckptd.traffic.buckets import Flow
from ckptd.traffic.coding_choice import REFUSED_NOTE, BodyNote
from ckptd.wire.byte_ranges import ByteRange, parse_content_range
from ckptd.wire.coding_fields import CODERS
from ckptd.wire.fields import (
    LOAD,
    NODE,
    REFUSED,
    parse_load,
    parse_refused,
    parse_retry_after,
    quote_etag,
)
from ckptd.wire.heads import ResponseHead, head_end, parse_response_head

if TYPE_CHECKING:
    from ckptd.net.lane.coded_bodies import CodedBodies

_log = logging.getLogger(__name__)

PROGRESS_INTERVAL_NS: Final = 50 * MS
"""How often progress is reported, and after how long a read returns with what has come."""

REFUSAL_BYTES_MAX: Final = 64 * KIB
"""Longest body of an error response that is read past, so that the lane lives on."""

_OUTCOMES: Final = {
    404: RangeOutcome.NOT_HELD,
    410: RangeOutcome.NOT_HELD,
    429: RangeOutcome.BUSY,
    503: RangeOutcome.BUSY,
}


_UNKNOWN: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED})
"""What who does not know coded blocks answers: targets have no query without them."""


class BlockSink(Protocol):
    """Where blocks go."""

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        """Verify blocks and write the good ones, in the calling thread; may block.

        Args:
            places: Consecutive blocks.
            data: Their bytes, end to end; valid until the call returns.

        Returns:
            The blocks whose digest is wrong.

        Raises:
            StorageError: They cannot be written.
        """


@dataclass(frozen=True, slots=True)
class AskedRange:
    """What a source is asked for.

    Attributes:
        digest: Identity of the version, as the source knows it.
        byte_range: Which bytes of it.
        version_bytes: How long it is.
        blocks: Which of its blocks those are.
    """

    digest: Digest
    byte_range: ByteRange
    version_bytes: int
    blocks: BlockRun

    @classmethod
    def of(cls, digest: Digest, space: AddressSpace, blocks: BlockRun) -> AskedRange:
        """Return what is asked for to get some blocks of a version."""
        start, end = map(space.block_start, blocks)
        return cls(digest, ByteRange(start, end), space.size_bytes, blocks)


@dataclass(frozen=True, slots=True)
class RangeOrder:
    """A range to ask for.

    Attributes:
        transfer: Names it in reports.
        asked: What the source is asked for; these are the blocks.
        blocks: Which blocks, as the sink knows them.
        space: The address space in which the sink knows them.
        urgency: How urgent it is.
        sink: Takes the blocks.
        coded: How it is asked for in fewer bytes; ``None``: as it is.
        note: Learns how it came.
        asked_ns: When it is asked for, by the clock that goes on.
    """

    transfer: TransferId
    asked: AskedRange
    blocks: BlockRun
    space: AddressSpace
    urgency: Urgency
    sink: BlockSink
    coded: CodedAsk | None = None
    note: Callable[[BodyNote], None] | None = None
    asked_ns: int = 0


class _LaneBroken(Exception):
    """The connection is of no more use."""

    def __init__(self, outcome: RangeOutcome, reason: str, refusal: Refusal | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.refusal = refusal


class _CodesNoMore(Exception):
    """The source does not know coded blocks: an older version of it was started meanwhile."""


class Receiver:
    """What a lane's thread runs.

    Attributes:
        has_heard: A first byte came.
        is_turned_away: The source has no place for the lane.
        retry_after_ns: For how long it wants to be left alone then.
        is_given_up: This node ended it; the source may deliver what is left.
        trouble: Why it ended with orders left, unless this node wanted that; else empty.

    Args:
        connection: Read by this thread only.
        source: Who must answer; ``None``: nobody knows.
        orders: Requests that were sent or are about to be, in order. The loop appends, this
            thread takes from the left.
        pool: Memory for bodies.
        reports: Takes progress, and the end of each order that this thread took.
        throttles: Say when bodies may be taken and written.
        peer: What limits call the source.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        connection: Connection,
        source: NodeId | None,
        orders: deque[RangeOrder],
        pool: BufferPool,
        reports: ReportQueue,
        *,
        throttles: Throttles,
        peer: str,
    ) -> None:
        self._throttles = throttles
        self._peer = peer
        self._window_limit: int | None = None
        self._connection = connection
        self._source = source
        self._orders = orders
        self._pool = pool
        self._reports = reports
        self._groups = Groups()
        self._coded_groups = Groups()  # which stay short: what was decoded last is in a cache
        self._order: RangeOrder | None = None
        self._received_bytes = self._next_block = self._load_bytes = self._reported_ns = 0
        self._is_stopping = False
        self._coded: CodedBodies | None = None
        self._coded_bytes = 0
        self._body_end_ns = time.monotonic_ns()
        self.has_heard = self.is_given_up = self.is_turned_away = False
        self.trouble = ""
        self.retry_after_ns = 0
        connection.read_in_intervals(PROGRESS_INTERVAL_NS)
        if orders and throttles.ingress.is_limiting:  # before a first body fills the buffer
            self._bound_window(throttles.ingress.limit_of(Flow(orders[0].urgency, peer)))

    def stop(self) -> None:
        """Make ``run`` return soon, and what it works on end as ``CLOSED``; on the loop."""
        self._is_stopping = True
        self.break_off()

    def break_off(self) -> None:
        """Make ``run`` find the connection broken; on the loop."""
        with suppress(OSError):  # the source was faster
            self._connection.socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Take one response after another until the connection ends."""
        try:
            while self._take_response():
                pass
        except _LaneBroken as broken:
            self._fail(broken.outcome, str(broken), broken.refusal)
        except (BaseLost, _CodesNoMore) as given_up:
            self.is_given_up = True
            self._fail(RangeOutcome.CLOSED, str(given_up))
        except ProtocolViolation as violation:
            self._fail(RangeOutcome.MISBEHAVED, str(violation))
        except Exception as error:  # noqa: BLE001 -- edge: effect → event
            shortage = shortage_of(error)
            if shortage is not None:
                self._fail(RangeOutcome.STORE_FAILED, str(shortage), Refusal.of(shortage))
            elif isinstance(error, OSError):
                self._fail(RangeOutcome.DISCONNECTED, str(error))
            else:
                _log.exception("a lane's thread failed")
                self._fail(RangeOutcome.MISBEHAVED, repr(error))

    def _take_response(self) -> bool:
        """Take one response; tell whether another can follow."""
        self._connection.wait()
        if not self._receive(1, self._connection.peek):
            raise _LaneBroken(RangeOutcome.DISCONNECTED, "the source closed the connection")
        if not self._orders:
            raise _LaneBroken(RangeOutcome.MISBEHAVED, "bytes that nobody asked for")
        order = self._order = self._orders.popleft()
        self._received_bytes = self._load_bytes = 0
        self._next_block = order.blocks.start
        self.has_heard = True
        head = self._take_head()
        if self._source is not None and head.fields.get(NODE.lower()) != self._source:
            raise ProtocolViolation(
                "response", f"is not of {self._source}, whose certificate it is"
            )
        outcome = _OUTCOMES.get(head.status)
        cap = parse_refused(head.fields.get(REFUSED.lower()))
        if outcome is RangeOutcome.BUSY and cap is not None and not head.keep_alive:
            self.is_turned_away, self.trouble = True, f"it {cap.cap}"
            self.retry_after_ns = parse_retry_after(head.fields.get("retry-after")) * SECOND
            self._end(RangeOutcome.TURNED_AWAY, self.retry_after_ns)
            return False
        if outcome is not None:
            busy_s = parse_retry_after(head.fields.get("retry-after"))
            self._end(outcome, busy_s * SECOND if outcome is RangeOutcome.BUSY else 0)
            return self._pass_over(head) and head.keep_alive
        if order.coded is not None and head.status in _UNKNOWN:
            if order.note is not None:
                order.note(REFUSED_NOTE)
            raise _CodesNoMore("it does not know coded blocks")
        _check(order, head)
        self._load_bytes = parse_load(head.fields.get(LOAD.lower()))
        sent_bytes = self._coded_bytes
        self._take_body(order)
        # What waits in buffers comes at once: a body takes from the end of the one before it.
        began_ns = max(self._body_end_ns, order.asked_ns)
        self._body_end_ns = time.monotonic_ns()
        if order.note is not None:
            plain_bytes = order.asked.byte_range.size_bytes
            order.note(
                BodyNote(
                    is_coded=order.coded is not None,
                    is_offered=CODERS.lower() in head.fields,
                    plain_bytes=plain_bytes,
                    sent_bytes=self._coded_bytes - sent_bytes if order.coded else plain_bytes,
                    elapsed_ns=self._body_end_ns - began_ns,
                )
            )
        self._end(RangeOutcome.DELIVERED)
        return head.keep_alive

    def _take_head(self) -> ResponseHead:
        """Take exactly one head off the connection and no byte of what follows it."""
        head = bytearray()
        while len(head) < HEAD_BYTES_MAX:
            seen = self._receive(HEAD_BYTES_MAX - len(head), self._connection.peek)
            if not seen:
                raise _LaneBroken(RangeOutcome.DISCONNECTED, "a head that is cut short")
            end = head_end(head + seen)
            wanted = len(seen) if end is None else end - len(head)
            head += self._receive(wanted, self._connection.take)
            if end is not None:
                is_coded = self._order is not None and self._order.coded is not None
                return parse_response_head(head, in_parts=is_coded)
        raise ProtocolViolation("response head", f"has more than {HEAD_BYTES_MAX} bytes")

    def _take_body(self, order: RangeOrder) -> None:
        try:
            self._take_groups(order)
        finally:
            if self._coded is not None:
                self._coded.let_go()

    def _take_groups(self, order: RangeOrder) -> None:
        groups = self._groups if order.coded is None else self._coded_groups
        for places, size_bytes in groups.of(order.space, order.blocks):
            buffer = self._pool.acquire(size_bytes, unless=lambda: self._is_stopping)
            if buffer is None:
                raise _LaneBroken(RangeOutcome.CLOSED, "closed while waiting for memory")
            try:
                data = buffer[:size_bytes]
                if order.coded is None:
                    began_ns = time.monotonic_ns()
                    self._fill(data)
                    groups.adapt(size_bytes, time.monotonic_ns() - began_ns)
                else:
                    self._take_coded(order.space, places, order.coded, data)
                self._wait_to_write(size_bytes)
                rejected = _deliver(order.sink, places, data)
                if rejected and self._coded is not None:
                    self._coded.check_bases(rejected)
            finally:
                self._pool.release(buffer)
            self._next_block = places[-1].block + 1
            # At once: a commit, for which the next delivery may wait, takes what was reported.
            self._progress(rejected, is_due=True)
            if rejected:  # who sends one wrong block has more of them
                self.is_given_up = True
                raise _LaneBroken(RangeOutcome.SPOILED, f"block {rejected[0]} is wrong")
        if order.coded is not None:
            self._coded_bodies().end()

    def _coded_bodies(self) -> CodedBodies:
        if self._coded is None:
            # Whoever asked for coded blocks has loaded it: see ``loaded_coding``.
            from ckptd.net.lane.coded_bodies import CodedBodies  # noqa: PLC0415

            self._coded = CodedBodies(
                partial(self._some, self._connection.peek),
                partial(self._some, self._connection.take),
                self._fill,
            )
        return self._coded

    def _take_coded(
        self, space: AddressSpace, places: Sequence[BlockPlace], ask: CodedAsk, into: memoryview
    ) -> None:
        """Take blocks; what was received of one counts as it comes, and then all of it."""
        bodies, start = self._coded_bodies(), 0
        for place in places:
            before_bytes, end = self._received_bytes, start + place.size_bytes
            self._coded_bytes += bodies.block(place, space, ask.bases, into[start:end])
            self._received_bytes = before_bytes + place.size_bytes
            start = end

    def _some(self, receive: Callable[[int], bytes], size_bytes: int) -> bytes:
        some = self._receive(size_bytes, receive)
        if not some:
            raise _LaneBroken(RangeOutcome.DISCONNECTED, "a body that is cut short")
        return some

    def _fill(self, data: memoryview) -> None:
        filled = 0
        while filled < len(data):
            part = data[filled : filled + self._groups.size_bytes]
            # Read for each part: limits can change at any time.
            is_limited = self._throttles.ingress.is_limiting
            if is_limited:
                part = part[: self._wait_to_take(len(part))]
            elif self._window_limit is not None:
                self._bound_window(None)
            try:
                count = self._connection.fill(part) if part else -1
            except BlockingIOError:  # the interval passed without a byte
                count = -1
            if is_limited:
                self._throttles.ingress.give_back(self._flow, len(part) - max(count, 0))
            if self._is_stopping:
                raise _LaneBroken(RangeOutcome.CLOSED, "closed in the middle of a body")
            if count == 0:
                raise _LaneBroken(RangeOutcome.DISCONNECTED, "a body that is cut short")
            if count > 0:
                filled += count
                self._received_bytes += count
                self._progress()

    @property
    def _flow(self) -> Flow:
        assert self._order is not None
        return Flow(self._order.urgency, self._peer)

    def _wait_to_take(self, size_bytes: int) -> int:
        """Wait until some of a body may be taken off the connection; return how much.

        Something must have come first: bytes that are granted and not taken would be kept from
        others. 0 if nothing came, or if the lane is being closed.
        """
        ingress = self._throttles.ingress
        self._bound_window(ingress.limit_of(self._flow))
        if not self._connection.wait(PROGRESS_INTERVAL_NS // MS):
            return 0
        return ingress.take(self._flow, size_bytes, unless=self._is_unwanted)

    def _wait_to_write(self, size_bytes: int) -> None:
        """Wait until blocks may be written."""
        disk_write = self._throttles.disk_write
        while size_bytes and disk_write.is_limiting and not self._is_stopping:
            size_bytes -= disk_write.take(self._flow, size_bytes, unless=self._is_unwanted)

    def _is_unwanted(self) -> bool:
        """Report that this node holds the source back; return whether to give up."""
        self._progress(is_due=True, is_held_back=True)
        return self._is_stopping

    def _bound_window(self, rate_bytes_per_s: int | None) -> None:
        if rate_bytes_per_s != self._window_limit:
            bound_window(self._connection.socket, rate_bytes_per_s)
            self._window_limit = rate_bytes_per_s

    def _pass_over(self, head: ResponseHead) -> bool:
        """Read past the body of a refusal; tell whether that was possible."""
        left = head.content_length
        if left is None or left > REFUSAL_BYTES_MAX:
            return False
        while left:
            passed = len(self._receive(left, self._connection.take))
            if not passed:
                return False
            left -= passed
        return True

    def _receive(self, size_bytes: int, receive: Callable[[int], bytes]) -> bytes:
        """Receive up to so many bytes; ``b""`` at the end of the connection."""
        while not self._is_stopping:
            try:
                return receive(size_bytes)
            except BlockingIOError:
                continue
        raise _LaneBroken(RangeOutcome.CLOSED, "closed")

    def _progress(
        self,
        rejected: tuple[int, ...] = (),
        *,
        is_due: bool = False,
        is_held_back: bool = False,
    ) -> None:
        order = self._order
        now_ns = time.monotonic_ns()
        if order is None or not (is_due or now_ns - self._reported_ns >= PROGRESS_INTERVAL_NS):
            return
        self._reported_ns = now_ns
        self._reports.put(
            RangeProgressed(
                order.transfer,
                self._received_bytes,
                self._next_block,
                rejected,
                self._load_bytes,
                is_held_back,
            )
        )

    def _end(
        self, outcome: RangeOutcome, retry_after_ns: int = 0, refusal: Refusal | None = None
    ) -> None:
        """End the order in progress, if there is one."""
        order = self._order
        if order is None:
            return
        if self._received_bytes:
            self._progress(is_due=True)
        self._order = None
        is_coded = outcome is RangeOutcome.DELIVERED and order.coded is not None
        self._reports.put(RangeEnded(order.transfer, outcome, retry_after_ns, refusal, is_coded))

    def _fail(self, outcome: RangeOutcome, reason: str, refusal: Refusal | None = None) -> None:
        if self._is_stopping and refusal is None:
            outcome = RangeOutcome.CLOSED
        is_here = refusal is not None or outcome is RangeOutcome.CLOSED
        if not is_here and (self._order is not None or self._orders):
            self.trouble = reason
        _log.debug("a lane ends: %s: %s", outcome.value, reason)
        self._end(outcome, refusal=refusal)


def _check(order: RangeOrder, head: ResponseHead) -> None:
    """Check that a body is what was asked for, before a byte of it is taken.

    Raises:
        ProtocolViolation: It is not.
    """
    if order.coded is not None:
        if head.status != HTTPStatus.OK or not head.comes_in_parts:
            raise ProtocolViolation("response", f"has the status {head.status}, and no parts")
        return
    asked, version_bytes = order.asked.byte_range, order.asked.version_bytes
    if head.status == HTTPStatus.PARTIAL_CONTENT:
        if parse_content_range(head.fields.get("content-range")) != (asked, version_bytes):
            raise ProtocolViolation("response", "is another range than was asked for")
    elif head.status != HTTPStatus.OK or asked != (0, version_bytes):
        raise ProtocolViolation("response", f"has the status {head.status}")
    if head.content_length != asked.size_bytes:
        raise ProtocolViolation("response", f"announces {head.content_length} bytes")
    etag = quote_etag(order.asked.digest)
    if head.fields.get("etag", etag) != etag:
        raise ProtocolViolation("response", "is of another version")


def _deliver(sink: BlockSink, places: list[BlockPlace], data: memoryview) -> tuple[int, ...]:
    try:
        return sink.deliver(places, data)
    except Exception as error:
        known = error if isinstance(error, CkptdError) else shortage_of(error)
        if not isinstance(known, StorageError):
            _log.exception("blocks could not be delivered")
        known = known or StorageError("staging", repr(error))
        raise _LaneBroken(RangeOutcome.STORE_FAILED, str(known), Refusal.of(known)) from error
