"""Whom to follow, what each address said last, and when to ask it again.

A node id is believed while the address that claims it answers. A second address that claims it in
the same epoch is another path to the node; in another epoch it is a conflict. What a peer says it
holds is kept here, as the base of the next delta; the scheduler keeps what it believes of that.

The driver asks what :meth:`Following.question` says, hands in the answer or the failure,
carries out what follows from it in its order, and asks again after the pause.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, TypeAlias

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost
from ckptd.core.peers.paths import PathEnd, Paths
from ckptd.errors import ProtocolViolation
from ckptd.limits import MS, SECOND
from ckptd.model.holdings import Holdings, HoldingsDelta, apply_delta
from ckptd.model.ids import NodeId, Origin, PathId
from ckptd.model.words import PeerState

WAIT_NS: Final = 10 * SECOND
"""How long a peer may hold a question back while nothing changes (RFC 7240, ``wait``)."""
FOLLOWED_MAX: Final = 64
"""Peers at which a question is kept open. A thousand nodes that each followed all the others would
hold a million connections, twice what a node accepts; Kraken's tracker hands out 50 peers, of
which 10 are used. What the others hold is known as well, only later."""

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
_UNFOLLOWED_PAUSE_NS: Final = 15 * SECOND
"""Pause between two questions to one of the others. With a thousand peers some eighty a second."""
SETTLED_AFTER_NS: Final = 5 * SECOND
"""After this time at the latest every address was asked: a peer has three seconds to take a
connection, and nobody waits for the last one to say something, or all of it."""
_HEARD: Final = frozenset({PeerState.LIVE, PeerState.SELF, PeerState.CONFLICT})
"""States in which an address answers."""
_SHORT_PAUSE_NS: Final = 1 * SECOND
"""Pause while this node has no descriptor left to ask with."""
_STRANGE_PAUSE_NS: Final = 30 * SECOND
"""Pause after an address turned out to be this node itself, or a second of one name."""


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
        failures: Questions without an answer, in a row.
        path: The path to a node which leads there; ``None`` unless it is live.
    """

    name: str
    address: tuple[str, int]
    pinned: NodeId | None = None
    state: PeerState = PeerState.UNKNOWN
    holdings: Holdings | None = None
    etag: str | None = None
    last_error: str = ""
    failures: int = 0
    path: PathId | None = None


class Question(NamedTuple):
    """What to ask an address.

    Attributes:
        etag: The answer that is known; ``None``: there is none.
        wait_ns: How long the peer may hold the question back; 0: not at all.
        is_first: This address was never asked.
    """

    etag: str | None
    wait_ns: int
    is_first: bool


class PeerFound(NamedTuple):
    """An address answers; for the log."""

    node: NodeId
    name: str


class AddressLost(NamedTuple):
    """An address is not relied on any more; for the log."""

    name: str
    state: PeerState
    why: str


class DeltaUnfit(NamedTuple):
    """A delta did not fit what was known: the next answer says everything; for the log."""

    name: str
    why: str


Consequence: TypeAlias = (
    HoldingsArrived | PeerLost | DiscoverySettled | PeerFound | AddressLost | DeltaUnfit
)
"""An event for the scheduler, or a note for the log."""


class NextStep(NamedTuple):
    """What follows from an answer or its lack.

    Attributes:
        consequences: In the order in which they are to be carried out.
        pause_ns: How long to wait before the next question.
    """

    consequences: list[Consequence]
    pause_ns: int


class Change(NamedTuple):
    """What follows from another list of addresses.

    Attributes:
        left: Those that are not in it any more.
        joined: Those that are new.
        consequences: In the order in which they are to be carried out.
    """

    left: list[PeerAddress]
    joined: list[PeerAddress]
    consequences: list[Consequence]


def back_off_ns(failures: int) -> int:
    """Return the pause after so many failures in a row and one more."""
    return min(_BACK_OFF_FIRST_NS << min(failures, 10), _BACK_OFF_MAX_NS)


def spread_ns(pause_ns: int, rng: Random) -> int:
    """Return a pause between half of this one and all of it: nodes must not ask in step."""
    return int(pause_ns * (0.5 + rng.random() / 2))


