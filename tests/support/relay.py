"""One connection through a proxy: two streams, each from a socket to the other one."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from random import Random
from typing import NamedTuple

from ckptd.limits import KIB, MIB
from tests.support.exchanges import Conversation, Exchange
from tests.support.link_faults import Bucket, Mishap, Plan, Planned, Way

READ_BYTES = 256 * KIB
"""At once: enough for 1 GB/s, and 3 ms at 80 MB/s."""

LINE_BYTES_MAX = 64 * MIB
"""Under way while there is latency: 300 ms at 200 MB/s."""

_NO_LINGER = struct.pack("ii", 1, 0)
"""Closing resets the connection."""

_NOTHING = memoryview(b"")


class Link(NamedTuple):
    """What the connections of one proxy have in common.

    Attributes:
        requests: The way to the daemon.
        replies: The way back.
        plan: What happens to bodies.
        rng: Draws jitter.
        fall_silent: Called with a silence that was planned.
        buffer: Holds what is taken off a socket while it is passed on.
    """

    requests: Way
    replies: Way
    plan: Plan
    rng: Random
    fall_silent: Callable[[Planned], None]
    buffer: memoryview


class Relay:
    """A connection from a peer, and one to the daemon for it; both are non-blocking.

    Attributes:
        link: What it is part of.
        is_cut: Nothing passes any more.
        served_s: When bytes were taken for it last.
    """

    def __init__(
        self, link: Link, near: socket.socket, far: socket.socket, conversation: Conversation
    ) -> None:
        self.link = link
        self.is_cut = False
        self.served_s = 0.0
        self._near = near
        self._far = far
        self._streams = (
            _Stream(self, link.requests, near, far, conversation.request),
            _Stream(self, link.replies, far, near, conversation.response),
        )

    @property
    def is_over(self) -> bool:
        """Nothing of it is left."""
        return self._near.fileno() < 0

    def wanted(self, now: float, moments: list[float]) -> dict[socket.socket, int]:
        """Return the events of the sockets that are waited for.

        Args:
            now: The moment.
            moments: Takes those at which something is due without them.
        """
        if self.is_cut:
            return {self._near: select.POLLIN}
        events = dict.fromkeys((self._near, self._far), 0)
        for stream in self._streams:
            if stream.is_blocked:
                events[stream.sink] |= select.POLLOUT
            if stream.room(now):
                events[stream.source] |= select.POLLIN
            moments += stream.moments()
        return events

    def step(self, ready: set[int]) -> None:
        """Move what can move.

        Args:
            ready: Numbers of the sockets of which something can be expected.
        """
        try:
            if self.is_cut:
                self._pass_over(ready)
                return
            for stream in self._streams:
                if not stream.is_blocked or stream.sink.fileno() in ready:
                    stream.pass_on()
                if stream.source.fileno() in ready and (room := stream.room(time.monotonic())):
                    stream.take(room)
            if all(stream.is_done for stream in self._streams):
                self._close()
        except OSError:
            self.reset()

    def suffer(self, planned: Planned) -> None:
        """Let something happen to this connection, or to the whole link."""
        if planned.mishap is Mishap.RESET:
            self.reset()
        elif planned.mishap is Mishap.TRUNCATION:
            self.is_cut = True
            self._near.shutdown(socket.SHUT_WR)
            self._far.close()
        else:
            self.link.fall_silent(planned)

    def reset(self) -> None:
        """Cut it off, as a host does that knows nothing of it."""
        self.is_cut = True
        for each in (self._near, self._far):
            if each.fileno() >= 0:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._close()

    def _pass_over(self, ready: set[int]) -> None:
        """Read what the peer still asks: closing with bytes unread would reset."""
        if self._near.fileno() in ready and not self._near.recv_into(self.link.buffer):
            self._close()

    def _close(self) -> None:
        self._near.close()
        self._far.close()


class _Stream:
    """One direction. Bytes stand in line while they are under way, are looked at, and leave."""

    def __init__(
        self,
        relay: Relay,
        way: Way,
        source: socket.socket,
        sink: socket.socket,
        read: Callable[[memoryview], tuple[int, Exchange | None]],
    ) -> None:
        self.source = source
        self.sink = sink
        self.is_done = False
        self._relay = relay
        self._link = relay.link
        self._way = way
        rate = way.connection_rate_bytes_per_s
        self._bucket = None if rate is None else Bucket(rate, now=time.monotonic())
        self._read = read
        self._line: deque[tuple[float, memoryview]] = deque()
        self._line_bytes = 0
        self._last_due_s = 0.0
        self._due = _NOTHING
        self._read_bytes = 0  # of what is due, so much belongs to the exchange
        self._exchange: Exchange | None = None
        self._leaving = _NOTHING
        self._is_ended = False
        self._is_broken = False

    @property
    def is_blocked(self) -> bool:
        """The sink has to take something before anything else can leave."""
        return bool(self._leaving) and not self._way.is_silent

    @property
    def _takes_more(self) -> bool:
        way = self._way
        if self._is_ended or way.is_silent:
            return False
        if way.latency_s or way.jitter_s:
            return self._line_bytes < LINE_BYTES_MAX
        return not (self._line or self._due or self._leaving)

    def room(self, now: float) -> int:
        """Return how many bytes may be taken."""
        if not self._takes_more:
            return 0
        return min([READ_BYTES, *(bucket.room(now=now) for bucket in self._buckets())])

    def moments(self) -> list[float]:
        """Return when something can be done though no socket is ready."""
        if self._way.is_silent:
            return []
        moments = [self._line[0][0]] if self._line and not self._leaving else []
        if self._takes_more:
            lacking = [bucket.room_at() for bucket in self._buckets()]
            moments += [room_at_s for room_at_s in lacking if room_at_s is not None]
        return moments

    def _buckets(self) -> list[Bucket]:
        """Return what limits it: that of all connections, and its own."""
        return [bucket for bucket in (self._way.bucket, self._bucket) if bucket is not None]

    def take(self, room: int) -> None:
        """Take bytes off the source, and pass them on if they need not wait."""
        buffer, way = self._link.buffer, self._way
        try:
            count = self.source.recv_into(buffer, room)
        except BlockingIOError:
            return
        except OSError:
            count, self._is_broken = 0, True
        self._is_ended = not count
        self._relay.served_s = time.monotonic()
        for bucket in self._buckets():
            bucket.take(count)
        delay_s = way.latency_s + self._link.rng.random() * way.jitter_s
        if self._line or delay_s:
            self._last_due_s = max(self._last_due_s, time.monotonic() + delay_s)
            self._line.append((self._last_due_s, memoryview(bytearray(buffer[:count]))))
            self._line_bytes += count
        else:
            self._due = buffer[:count]
            self.pass_on()
            # The buffer is for everybody; mostly nothing is left in it.
            self._due = memoryview(bytearray(self._due))
            self._leaving = memoryview(bytes(self._leaving))

    def pass_on(self) -> None:
        """Give the sink what is due, as far as it takes it."""
        now = time.monotonic()
        while not (self._way.is_silent or self._relay.is_cut):
            if self._leaving:
                if not self._send(now):
                    return
            elif self._due:
                self._look()
            elif self._line and self._line[0][0] <= now:
                _, self._due = self._line.popleft()
                self._line_bytes -= len(self._due)
            else:
                self._end()
                return

    def _send(self, now: float) -> bool:
        """Send; tell whether the sink took anything."""
        try:
            count = self.sink.send(self._leaving[: self._way.slice_bytes])
        except BlockingIOError:
            return False
        self._leaving = self._leaving[count:]
        self._way.passed_bytes += count
        if self._exchange is not None:
            self._exchange.body_bytes += count
            self._exchange.heard_s = now
        return True

    def _look(self) -> None:
        """Let bytes leave up to the next mishap, or let that happen."""
        if not self._read_bytes:
            self._read_bytes, self._exchange = self._read(self._due)
        count = self._read_bytes
        exchange = self._exchange
        if exchange is not None and exchange.status == HTTPStatus.PARTIAL_CONTENT:
            count = self._link.plan.let_pass(self._due[:count])
            if not count:
                self._relay.suffer(self._link.plan.take())
        self._leaving, self._due = self._due[:count], self._due[count:]
        self._read_bytes -= count

    def _end(self) -> None:
        """End as the source did, once everything has left."""
        if self._line or not self._is_ended or self.is_done:
            return
        self.is_done = True
        if self._is_broken:
            self._relay.reset()
        else:
            self.sink.shutdown(socket.SHUT_WR)
