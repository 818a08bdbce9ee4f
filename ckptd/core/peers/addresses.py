"""Where peers may be: configured entries, the addresses that their names have, what is there."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from ckptd.errors import ProtocolViolation
from ckptd.model.addresses import Address
from ckptd.model.holdings import Holdings, HoldingsDelta, apply_delta
from ckptd.model.ids import NodeId, Origin, PathId
from ckptd.model.words import PeerState


@dataclass(eq=False, slots=True)
class PeerEntry:
    """One configured line, and what its name means.

    Attributes:
        name: As configured: ``HOST:PORT`` or ``NODE@HOST:PORT``.
        address: Host and port; the host may be a name, which must be looked up.
        is_name: It is one.
        pinned: Which node must answer there; ``None``: any.
        addresses: All that the name has, as far as is known: what it had last counts while nobody
            says what it has now.
        missing: Those of them that were not in the last answer.
        last_error: Why its name could not be looked up; empty if it could.
        failures: Look-ups without an answer, in a row.
        is_looked_up: It was tried.
    """

    name: str
    address: Address
    is_name: bool = False
    pinned: NodeId | None = None
    addresses: tuple[Address, ...] = ()
    missing: frozenset[Address] = frozenset()
    last_error: str = ""
    failures: int = 0
    is_looked_up: bool = False

    def take(self, addresses: Sequence[Address], live: Container[Address]) -> None:
        """Take in which addresses its name has.

        One that is not among them any more and still answers counts until the next time: a name
        server may say too little once.

        Args:
            addresses: All of them.
            live: Those at which somebody answers.
        """
        gone = [address for address in self.addresses if address not in addresses]
        kept = [address for address in gone if address in live and address not in self.missing]
        self.addresses, self.missing = (*addresses, *kept), frozenset(kept)
        self.failures, self.last_error, self.is_looked_up = 0, "", True


@dataclass(eq=False, slots=True)
class PeerAddress:
    """One address and what was found there.

    Attributes:
        name: For people: the entry that led to it, and where its name has several addresses,
            which of them.
        address: IP address and port.
        origin: Under what blame is kept for what comes from there, unless the node is proven.
        pinned: Which node must answer there; ``None``: any.
        state: What is known of it.
        holdings: What the node there said last; ``None`` unless it is live.
        etag: Names that answer, for the next question.
        last_error: Why it is not live.
        failures: Questions without an answer, in a row.
        node: Which node answered there last, or claims to.
        path: The path to that node which leads there; ``None`` unless it is live.
        hint_age: 0: it may be asked back when something comes from there; else it was, and so
            many of the questions since then have failed.
    """

    name: str
    address: Address
    origin: Origin
    pinned: NodeId | None = None
    state: PeerState = PeerState.UNKNOWN
    holdings: Holdings | None = None
    etag: str | None = None
    last_error: str = ""
    failures: int = 0
    node: NodeId | None = None
    path: PathId | None = None
    hint_age: int = 0

    def whole(self, update: Holdings | HoldingsDelta | None) -> Holdings | None:
        """Return what it holds by now; ``None`` if nothing changed.

        Raises:
            ProtocolViolation: The update does not fit what was known; it will say everything.
        """
        if not isinstance(update, HoldingsDelta):
            return update
        assert self.holdings is not None, "a delta is only asked for with an entity tag"
        try:
            return apply_delta(self.holdings, update)
        except ProtocolViolation:
            self.etag = None
            raise


def by_address(entries: Iterable[PeerEntry]) -> dict[Address, list[PeerEntry]]:
    """Return which entries lead to each address, in configured order."""
    found: dict[Address, list[PeerEntry]] = {}
    for entry in entries:
        for address in entry.addresses:
            found.setdefault(address, []).append(entry)
    return found


def address_of(
    address: Address, entries: Sequence[PeerEntry], known: PeerAddress | None
) -> PeerAddress:
    """Return an address with what is known of it, unless another node must answer there now.

    Args:
        address: The address.
        entries: Those that lead to it.
        known: What is known of it.
    """
    first = entries[0]
    name = f"{first.name} ({address[0]})" if first.is_name else first.name
    pinned = next((entry.pinned for entry in entries if entry.pinned), None)
    if known is not None and known.pinned == pinned:
        known.name = name
        return known
    is_one_of_several = len(first.addresses) - len(first.missing) > 1
    origin = f"{first.name} at {address[0]}" if is_one_of_several else first.name
    return PeerAddress(name, address, Origin(origin), pinned)
