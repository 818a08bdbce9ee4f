"""Who may stay connected: caps, so that idle connections cannot take every place.

A connection is *unproven* until its first request head was understood. An honest peer proves itself
within milliseconds. Where room is short, the oldest unproven connection of the address with the
most of them is cut off; connections in use stay.

With a secure transport the handshake comes before the first head, under the same cap; and it says
which node is there, so that one node has only its share, whatever addresses it comes from.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ckptd.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    CONNECTIONS_UNPROVEN_MAX,
)
from ckptd.model.ids import NodeId
from ckptd.model.words import RefusalReason

Cut: TypeAlias = Callable[[], object]
"""Ends a connection soon."""


@dataclass(frozen=True, slots=True)
class _Guest:
    address: str
    cut: Cut


class ConnectionCaps:
    """Counts connections and keeps them below the caps; used on the event loop.

    Attributes:
        refusals: How often whoever was turned away, since the start.

    Args:
        connections_max: Most connections at the same time.
        per_address_max: Most of them from one address.
        per_node_max: Most of them of one node, where certificates say which it is.
        unproven_max: Most of them on which nothing was understood yet.
    """

    def __init__(
        self,
        *,
        connections_max: int = CONNECTIONS_MAX,
        per_address_max: int = CONNECTIONS_PER_ADDRESS_MAX,
        per_node_max: int = CONNECTIONS_PER_ADDRESS_MAX,
        unproven_max: int = CONNECTIONS_UNPROVEN_MAX,
    ) -> None:
        self.refusals: Counter[RefusalReason] = Counter()
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._per_node_max = per_node_max
        self._unproven_max = unproven_max
        self._guests: dict[socket.socket, _Guest] = {}
        self._unproven: dict[socket.socket, _Guest] = {}  # oldest first
        self._crowds: dict[str, dict[socket.socket, None]] = {}  # unproven by address, oldest first
        self._per_address: Counter[str] = Counter()
        self._per_node: Counter[NodeId] = Counter()
        self._nodes: dict[socket.socket, NodeId] = {}

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
            Whether it may stay.
        """
        if self._per_address[address] >= self._per_address_max:
            reason, crowd = RefusalReason.ADDRESS, address
        elif len(self._guests) >= self._connections_max:
            reason, crowd = RefusalReason.CONNECTIONS, self._crowd()
        elif len(self._unproven) >= self._unproven_max:
            reason, crowd = RefusalReason.UNPROVEN, self._crowd()
        else:
            self._guests[connection] = self._unproven[connection] = _Guest(address, cut)
            self._crowds.setdefault(address, {})[connection] = None
            self._per_address[address] += 1
            return True
        self.refusals[reason] += 1
        oldest = next(iter(self._crowds.get(crowd, ())), None)
        if oldest is None:
            return False
        self._unproven[oldest].cut()
        self.leave(oldest)
        return self.enter(connection, address, cut)

    def identify(self, connection: socket.socket, node: NodeId) -> bool:
        """Take note of which node a connection is.

        Returns:
            Whether it may stay: a node that has its share gets no more, and nobody is cut off for
            it, for all of its connections are its own.
        """
        if connection not in self._guests:  # it was cut off meanwhile
            return False
        if self._per_node[node] >= self._per_node_max:
            self.refusals[RefusalReason.NODE] += 1
            return False
        self._nodes[connection] = node
        self._per_node[node] += 1
        return True

    def prove(self, connection: socket.socket) -> None:
        """Take note that something was understood on a connection."""
        guest = self._unproven.pop(connection, None)
        if guest is not None:
            crowd = self._crowds[guest.address]
            del crowd[connection]
            if not crowd:
                del self._crowds[guest.address]

    def leave(self, connection: socket.socket) -> None:
        """Forget a connection; one that left before is not known any more."""
        self.prove(connection)
        guest = self._guests.pop(connection, None)
        node = self._nodes.pop(connection, None)
        if node is not None:
            self._per_node[node] -= 1
            if not self._per_node[node]:
                del self._per_node[node]
        if guest is not None:
            self._per_address[guest.address] -= 1
            if not self._per_address[guest.address]:
                del self._per_address[guest.address]

    def _crowd(self) -> str:
        """Return the address with most unproven connections; ``""`` if there are none."""
        return max(self._crowds, key=lambda address: len(self._crowds[address]), default="")
