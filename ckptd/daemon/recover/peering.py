"""Follows what every peer holds, and knows which address a node answers at.

One task for each configured address asks for holdings and keeps a long poll open, so that a
change is known at once and a death is noticed when the connection breaks. A node id is believed
while the address that claims it answers; a second address that claims it is a conflict.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from ckptd.config import parse_peer
from ckptd.core.events import DiscoverySettled, Event, HoldingsArrived, PeerLost
from ckptd.errors import CkptdError, ProtocolViolation
from ckptd.limits import MS, SECOND
from ckptd.model.holdings import Holdings, HoldingsDelta, apply_delta
from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import Confirmation, HandshakeFailure, PeerState
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.inquiry import Address, HoldingsAnswer, Inquirer
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauges

_WAIT_S: Final = 10
"""How long a peer may hold a question back while nothing changes (RFC 7240, ``wait``)."""

_BACK_OFF_FIRST_NS: Final = 250 * MS
_BACK_OFF_MAX_NS: Final = 3 * SECOND
"""A holder that returns is found again within this."""
_REFUSED_PAUSE_NS: Final = 10 * SECOND
"""Pause after a handshake that failed, half of it at least; it takes a person to change that."""
_PAUSE_MIN_NS: Final = 50 * MS
"""Pause after an answer: a peer that answers everything at once is not asked in a tight loop."""
_ANSWERS_PER_S: Final = 400
"""With so many peers that there would be more answers than this, the pauses are longer. To ask
and to take in an answer costs a third of a millisecond: an eighth of a core, and no more with a
thousand peers that recover."""
FOLLOWED_MAX: Final = 64
"""Peers at which a question is kept open. A thousand nodes that each followed all the others would
hold a million connections, twice what a node accepts; Kraken's tracker hands out 50 peers, of
which 10 are used. What the others hold is known as well, only later."""
_UNFOLLOWED_PAUSE_NS: Final = 15 * SECOND
"""Pause between two questions to one of the others. With a thousand peers some eighty a second."""
_STRANGE_PAUSE_NS: Final = 30 * SECOND
"""Pause after an address turned out to be this node itself, or a second of one name."""

_log = get_logger()


@dataclass(slots=True)
class PeerAddress:
    """One configured address and what was found there.

    Attributes:
        name: As configured: ``HOST:PORT`` or ``NODE@HOST:PORT``.
        address: Host and port.
        pinned: Which node must answer there; ``None``: any.
        state: What is known of it.
        holdings: What the node there said last; ``None`` unless it is live.
        etag: Names that answer, for the next question.
        last_error: Why it is not live.
    """

    name: str
    address: Address
    pinned: NodeId | None = None
    state: PeerState = PeerState.UNKNOWN
    holdings: Holdings | None = None
    etag: str | None = None
    last_error: str = ""


PEER_METRICS: Final[Sequence[MetricRow[Sequence[PeerAddress]]]] = (
    gauges(
        "peers",
        "Configured addresses by state.",
        ("state",),
        lambda peers: Counter(peer.state.value for peer in peers),
        (state.value for state in PeerState),
    ),
)
DISCOVERY_METRICS: Final[Sequence[MetricRow[float]]] = (
    gauges(
        "discovery_last_success_timestamp_seconds",
        "When a provider last led to a peer that answers.",
        ("provider",),
        lambda succeeded_at_s: {"static": succeeded_at_s},
    ),
)


class Peering:
    """All peers.

    Args:
        node: This node, which may be in its own list.
        addresses: Whom to follow.
        inquirer: Asks.
        report: Takes events for the scheduler.
        rng: Spreads the pauses.
    """

    def __init__(
        self,
        node: NodeId,
        addresses: tuple[str, ...],
        inquirer: Inquirer,
        report: Callable[[Event], None],
        rng: Random,
    ) -> None:
        self._node = node
        self._inquirer = inquirer
        self._report = report
        self._rng = rng
        self._peers = {name: _peer_address(name) for name in addresses}
        self._addresses: dict[NodeId, PeerAddress] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._followed: dict[str, None] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def peers(self) -> tuple[PeerAddress, ...]:
        """Return every address and what is known of it, in configured order."""
        return tuple(self._peers.values())

    def address_of(self, node: NodeId) -> Address | None:
        """Return where a live node answers."""
        peer = self._addresses.get(node)
        return None if peer is None else peer.address

    async def confirm(self, node: NodeId, digest: Digest) -> Confirmation:
        """Ask a peer whether it still holds a version, of which it sent a bad block."""
        address = self.address_of(node)
        if address is None:
            return Confirmation.NO_ANSWER
        return await self._inquirer.confirm(address, digest)

    async def run(self) -> None:
        """Follow all peers until cancelled."""
        if not self._peers:
            self._report(DiscoverySettled())
        async with asyncio.TaskGroup() as self._tasks:
            for peer in self._peers.values():
                self._begin(peer)
            await asyncio.get_running_loop().create_future()

    def change(self, addresses: tuple[str, ...]) -> tuple[Address, ...]:
        """Follow these addresses from now on, and no others; those that stay notice nothing.

        Returns:
            Those that were left.
        """
        left = []
        for name in self._peers.keys() - set(addresses):
            peer = self._peers.pop(name)
            left.append(peer.address)
            if name in self._following:
                self._following.pop(name).cancel()
            self._lose(peer, PeerState.UNREACHABLE, "it was taken out of the configuration")
        known = self._peers
        self._peers = {name: known.get(name) or _peer_address(name) for name in addresses}
        for name, peer in self._peers.items():
            if name not in known:
                self._begin(peer)
        self._settle()
        return tuple(left)

    def _begin(self, peer: PeerAddress) -> None:
        if self._tasks is not None:  # otherwise ``run`` will
            self._following[peer.name] = self._tasks.create_task(self._follow(peer))

    @property
    def _pause_ns(self) -> int:
        followed_count = min(len(self._peers), FOLLOWED_MAX)
        return max(_PAUSE_MIN_NS, followed_count * SECOND // _ANSWERS_PER_S)

    async def _follow(self, peer: PeerAddress) -> None:
        failures = 0
        while True:
            is_fresh = peer.state is PeerState.UNKNOWN
            is_known = peer.etag is not None
            is_followed = is_known and self._is_followed(peer)
            try:
                answer = await self._inquirer.holdings(
                    peer.address, etag=peer.etag, wait_s=_WAIT_S if is_followed else 0
                )
            except HandshakeFailed as failed:
                is_self = failed.failure is HandshakeFailure.SELF
                state = PeerState.SELF if is_self else PeerState.UNREACHABLE
                self._lose(peer, state, "it is this node itself" if is_self else str(failed))
                pause_ns = _STRANGE_PAUSE_NS if is_self else _REFUSED_PAUSE_NS
            except (CkptdError, OSError) as error:
                self._lose(peer, PeerState.UNREACHABLE, str(error) or type(error).__name__)
                pause_ns = min(_BACK_OFF_FIRST_NS << min(failures, 10), _BACK_OFF_MAX_NS)
                failures += 1
            else:
                failures = 0
                pause_ns = self._pause_ns if self._believe(peer, answer) else _STRANGE_PAUSE_NS
                if is_known and not is_followed:
                    pause_ns = max(pause_ns, _UNFOLLOWED_PAUSE_NS)
            if is_fresh:
                self._settle()
            await asyncio.sleep(pause_ns * (0.5 + self._rng.random() / 2) / SECOND)

    def _is_followed(self, peer: PeerAddress) -> bool:
        """Tell whether a question may be kept open at a peer, perhaps in place of another one's.

        Places change hands by lot, each about as often as the others are asked: so nobody
        depends for long on whom it happened to meet.
        """
        if peer.name in self._followed or len(self._followed) < FOLLOWED_MAX:
            self._followed[peer.name] = None
            return True
        if self._rng.random() * len(self._peers) >= FOLLOWED_MAX:
            return False
        del self._followed[self._rng.choice(list(self._followed))]
        self._followed[peer.name] = None
        return True

    def _believe(self, peer: PeerAddress, answer: HoldingsAnswer) -> bool:
        """Take over what a peer says, unless it cannot be who it says it is."""
        holdings = self._taken_in(peer, answer)
        if holdings is None:
            return True
        if holdings.node == self._node:
            self._lose(peer, PeerState.SELF, "it is this node itself")
            return False
        if peer.pinned not in {None, holdings.node}:
            why = f"it is {holdings.node}, not {peer.pinned}"
            self._lose(peer, PeerState.CONFLICT, why)
            return False
        owner = self._addresses.get(holdings.node)
        if owner is not None and owner is not peer:
            why = f"it calls itself {holdings.node}, as {owner.name} does"
            self._lose(peer, PeerState.CONFLICT, why)
            return False
        if peer.holdings is not None and peer.holdings.node != holdings.node:
            self._lose(peer, PeerState.UNREACHABLE, "another node answers there now")
        if peer.state is not PeerState.LIVE:
            _log.info("peer.found", node=holdings.node, address=peer.name)
        peer.state, peer.holdings, peer.etag, peer.last_error = (
            PeerState.LIVE,
            holdings,
            answer.etag,
            "",
        )
        self._addresses[holdings.node] = peer
        self._report(HoldingsArrived(holdings.node, holdings.epoch, holdings.holdings))
        return True

    def _taken_in(self, peer: PeerAddress, answer: HoldingsAnswer) -> Holdings | None:
        """Return what a peer holds by now; ``None`` if nothing changed or is to be asked again."""
        if not isinstance(answer.update, HoldingsDelta):
            return answer.update
        assert peer.holdings is not None, "a delta is only asked for with an entity tag"
        try:
            return apply_delta(peer.holdings, answer.update)
        except ProtocolViolation as violation:
            _log.info("peer.delta_unfit", address=peer.name, why=str(violation))
            peer.etag = None  # so it will say everything
            return None

    def _lose(self, peer: PeerAddress, state: PeerState, why: str) -> None:
        """Stop relying on an address; say so once."""
        lost = peer.holdings
        self._followed.pop(peer.name, None)
        if peer.state is not state:
            _log.info("peer.lost", address=peer.name, state=state.value, why=why)
        peer.state, peer.holdings, peer.etag, peer.last_error = state, None, None, why
        if lost is not None:
            del self._addresses[lost.node]
            self._report(PeerLost(lost.node))

    def _settle(self) -> None:
        if all(peer.state is not PeerState.UNKNOWN for peer in self._peers.values()):
            self._report(DiscoverySettled())


def _peer_address(name: str) -> PeerAddress:
    node, address = parse_peer(name)
    return PeerAddress(name, (address.host, address.port), node)
