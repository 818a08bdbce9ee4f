"""A proxy in front of one daemon that does to bytes what networks do to them.

    with fault_proxy(source.data_port) as proxy:
        receiver = cluster.node("r", peers=[proxy.address])
        proxy.replies.rate_bytes_per_s = 16 * MIB
        proxy.after(5 * MIB, Mishap.SILENCE)

One thread carries all connections. Requests and replies each have a way of their own, with a
rate, a latency and a silence. Mishaps are planned in bytes of ranges, all connections together,
so that they hit the middle of bodies and heads stay whole. A silent way does not even bring the
news that a connection was closed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from random import Random

from ckptd.limits import KIB
from tests.support.exchanges import Conversation, Exchange
from tests.support.link_faults import Faults, Mishap, Plan, Planned, Way
from tests.support.relay import READ_BYTES, Link, Relay

HELD_BYTES_PER_S = 128 * KIB
"""So little that minutes pass before a version is there, and enough that no lane is silent."""

SOCKET_BUFFER_BYTES = 512 * KIB
"""Toward the daemon: little of what it sent lies here, as on a short wire."""


class FaultProxy:
    """A proxy for ``127.0.0.1:target_port``.

    Args:
        target_port: Where the daemon listens; it need not yet.
        seed: Of jitter and flips.

    Attributes:
        address: ``HOST:PORT`` of this end.
        requests: The way to the daemon.
        replies: The way back.
        plan: What happens to bytes of ranges.
        exchanges: Every request that came, in order.
        connection_count: How many connections there were.
    """

    def __init__(self, target_port: int, *, seed: int = 0) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._awake, self._waking = socket.socketpair()
        for each in (self._listening, self._awake, self._waking):
            each.setblocking(False)
        self.requests = Way(self._wake)
        self.replies = Way(self._wake)
        self.plan = Plan(Random(seed))
        self.exchanges: list[Exchange] = []
        self.connection_count = 0
        self._link = Link(
            self.requests,
            self.replies,
            self.plan,
            Random(seed),
            self._fall_silent,
            memoryview(bytearray(READ_BYTES)),
        )
        self._lock = threading.RLock()
        self._flap_s: tuple[float, float] | None = None
        self._flap_at_s = 0.0
        self._silent_until_s: float | None = None
        self._relays: list[Relay] = []
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"proxy for {target_port}")
        self._thread.start()

    @property
    def ranges(self) -> list[Exchange]:
        """The requests for bytes of versions."""
        return [exchange for exchange in self.exchanges if exchange.is_of_range]

    def apply(self, faults: Faults) -> None:
        """Be a link with these faults, and no others, from now on."""
        with self._lock:
            self.plan.clear()
            self.plan.flips_per_mib = faults.flips_per_mib
            for planned in faults.mishaps:
                self.plan.add(planned)
            self.replies.latency_s, self.replies.jitter_s = faults.latency_s, faults.jitter_s
            self.replies.slice_bytes = faults.slice_bytes
            self.replies.rate_bytes_per_s = faults.rate_bytes_per_s
            self._flap_s = faults.flap_s
            if faults.flap_s is not None:
                self._flap_at_s = time.monotonic() + faults.flap_s[0]
            self.resume()

    def heal(self) -> None:
        """Have no faults any more, and bring what was held back."""
        self.apply(Faults())

    def hold(self) -> None:
        """Bring hardly anything until it is healed: there is time to look, however slow we are."""
        self.replies.rate_bytes_per_s = HELD_BYTES_PER_S

    def silence(self) -> None:
        """Fall silent in both directions, without closing anything."""
        self.requests.silence()
        self.replies.silence()

    def resume(self) -> None:
        """End a silence."""
        with self._lock:
            self._silent_until_s = None
            self.requests.resume()
            self.replies.resume()

    def after(self, size_bytes: int, mishap: Mishap, *, lasting_s: float | None = None) -> None:
        """Let something happen when so many more bytes of ranges were passed on.

        Args:
            size_bytes: How many.
            mishap: What.
            lasting_s: After so long a silence ends by itself.
        """
        self.plan.add(Planned(size_bytes, mishap, lasting_s))

    def close(self) -> None:
        """Cut all connections and end."""
        self._is_closing = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is about to wake up, or has ended
            self._waking.send(b".")

    def _run(self) -> None:
        try:
            while not self._is_closing:
                now = time.monotonic()
                self._keep_time(now)
                self._turn(now)
        finally:
            for relay in self._relays:
                relay.reset()
            for each in (self._listening, self._awake, self._waking):
                each.close()

    def _fall_silent(self, planned: Planned) -> None:
        with self._lock:
            self.silence()
            if planned.lasting_s is not None:
                self._silent_until_s = time.monotonic() + planned.lasting_s

    def _keep_time(self, now: float) -> None:
        """End what has lasted long enough."""
        with self._lock:
            if self._silent_until_s is not None and now >= self._silent_until_s:
                self.resume()
            if self._flap_s is not None and now >= self._flap_at_s:
                there_s, silent_s = self._flap_s
                if self.replies.is_silent:
                    self._flap_at_s = now + there_s
                    self.resume()
                else:
                    self._flap_at_s = now + silent_s
                    self.silence()

    def _turn(self, now: float) -> None:
        """Wait until something can pass, and pass it on."""
        poll = select.poll()
        poll.register(self._awake, select.POLLIN)
        if not (self.requests.is_silent and self.replies.is_silent):
            poll.register(self._listening, select.POLLIN)
        moments = [self._flap_at_s] if self._flap_s is not None else []
        if self._silent_until_s is not None:
            moments.append(self._silent_until_s)
        for relay in self._relays:
            for each, events in relay.wanted(now, moments).items():
                if events:
                    poll.register(each, events)
        wait_ms = max(min(moments) - time.monotonic(), 0) * 1000 if moments else None
        ready = {number for number, _ in poll.poll(wait_ms)}
        if self._awake.fileno() in ready:
            self._awake.recv(4 * KIB)
        # Whoever waited longest comes first, or one connection would have the whole rate.
        for relay in sorted(self._relays, key=lambda relay: relay.served_s):
            relay.step(ready)
        self._relays = [relay for relay in self._relays if not relay.is_over]
        if self._listening.fileno() in ready:
            self._accept()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            near, _ = self._listening.accept()
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            conversation = Conversation(
                self.connection_count, time.monotonic, self.exchanges.append
            )
            self.connection_count += 1
            relay = Relay(self._link, near, far, conversation)
            try:
                far.connect(self._target)
            except OSError:
                relay.reset()
                return
            for each in (near, far):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._relays.append(relay)


@contextlib.contextmanager
def fault_proxy(
    target_port: int, *, rate_bytes_per_s: float | None = None, seed: int = 0
) -> Iterator[FaultProxy]:
    """Run a proxy; its replies are limited to a rate, if one is given."""
    proxy = FaultProxy(target_port, seed=seed)
    proxy.replies.rate_bytes_per_s = rate_bytes_per_s
    try:
        yield proxy
    finally:
        proxy.close()
