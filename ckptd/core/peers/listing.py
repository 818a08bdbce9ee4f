"""Peers as people see them: which addresses of an entry are one of them, and which several.

A name can have several addresses because one node has several, or because it stands for several
nodes. Who answers says which. What is silent beside others that answer is taken for another
address of the same node if there is only one, and for a node of its own if there are several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ckptd.core.peers.addresses import PeerAddress, PeerEntry
from ckptd.model.addresses import Address, format_address
from ckptd.model.holdings import Holdings
from ckptd.model.ids import NodeId, PathId
from ckptd.model.words import PeerState

_NOT_LOOKED_UP: Final = "its name is being looked up"
_SILENT_NAMED_MAX: Final = 4
"""Silent addresses that are named for each peer; a name can have hundreds."""
_ORDER: Final = (
    PeerState.LIVE, PeerState.SELF, PeerState.CONFLICT, PeerState.UNREACHABLE, PeerState.UNKNOWN,
)  # fmt: skip
"""Of a peer's addresses, the first in this order says how it is."""


@dataclass(frozen=True, slots=True)
class ListedPeer:
    """One node behind one entry, or what may be one.

    Attributes:
        name: The entry, as configured; with the address where it stands for several nodes.
        address: Where it answers, or would.
        state: What is known of it.
        holdings: What it said last; ``None`` unless it is live.
        last_error: Why it is not live.
        addresses: All its addresses by this entry, those first that answer; none while the name
            was never looked up.
    """

    name: str
    address: tuple[str, int]
    state: PeerState = PeerState.UNKNOWN
    holdings: Holdings | None = None
    last_error: str = ""
    addresses: tuple[PeerAddress, ...] = ()

    @property
    def node(self) -> NodeId | None:
        """Which node it is, or was when it answered last; else which one must answer there."""
        if self.holdings is not None:
            return self.holdings.node
        if self.state is not PeerState.UNREACHABLE:
            return None
        known = (each.node or each.pinned for each in self.addresses)
        return next(filter(None, known), None)

    @property
    def path(self) -> PathId | None:
        """The path to it which its address is; ``None`` unless it is live."""
        return self.addresses[0].path if self.addresses else None

    @property
    def silent(self) -> str:
        """Which of the addresses of a peer that answers do not, and why; empty if all do."""
        if self.state is not PeerState.LIVE:
            return ""
        silent = [each for each in self.addresses if each.state is PeerState.UNREACHABLE]
        if not silent:
            return ""
        named = [
            f"{format_address(*each.address)} ({each.last_error})"
            for each in silent[:_SILENT_NAMED_MAX]
        ]
        more = len(silent) - len(named)
        rest = f" and {more} more" if more else ""
        return f"no answer at {', '.join(named)}{rest}"


def list_peers(
    entries: Iterable[PeerEntry], known: Mapping[Address, PeerAddress]
) -> tuple[ListedPeer, ...]:
    """Return every peer, in configured order.

    Args:
        entries: All entries.
        known: What was found at each address.
    """
    return tuple(peer for entry in entries for peer in _of_entry(entry, known))


def one_each(peers: Iterable[ListedPeer]) -> list[ListedPeer]:
    """Return each node that answers once, however many entries lead to it, and all others."""
    nodes: set[NodeId] = set()
    found: list[ListedPeer] = []
    for peer in peers:
        if peer.holdings is None:
            found.append(peer)
        elif peer.holdings.node not in nodes:
            nodes.add(peer.holdings.node)
            found.append(peer)
    return found


def _of_entry(entry: PeerEntry, known: Mapping[Address, PeerAddress]) -> list[ListedPeer]:
    found = [known[address] for address in entry.addresses]
    if len(found) == 1:
        return [_listed(entry.name, found)]
    if not found:
        state = PeerState.UNREACHABLE if entry.is_looked_up else PeerState.UNKNOWN
        why = entry.last_error or _NOT_LOOKED_UP
        return [ListedPeer(entry.name, entry.address, state, last_error=why)]
    groups = _groups(entry, found)
    if len(groups) == 1:
        return [_listed(entry.name, groups[0])]
    return [_listed(group[0].name, group) for group in groups]


def _groups(entry: PeerEntry, found: Iterable[PeerAddress]) -> list[list[PeerAddress]]:
    """Return which addresses are one peer."""
    nodes: dict[NodeId, list[PeerAddress]] = {}
    own: list[PeerAddress] = []
    others: list[list[PeerAddress]] = []
    unknown: list[PeerAddress] = []
    for each in found:
        if each.state is PeerState.SELF:
            own.append(each)
        elif each.state is PeerState.CONFLICT:
            others.append([each])
        elif each.node is not None:
            nodes.setdefault(each.node, []).append(each)
        else:
            unknown.append(each)
    groups = [*nodes.values(), *([own] if own else []), *others]
    if not groups or (len(nodes) == len(groups) == 1) or entry.pinned is not None:
        first, *rest = groups or [[]]
        return [[*first, *unknown], *rest]
    return [*groups, *([each] for each in unknown)]


def _listed(name: str, addresses: list[PeerAddress]) -> ListedPeer:
    ordered = sorted(addresses, key=lambda each: _ORDER.index(each.state))
    best = ordered[0]
    return ListedPeer(
        name, best.address, best.state, best.holdings, best.last_error, tuple(ordered)
    )