class Following:
    """All addresses.

    Args:
        node: This node, which may be in its own list.
        addresses: Whom to ask.
        rng: Spreads the pauses, and draws whom to follow.
        is_proven: Certificates prove the node ids; else they are only stated.
    """

    def __init__(
        self,
        node: NodeId,
        addresses: Iterable[PeerAddress],
        rng: Random,
        *,
        is_proven: bool = False,
    ) -> None:
        self._node = node
        self._is_proven = is_proven
        self._rng = rng
        self._peers = {peer.name: peer for peer in addresses}
        self._paths = Paths(lambda name: name in self._peers)
        self._followed: dict[str, None] = {}
        self._is_late = False
        self._settled: DiscoverySettled | None = None

    def peers(self) -> tuple[PeerAddress, ...]:
        """Return every address and what is known of it, in configured order."""
        return tuple(self._peers.values())

    def end_of(self, path: PathId) -> PathEnd | None:
        """Return where a path leads to; ``None`` unless it is live."""
        return self._paths.end_of(path)

    def address_of(self, path: PathId) -> str:
        """Return where a path leads to or led, as the configuration calls it; empty: not known."""
        return self._paths.address_of(path)

    def keep(self, node: NodeId, name: str) -> None:
        """Know which address was the first path to a node before this daemon was started."""
        self._paths.keep(node, name)

    def settled(self) -> list[Consequence]:
        """Return the event that every address was asked, once that is so.

        It is reported again when all of them answer, and when not all do any more.
        """
        states = {peer.state for peer in self._peers.values()}
        if self._settled is None and PeerState.UNKNOWN in states and not self._is_late:
            return []
        settled = DiscoverySettled(is_everybody_heard=states <= _HEARD)
        if settled == self._settled:
            return []
        self._settled = settled
        return [settled]

    def settle(self) -> list[Consequence]:
        """Do not wait any longer for those that were asked and neither answered nor failed."""
        self._is_late = True
        return self.settled()

    def change(self, addresses: Iterable[PeerAddress]) -> Change:
        """Take these addresses from now on, and no others; what is known of those stays."""
        wanted = {peer.name: peer for peer in addresses}
        left = [peer for name, peer in self._peers.items() if name not in wanted]
        consequences: list[Consequence] = []
        for peer in left:
            why = "it was taken out of the configuration"
            consequences += self._lose(peer, PeerState.UNREACHABLE, why)
            self._paths.forget(peer.name)
        known = self._peers
        self._peers = {name: known.get(name, peer) for name, peer in wanted.items()}
        joined = [peer for name, peer in self._peers.items() if name not in known]
        return Change(left, joined, consequences + self.settled())

    def question(self, peer: PeerAddress) -> Question:
        """Return what to ask an address next."""
        is_followed = peer.etag is not None and self._is_followed(peer)
        return Question(
            peer.etag, WAIT_NS if is_followed else 0, is_first=peer.state is PeerState.UNKNOWN
        )

    def answered(
        self,
        peer: PeerAddress,
        question: Question,
        update: Holdings | HoldingsDelta | None,
        etag: str,
    ) -> NextStep:
        """Take in what an address says, unless it cannot be who it says it is.

        Args:
            peer: The address.
            question: What it was asked.
            update: What it holds, or what of it changed; ``None``: nothing did.
            etag: Names this answer.
        """
        peer.failures = 0
        if peer.state is PeerState.LIVE:
            peer.last_error = ""
        consequences: list[Consequence] = []
        holdings = self._whole(peer, update, consequences)
        is_strange = holdings is not None and self._is_strange(peer, holdings, consequences)
        if is_strange:
            pause_ns = _STRANGE_PAUSE_NS
        else:
            followed_count = min(len(self._peers), FOLLOWED_MAX)
            pause_ns = max(_PAUSE_MIN_NS, followed_count * SECOND // _ANSWERS_PER_S)
            if holdings is not None:
                self._believe(peer, holdings, etag, consequences)
        if question.etag is not None and not question.wait_ns:
            pause_ns = max(pause_ns, _UNFOLLOWED_PAUSE_NS)
        return self._next(question, consequences, pause_ns)

    def refused(
        self, peer: PeerAddress, question: Question, why: str, *, is_self: bool
    ) -> NextStep:
        """Take in that a handshake failed.

        Args:
            peer: The address.
            question: What it was to be asked.
            why: The reason.
            is_self: It is this node that answers there.
        """
        state = PeerState.SELF if is_self else PeerState.UNREACHABLE
        pause_ns = _STRANGE_PAUSE_NS if is_self else _REFUSED_PAUSE_NS
        return self._next(question, self._lose(peer, state, why), pause_ns)

    def failed(self, peer: PeerAddress, question: Question, why: str) -> NextStep:
        """Take in that no answer came, or one that makes no sense."""
        lost = self._lose(peer, PeerState.UNREACHABLE, why)
        pause_ns = back_off_ns(peer.failures)
        peer.failures += 1
        return self._next(question, lost, pause_ns)

    def postponed(self) -> NextStep:
        """Take in that this node is too short of something to ask: that says nothing of a peer."""
        return NextStep([], spread_ns(_SHORT_PAUSE_NS, self._rng))

    def turned_away(
        self, peer: PeerAddress, question: Question, why: str, pause_ns: int
    ) -> NextStep:
        """Take in that a peer has no place for the question: it lives, and what it said stays.

        Args:
            peer: The address.
            question: What it was to be asked.
            why: Which cap is reached, for a person.
            pause_ns: For how long it wants to be left alone.
        """
        peer.last_error = why
        consequences: list[Consequence] = []
        if peer.holdings is None:
            consequences = self._lose(peer, PeerState.UNREACHABLE, why)
        return self._next(question, consequences, max(pause_ns, _SHORT_PAUSE_NS))

    def _next(self, question: Question, consequences: list[Consequence], pause_ns: int) -> NextStep:
        has_moved = any(isinstance(each, PeerFound | AddressLost) for each in consequences)
        if question.is_first or has_moved:
            consequences = consequences + self.settled()
        return NextStep(consequences, spread_ns(pause_ns, self._rng))

    def _is_followed(self, peer: PeerAddress) -> bool:
        """Return whether a question may be kept open at a peer, perhaps in place of another one's.

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

    def _whole(
        self,
        peer: PeerAddress,
        update: Holdings | HoldingsDelta | None,
        consequences: list[Consequence],
    ) -> Holdings | None:
        """Return what a peer holds by now; ``None`` if nothing changed or is to be asked again."""
        if not isinstance(update, HoldingsDelta):
            return update
        assert peer.holdings is not None, "a delta is only asked for with an entity tag"
        try:
            return apply_delta(peer.holdings, update)
        except ProtocolViolation as violation:
            consequences.append(DeltaUnfit(peer.name, str(violation)))
            peer.etag = None  # so it will say everything
            return None

    def _is_strange(
        self, peer: PeerAddress, holdings: Holdings, consequences: list[Consequence]
    ) -> bool:
        """Return whether it cannot be a peer of that name that answers; then it is lost."""
        twin = self._paths.twin_at(peer.name, holdings.node, holdings.epoch)
        if holdings.node == self._node:
            consequences += self._lose(peer, PeerState.SELF, "it is this node itself")
        elif peer.pinned not in {None, holdings.node}:
            why = f"it is {holdings.node}, not {peer.pinned}"
            consequences += self._lose(peer, PeerState.CONFLICT, why)
        elif twin is not None:
            why = f"it calls itself {holdings.node}, as {twin} does"
            consequences += self._lose(peer, PeerState.CONFLICT, why)
        else:
            return False
        return True

    def _believe(
        self, peer: PeerAddress, holdings: Holdings, etag: str, consequences: list[Consequence]
    ) -> None:
        if peer.holdings is not None and peer.holdings.node != holdings.node:
            why = "another node answers there now"
            consequences += self._lose(peer, PeerState.UNREACHABLE, why)
        if peer.state is not PeerState.LIVE:
            consequences.append(PeerFound(holdings.node, peer.name))
        peer.state, peer.holdings, peer.etag, peer.last_error = PeerState.LIVE, holdings, etag, ""
        node, epoch = holdings.node, holdings.epoch
        peer.path = self._paths.open(peer.name, peer.address, node, epoch)
        origin = Origin(node if self._is_proven else peer.name)
        arrived = HoldingsArrived(node, epoch, holdings.holdings, peer.path, origin)
        consequences.append(arrived)

    def _lose(self, peer: PeerAddress, state: PeerState, why: str) -> list[Consequence]:
        """Stop relying on an address; it is noted once."""
        consequences: list[Consequence] = []
        lost = peer.holdings
        self._followed.pop(peer.name, None)
        if peer.state is not state:
            consequences.append(AddressLost(peer.name, state, why))
        peer.state, peer.holdings, peer.etag, peer.last_error = state, None, None, why
        if lost is not None:
            peer.path = None
            consequences.append(PeerLost(self._paths.close(peer.name)))
        return consequences
