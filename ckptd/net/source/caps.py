"""Who may stay connected: caps, so that idle connections cannot take every place.

A connection is *unproven* until its first request head was understood. An honest peer proves itself
within milliseconds. It is *idle* while nothing is asked on it, or while a question is only held
open until something changes. Where room is short, the oldest unproven connection of the crowd with
the most of them is cut off, else the one that is idle for longest ends in good order; what is being
answered stays. Whoever finds no place after that is answered why, if not too many are.

With a secure transport the handshake comes before the first head, and it says which node is there.
From then on the node has its share, whatever addresses it comes from, and its address counts no
more: many nodes may be behind one.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ckptd.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    CONNECTIONS_REFUSED_MAX,
    CONNECTIONS_UNPROVEN_MAX,
)
from ckptd.model.ids import NodeId
from ckptd.model.words import RefusalReason

Cut: TypeAlias = Callable[[], object]
"""Ends a connection soon."""

_IDLE_MIN_S: Final = 0.5
"""So long a connection must be idle to give way: the next request may be on its way."""


@dataclass(slots=True)
class _Guest:
    """A connection, and whose share it takes.

    ``crowd`` is the address until it is known which node it is.
    """

    crowd: str
    cut: Cut
    node: NodeId | None = None
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class _Idle:
    since_s: float
    give_way: Cut


class ConnectionCaps:
    """Counts connections and keeps them below the caps; used on the event loop.

    Attributes:
        refusals: How often whoever was turned away, since the start.

    Args:
        connections_max: Most connections at the same time.
        per_address_max: Most of them from one address, but for those of proven nodes.
        per_node_max: Most of them of one node, where certificates say which it is.
        unproven_max: Most of them on which nothing was understood yet.
        refused_max: Most that are turned away with an answer at the same time.
        clock: Seconds that go on.
    """

    def __init__(
        self,
        *,
        connections_max: int = CONNECTIONS_MAX,
        per_address_max: int = CONNECTIONS_PER_ADDRESS_MAX,
        per_node_max: int = CONNECTIONS_PER_ADDRESS_MAX,
        unproven_max: int = CONNECTIONS_UNPROVEN_MAX,
        refused_max: int = CONNECTIONS_REFUSED_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refusals: Counter[RefusalReason] = Counter()
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._per_node_max = per_node_max
        self._unproven_max = unproven_max
        self._refused_max = refused_max
        self._clock = clock
        self._guests: dict[socket.socket, _Guest] = {}
        self._unproven: dict[socket.socket, _Guest] = {}  # oldest first
        self._idle: dict[socket.socket, _Idle] = {}  # idle for longest first
        self._refused: dict[socket.socket, _Guest] = {}
        self._crowds: dict[str, dict[socket.socket, None]] = {}  # unproven by address, oldest first
        self._per_address: Counter[str] = Counter()
        self._per_node: Counter[NodeId] = Counter()

    @property
    def connection_count(self) -> int:
        """Connections that were let in and have not left."""
        return len(self._guests)

    @property
    def unproven_count(self) -> int:
        """Those of them on which nothing was understood yet."""
        return len(self._unproven)

    def enter(self, connection: socket.socket, address: str, cut: Cut) -> bool:
        """Let a connection in if there is room or room can be made.

        Args:
            connection: Names it from here on.
            address: Of the peer, without its port.
            cut: Called when it must make room; it counts as gone from then on.

        Returns:
            Whether it may stay. If not, :meth:`turn_away` may follow.
        """
        while reason := self._obstacle(address):
            crowd = address if reason is RefusalReason.ADDRESS else self._crowd()
            if self._cut_unproven(crowd):
                self.refusals[reason] += 1
            elif not self._give_way(
                None if reason is RefusalReason.CONNECTIONS else address, is_node=False
            ):
                self.refusals[reason] += 1
                return False
        self._guests[connection] = self._unproven[connection] = _Guest(address, cut)
        self._crowds.setdefault(address, {})[connection] = None
        self._per_address[address] += 1
        return True

    def turn_away(self, connection: socket.socket, address: str, cut: Cut) -> RefusalReason | None:
        """Keep a connection for which there is no room until it is answered why.

        Args:
            connection: One that could not enter.
            address: Of the peer.
            cut: Ends it.

        Returns:
            Why it could not; ``None`` if too many are being turned away, so that it gets no answer.
        """
        reason = self._obstacle(address)
        if reason is None or len(self._refused) >= self._refused_max:
            return None
        self._refused[connection] = _Guest(address, cut, refusal=reason)
        return reason

    def refusal_of(self, connection: socket.socket) -> RefusalReason | None:
        """Return why a connection is to be turned away; ``None`` if it is not."""
        guest = self._refused.get(connection)
        return None if guest is None else guest.refusal

    def identify(self, connection: socket.socket, node: NodeId) -> bool:
        """Take note of which node a connection is: its address counts no more.

        Returns:
            Whether it may stay: a node that has its share gets no more, unless another of its
            connections is idle.
        """
        guest = self._guests.get(connection)
        if guest is None:  # it was cut off meanwhile, or is turned away
            return False
        if self._per_node[node] >= self._per_node_max and not self._give_way(node, is_node=True):
            self.refusals[RefusalReason.NODE] += 1
            return False
        self._leave_address(guest)
        guest.node = node
        self._per_node[node] += 1
        return True

    def prove(self, connection: socket.socket) -> None:
        """Take note that something was understood on a connection."""
        guest = self._unproven.pop(connection, None)
        if guest is not None:
            crowd = self._crowds[guest.crowd]
            del crowd[connection]
            if not crowd:
                del self._crowds[guest.crowd]

    def rest(self, connection: socket.socket, give_way: Cut) -> None:
        """Take note that nothing is being answered on a connection.

        Args:
            connection: Which one.
            give_way: Ends it in good order for another one; it counts as gone from then on.
        """
        if connection in self._guests and connection not in self._unproven:
            self._idle.pop(connection, None)
            self._idle[connection] = _Idle(self._clock(), give_way)

    def work(self, connection: socket.socket) -> None:
        """Take note that something is being answered on a connection."""
        self._idle.pop(connection, None)

    def leave(self, connection: socket.socket) -> None:
        """Forget a connection; one that left before is not known any more."""
        self.prove(connection)
        self.work(connection)
        self._refused.pop(connection, None)
        guest = self._guests.pop(connection, None)
        if guest is None:
            return
        if guest.node is None:
            self._leave_address(guest)
        else:
            self._per_node[guest.node] -= 1
            if not self._per_node[guest.node]:
                del self._per_node[guest.node]

    def _obstacle(self, address: str) -> RefusalReason | None:
        """Return for lack of what another connection from an address cannot enter."""
        if self._per_address[address] >= self._per_address_max:
            return RefusalReason.ADDRESS
        if len(self._guests) >= self._connections_max:
            return RefusalReason.CONNECTIONS
        if len(self._unproven) >= self._unproven_max:
            return RefusalReason.UNPROVEN
        return None

    def _leave_address(self, guest: _Guest) -> None:
        self._per_address[guest.crowd] -= 1
        if not self._per_address[guest.crowd]:
            del self._per_address[guest.crowd]

    def _cut_unproven(self, crowd: str) -> bool:
        """Cut the oldest unproven connection of an address off; tell whether there was one."""
        oldest = next(iter(self._crowds.get(crowd, ())), None)
        if oldest is None:
            return False
        self._unproven[oldest].cut()
        self.leave(oldest)
        return True

    def _give_way(self, whose: str | None, *, is_node: bool) -> bool:
        """Let the connection end that is idle for longest; tell whether there was one.

        Args:
            whose: Of an address, or of a node; ``None``: of whoever has most that are idle.
            is_node: Which of them.
        """
        idle_before_s = self._clock() - _IDLE_MIN_S
        ready = [each for each, idle in self._idle.items() if idle.since_s <= idle_before_s]
        owners = [self._owner(each) for each in ready]
        if whose is None:
            owner = max(owners, key=Counter(owners).__getitem__, default=(False, ""))
        else:
            owner = (is_node, whose)
        for connection, its_owner in zip(ready, owners, strict=True):
            if its_owner == owner:
                self.refusals[RefusalReason.IDLE] += 1
                self._idle[connection].give_way()
                self.leave(connection)
                return True
        return False

    def _owner(self, connection: socket.socket) -> tuple[bool, str]:
        guest = self._guests[connection]
        return (False, guest.crowd) if guest.node is None else (True, guest.node)

    def _crowd(self) -> str:
        """Return the address with most unproven connections; ``""`` if there are none."""
        return max(self._crowds, key=lambda address: len(self._crowds[address]), default="")
