"""Whom to follow, what each address said last, and when to ask it again.

A configured entry leads to addresses: one, or all that its name has. Addresses that answer with
one node id in one epoch are paths to one node. A node id is believed while an address that claims
it answers, and is trusted; another address that claims it in another epoch is a conflict, and is
asked at once when a path to the node is lost. What a peer says it holds is kept here, as the base
of the next delta; the scheduler keeps what it believes of that.

The driver asks what :meth:`Following.question` says, hands in the answer or the failure,
carries out what follows from it in its order, and asks again after the pause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost
from ckptd.core.peers import pauses
from ckptd.core.peers.addresses import (
    PeerAddress,
    PeerEntry,
    address_of,
    by_address,
)
from ckptd.core.peers.consequences import (
    AddressLost,
    AskNow,
    Change,
    Consequence,
    DeltaUnfit,
    LookUpNow,
    NextStep,
    PeerFound,
    Question,
)
from ckptd.core.peers.hints import Hints
from ckptd.core.peers.listing import ListedPeer, list_peers
from ckptd.core.peers.open_questions import OpenQuestions
from ckptd.core.peers.paths import PathEnd, Paths
from ckptd.errors import ProtocolViolation
from ckptd.limits import PEERS_MAX, SECOND
from ckptd.model.addresses import Address, format_address
from ckptd.model.holdings import Holdings, HoldingsDelta
from ckptd.model.ids import NodeId, Origin, PathId
from ckptd.model.words import PeerState

FOLLOWED_MAX: Final = 64
"""Peers at which a question is kept open. A thousand nodes that each followed all the others would
hold a million connections, twice what a node accepts; Kraken's tracker hands out 50 peers, of
which 10 are used. What the others hold is known as well, only later."""

_UNFOLLOWED_PAUSE_NS: Final = 15 * SECOND
"""Pause between two questions to one of the others. With a thousand peers some eighty a second."""
SETTLED_AFTER_NS: Final = 5 * SECOND
"""After this time at the latest every address was asked: a peer has three seconds to take a
connection, and nobody waits for the last one to say something, or all of it."""
_HEARD: Final = frozenset({PeerState.LIVE, PeerState.SELF, PeerState.CONFLICT})
"""States in which an address answers."""


class Following:
    """All entries and the addresses that they lead to.

    Args:
        node: This node, which may be in its own list.
        entries: Whom to follow.
        rng: Spreads the pauses, and draws whom to follow.
        is_proven: Certificates prove the node ids; else they are only stated.

    Attributes:
        paths: All paths on which nodes answer.
        hints: Whom to ask back because a question came from there.
        is_distrusted: Tells whether what came from an origin was bad too often to be trusted.
    """

    def __init__(
        self,
        node: NodeId,
        entries: Iterable[PeerEntry],
        rng: Random,
        *,
        is_proven: bool = False,
    ) -> None:
        self._node = node
        self._is_proven = is_proven
        self._rng = rng
        self._entries = {entry.name: entry for entry in entries}
        self._known: dict[Address, PeerAddress] = {}
        self._entries_of: dict[Address, list[PeerEntry]] = {}
        self._shown: set[str] = set()
        self.hints = Hints()
        self.is_distrusted: Callable[[Origin], bool] = lambda _: False
        self._counts: Counter[PeerState] = Counter()
        self._conflicts: dict[Address, PeerAddress] = {}
        self.paths = Paths(self._may_lead_to)
        self._open = OpenQuestions(rng)
        self._listed: tuple[ListedPeer, ...] | None = None
        self._is_late = False
        self._settled: DiscoverySettled | None = None
        self._take("")

    def peers(self) -> tuple[ListedPeer, ...]:
        """Return every peer as people see them, in configured order."""
        if self._listed is None:
            self._listed = list_peers(self._entries.values(), self._known)
        return self._listed

    def entries(self) -> tuple[PeerEntry, ...]:
        """Return every entry."""
        return tuple(self._entries.values())

    def addresses(self) -> tuple[PeerAddress, ...]:
        """Return every address and what is known of it, in configured order."""
        return tuple(self._known.values())

    def is_wanted(self, peer: PeerAddress) -> bool:
        """Return whether an address is still to be asked."""
        return self._known.get(peer.address) is peer

    def end_of(self, path: PathId) -> PathEnd | None:
        """Return where a path leads to; ``None`` unless it is live."""
        return self.paths.end_of(path)

    def settled(self) -> list[Consequence]:
        """Return the event that every address was asked, once that is so.

        It is reported again when all peers answer, and when not all do any more.
        """
        is_early = self._settled is None and not self._is_late
        if is_early and (self._counts[PeerState.UNKNOWN] or self._is_name_unknown()):
            return []
        is_everybody_heard = all(peer.state in _HEARD for peer in self.peers())
        settled = DiscoverySettled(is_everybody_heard=is_everybody_heard)
        if settled == self._settled:
            return []
        self._settled = settled
        return [settled]

    def settle(self) -> list[Consequence]:
        """Do not wait any longer for those that were asked and neither answered nor failed."""
        self._is_late = True
        return self.settled()

    def change(self, entries: Iterable[PeerEntry]) -> Change:
        """Take these entries from now on, and no others; what is known of those stays."""
        known = self._entries
        self._entries = {entry.name: known.get(entry.name, entry) for entry in entries}
        return self._take("it was taken out of the configuration")

    def resolved(self, entry: PeerEntry, addresses: tuple[Address, ...]) -> Change:
        """Take in which addresses a name has."""
        before = (entry.addresses, entry.is_looked_up, entry.last_error)
        live = {address for address, peer in self._known.items() if peer.holdings is not None}
        room = PEERS_MAX - len(self._known) + len(entry.addresses)
        entry.take(addresses[: max(room, 1)], live)
        if (entry.addresses, True, "") == before:
            return Change([], [], [])
        return self._take("its name has that address no more")

    def unresolved(self, entry: PeerEntry, why: str) -> list[Consequence]:
        """Take in that a name could not be looked up; the addresses that it had still count."""
        consequences: list[Consequence] = []
        if not entry.failures and not entry.addresses:
            consequences.append(AddressLost(entry.name, PeerState.UNREACHABLE, why))
        entry.failures += 1
        entry.last_error, entry.is_looked_up = why, True
        self._listed = None
        return consequences + self.settled()

    def look_up_pause_ns(self, entry: PeerEntry) -> int:
        """Return how long to wait before a name is looked up again."""
        dead = sum(each.failures > 0 for each in self._entries.values()) if entry.failures else 0
        pause_ns = pauses.look_up_pause_ns(entry.failures, dead, is_missing=bool(entry.missing))
        return pauses.spread_ns(pause_ns, self._rng)

    def question(self, peer: PeerAddress) -> Question:
        """Return what to ask an address next."""
        is_followed = peer.etag is not None and self._open.has_place(
            peer.address, FOLLOWED_MAX, among=len(self._known)
        )
        wait_ns = pauses.wait_ns(min(len(self._known), FOLLOWED_MAX)) if is_followed else 0
        return Question(peer.etag, wait_ns, is_first=peer.state is PeerState.UNKNOWN)

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
        peer.failures = peer.hint_age = 0
        if peer.state is PeerState.LIVE and peer.last_error:
            peer.last_error, self._listed = "", None
        consequences: list[Consequence] = []
        try:
            holdings = peer.whole(update)
        except ProtocolViolation as violation:
            consequences.append(DeltaUnfit(peer.name, str(violation)))
            holdings = None
        is_strange = holdings is not None and self._is_strange(peer, holdings, consequences)
        if is_strange:
            is_self = peer.state is PeerState.SELF
            pause_ns = pauses.SELF_PAUSE_NS if is_self else pauses.STRANGE_PAUSE_NS
        else:
            pause_ns = pauses.after_answer_ns(min(len(self._known), FOLLOWED_MAX))
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
        pause_ns = pauses.SELF_PAUSE_NS if is_self else pauses.REFUSED_PAUSE_NS
        return self._next(question, self._lose(peer, state, why), pause_ns)

    def failed(self, peer: PeerAddress, question: Question, why: str) -> NextStep:
        """Take in that no answer came, or one that makes no sense."""
        lost = self._lose(peer, PeerState.UNREACHABLE, why)
        pause_ns = pauses.back_off_ns(peer.failures, self._counts[PeerState.UNREACHABLE])
        peer.failures += 1
        self.hints.failed(peer)
        return self._next(question, lost, pause_ns)

    def postponed(self) -> NextStep:
        """Take in that this node is too short of something to ask: that says nothing of a peer."""
        return NextStep([], pauses.spread_ns(pauses.SHORT_PAUSE_NS, self._rng))

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
        peer.last_error, self._listed = why, None
        consequences: list[Consequence] = []
        if peer.holdings is None:
            consequences = self._lose(peer, PeerState.UNREACHABLE, why)
        return self._next(question, consequences, max(pause_ns, pauses.SHORT_PAUSE_NS))

    def ask_claimants(self, node: NodeId) -> list[Consequence]:
        """Ask who else claims an id: a path to it was lost, it was reborn, or sent bad blocks."""
        return [AskNow(each) for each in self._conflicts.values() if each.node == node]

    def _is_name_unknown(self) -> bool:
        """Return whether a name was not looked up yet."""
        return any(not entry.is_looked_up for entry in self._entries.values())

    def _may_lead_to(self, shown: str) -> bool:
        """Return whether an entry leads to an address, or may: ``10.0.0.1:7421``."""
        return shown in self._shown or self._is_name_unknown()

    def _take(self, why: str) -> Change:
        """Follow the addresses that the entries lead to, and no others."""
        entries_of = by_address(self._entries.values())
        wanted = {
            address: address_of(address, entries, self._known.get(address))
            for address, entries in entries_of.items()
        }
        left = [peer for address, peer in self._known.items() if wanted.get(address) is not peer]
        consequences: list[Consequence] = []
        for peer in left:
            consequences += self._lose(peer, PeerState.UNREACHABLE, why, is_followed=False)
            self.paths.forget(peer.address)
        joined = [peer for address, peer in wanted.items() if self._known.get(address) is not peer]
        self._known, self._entries_of = wanted, entries_of
        self._shown = {format_address(*address) for address in wanted}
        self.hints.follow(wanted.values())
        self._counts = Counter(peer.state for peer in wanted.values())
        self._listed = None
        return Change(left, joined, consequences + (self.settled() if why else []))

    def _next(self, question: Question, consequences: list[Consequence], pause_ns: int) -> NextStep:
        has_moved = any(isinstance(each, PeerFound | AddressLost) for each in consequences)
        if question.is_first or has_moved:
            consequences = consequences + self.settled()
        return NextStep(consequences, pauses.spread_ns(pause_ns, self._rng))

    def _is_strange(
        self, peer: PeerAddress, holdings: Holdings, consequences: list[Consequence]
    ) -> bool:
        """Return whether it cannot be a peer of that name that answers; then it is lost."""
        node = holdings.node
        twins = self.paths.twins_of(peer.address, node, holdings.epoch)
        rivals = [self._known[twin] for twin in twins]
        if node == self._node:
            consequences += self._lose(peer, PeerState.SELF, "it is this node itself")
        elif peer.pinned not in {None, node}:
            why = f"it is {node}, not {peer.pinned}"
            consequences += self._lose(peer, PeerState.CONFLICT, why)
        elif rivals and not self._may_take_id(peer, rivals):
            was_path = peer.holdings is not None and peer.holdings.node == node
            why = f"it calls itself {node}, as {rivals[0].name} does"
            consequences += self._lose(peer, PeerState.CONFLICT, why)
            if was_path:  # most likely it was started again, and the other paths do not know yet
                for rival in rivals:
                    rival.etag = None
                    consequences.append(AskNow(rival, is_open_ended=True))
        else:
            for rival in rivals:
                why = f"it calls itself {node}, as {peer.name} does, and sent bad blocks"
                consequences += self._lose(rival, PeerState.CONFLICT, why)
                rival.node = node
            return False
        peer.node = node
        return True

    def _may_take_id(self, peer: PeerAddress, rivals: list[PeerAddress]) -> bool:
        """Return whether an id that is merely stated is taken from who sent bad blocks.

        Else anybody could state it first, and keep everybody from using its owner.
        """
        distrusted = [self.is_distrusted(each.origin) for each in (peer, *rivals)]
        return not self._is_proven and not distrusted[0] and all(distrusted[1:])

    def _believe(
        self, peer: PeerAddress, holdings: Holdings, etag: str, consequences: list[Consequence]
    ) -> None:
        node, before = holdings.node, peer.holdings
        if before is not None and before.node != node:
            why = "another node answers there now"
            consequences += self._lose(peer, PeerState.UNREACHABLE, why)
        if peer.state is not PeerState.LIVE:
            consequences.append(PeerFound(node, peer.name))
        peer.path = self.paths.open(peer.address, node, holdings.epoch)
        peer.node = node
        self._note_state(peer, PeerState.LIVE)
        peer.holdings, peer.etag, peer.last_error = holdings, etag, ""
        origin = Origin(node) if self._is_proven else peer.origin
        arrived = HoldingsArrived(
            node,
            holdings.epoch,
            holdings.holdings,
            peer.path,
            origin,
            holdings.recovering,
            holdings.placed,
        )
        consequences.append(arrived)
        if before is not None and before.epoch != holdings.epoch:
            consequences += self.ask_claimants(node)

    def _lose(
        self, peer: PeerAddress, state: PeerState, why: str, *, is_followed: bool = True
    ) -> list[Consequence]:
        """Stop relying on an address; it is noted once.

        Args:
            peer: The address.
            state: What it is from now on.
            why: The reason.
            is_followed: It goes on being asked.
        """
        consequences: list[Consequence] = []
        lost = peer.holdings
        self._open.leave(peer.address)
        if peer.state is not state:
            consequences.append(AddressLost(peer.name, state, why))
        self._note_state(peer, state)
        peer.holdings, peer.etag, peer.last_error = None, None, why
        if lost is not None:
            peer.path = None
            consequences.append(PeerLost(self.paths.close(peer.address)))
            consequences += self.ask_claimants(lost.node)
            if is_followed:
                named = (each for each in self._entries_of[peer.address] if each.is_name)
                consequences += map(LookUpNow, named)
        return consequences

    def _note_state(self, peer: PeerAddress, state: PeerState) -> None:
        self._counts[peer.state] -= 1
        self._counts[state] += 1
        self._conflicts.pop(peer.address, None)
        if state is PeerState.CONFLICT:
            self._conflicts[peer.address] = peer
        peer.state = state
        self._listed = None
