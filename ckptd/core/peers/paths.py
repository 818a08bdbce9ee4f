"""Which paths lead to which node, and what they are called.

A node may answer at several addresses, one for each of its network interfaces, say. Each is a path
to it. Called by :mod:`ckptd.core.peers.following`, which knows what the addresses say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ckptd.model.ids import Epoch, NodeId, PathId, further_path_suffix


class PathEnd(NamedTuple):
    """Where a path leads to.

    Attributes:
        node: The node that must answer there.
        address: Host and port.
    """

    node: NodeId
    address: tuple[str, int]


class _Opened(NamedTuple):
    """A path on which a node answers."""

    node: NodeId
    epoch: Epoch
    path: PathId


class Paths:
    """All paths. Addresses go by the names that the configuration gives them.

    The first path to a node has the node's name, and each keeps its name for as long as the
    configuration has its address and no other node answers there: what is known of a path must
    not be taken for that of another one. So an address that had the node's name in an earlier
    life of this daemon gets it again, unless it is not listed any more.

    Args:
        is_listed: Tells whether the configuration has an address.
    """

    def __init__(self, is_listed: Callable[[str], bool]) -> None:
        self._is_listed = is_listed
        self._kept: dict[NodeId, str] = {}
        self._names: dict[str, tuple[NodeId, PathId]] = {}
        self._addresses: dict[PathId, str] = {}
        self._first: dict[NodeId, str] = {}
        self._opened: dict[str, _Opened] = {}
        self._ends: dict[PathId, PathEnd] = {}
        self._by_node: dict[NodeId, set[str]] = {}

    def end_of(self, path: PathId) -> PathEnd | None:
        """Return where a path leads to; ``None`` unless a node answers on it."""
        return self._ends.get(path)

    def twin_at(self, name: str, node: NodeId, epoch: Epoch) -> str | None:
        """Return another address at which a daemon of that name answers in another epoch.

        Two epochs at once are two daemons, of which one has a name that is not its own.
        """
        others = sorted(self._by_node.get(node, set()) - {name})
        return next((other for other in others if self._opened[other].epoch != epoch), None)

    def open(self, name: str, address: tuple[str, int], node: NodeId, epoch: Epoch) -> PathId:
        """Note that a node answers at an address, and return what the path there is called.

        Args:
            name: What the configuration calls the address.
            address: Host and port.
            node: Who answers there. If it was another node until now, that path was closed.
            epoch: Which life of it.
        """
        path = self._name_of(name, node)
        self._opened[name] = _Opened(node, epoch, path)
        self._ends[path] = PathEnd(node, address)
        self._by_node.setdefault(node, set()).add(name)
        return path

    def close(self, name: str) -> PathId:
        """Note that nobody answers at an address any more, and return which path led there."""
        opened = self._opened.pop(name)
        del self._ends[opened.path]
        self._by_node[opened.node].remove(name)
        if not self._by_node[opened.node]:
            del self._by_node[opened.node]
        return opened.path

    def forget(self, name: str) -> None:
        """Forget what the path to an address was called, which nobody answers at."""
        node, path = self._names.pop(name, (None, None))
        if path is not None:
            self._addresses.pop(path, None)
        if node is not None and path == node:
            del self._first[node]

    def keep(self, node: NodeId, name: str) -> None:
        """Know which address had the name of a node in an earlier life of this daemon."""
        self._kept[node] = name

    def address_of(self, path: PathId) -> str:
        """Return where a path leads to or led, as the configuration calls it; empty: not known."""
        return self._addresses.get(path, "")

    def _name_of(self, name: str, node: NodeId) -> PathId:
        known = self._names.get(name)
        if known is not None and known[0] == node:
            return known[1]
        self.forget(name)
        kept = self._kept.get(node, name)
        is_reserved = kept != name and self._is_listed(kept)
        is_first = not is_reserved and self._first.setdefault(node, name) == name
        path = node if is_first else PathId(node + further_path_suffix(name))
        self._names[name] = node, path
        self._addresses[path] = name
        return path
