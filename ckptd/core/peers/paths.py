"""Which paths lead to which node, and what they are called.

A node may answer at several addresses, one for each of its network interfaces, say. Each is a path
to it. Called by :mod:`ckptd.core.peers.following`, which knows what the addresses say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ckptd.model.addresses import Address, format_address
from ckptd.model.ids import Epoch, NodeId, PathId, further_path_suffix


class PathEnd(NamedTuple):
    """Where a path leads to.

    Attributes:
        node: The node that must answer there.
        address: IP address and port.
    """

    node: NodeId
    address: Address


class _Opened(NamedTuple):
    """A path on which a node answers."""

    node: NodeId
    epoch: Epoch
    path: PathId


class Paths:
    """All paths.

    The first path to a node has the node's name, and each keeps its name for as long as the
    configuration leads to its address and no other node answers there: what is known of a path
    must not be taken for that of another one. So an address that had the node's name in an earlier
    life of this daemon gets it again, unless nothing leads to it any more.

    Args:
        is_wanted: Tells whether the configuration leads to an address, or may.
    """

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        self._is_wanted = is_wanted
        self._kept: dict[NodeId, str] = {}
        self._names: dict[Address, tuple[NodeId, PathId]] = {}
        self._addresses: dict[PathId, str] = {}
        self._first: dict[NodeId, Address] = {}
        self._opened: dict[Address, _Opened] = {}
        self._ends: dict[PathId, PathEnd] = {}
        self._by_node: dict[NodeId, set[Address]] = {}

    def end_of(self, path: PathId) -> PathEnd | None:
        """Return where a path leads to; ``None`` unless a node answers on it."""
        return self._ends.get(path)

    def twins_of(self, address: Address, node: NodeId, epoch: Epoch) -> list[Address]:
        """Return the other addresses at which a daemon of that name answers in another epoch.

        Two epochs at once are two daemons, of which one has a name that is not its own.
        """
        others = sorted(self._by_node.get(node, set()) - {address})
        return [other for other in others if self._opened[other].epoch != epoch]

    def open(self, address: Address, node: NodeId, epoch: Epoch) -> PathId:
        """Note that a node answers at an address, and return what the path there is called.

        Args:
            address: IP address and port.
            node: Who answers there. If it was another node until now, that path was closed.
            epoch: Which life of it.
        """
        path = self._name_of(address, node)
        self._opened[address] = _Opened(node, epoch, path)
        self._ends[path] = PathEnd(node, address)
        self._by_node.setdefault(node, set()).add(address)
        return path

    def close(self, address: Address) -> PathId:
        """Note that nobody answers at an address any more, and return which path led there."""
        opened = self._opened.pop(address)
        del self._ends[opened.path]
        self._by_node[opened.node].remove(address)
        if not self._by_node[opened.node]:
            del self._by_node[opened.node]
        return opened.path

    def forget(self, address: Address) -> None:
        """Forget what the path to an address was called, which nobody answers at."""
        node, path = self._names.pop(address, (None, None))
        if path is not None:
            self._addresses.pop(path, None)
        if node is not None and path == node:
            del self._first[node]

    def keep(self, node: NodeId, address: str) -> None:
        """Know which address had the name of a node in an earlier life of this daemon."""
        self._kept[node] = address

    def address_of(self, path: PathId) -> str:
        """Return where a path leads to or led: ``10.0.0.1:7421``; empty: not known."""
        return self._addresses.get(path, "")

    def _name_of(self, address: Address, node: NodeId) -> PathId:
        known = self._names.get(address)
        if known is not None and known[0] == node:
            return known[1]
        self.forget(address)
        shown = format_address(*address)
        kept = self._kept.get(node, shown)
        is_reserved = kept != shown and self._is_wanted(kept)
        is_first = not is_reserved and self._first.setdefault(node, address) == address
        path = node if is_first else PathId(node + further_path_suffix(shown))
        self._names[address] = node, path
        self._addresses[path] = shown
        return path
