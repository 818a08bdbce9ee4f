"""Asks peers what they hold, for as long as the daemon lives.

One task for each address asks for holdings and keeps a long poll open, so that a change is known
at once and a death is noticed when the connection breaks. Names are looked up by a task each.
Whom to follow, whom to believe and when to ask again is decided in
:mod:`ckptd.core.peers.following`.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Final

from ckptd.config import parse_peer
from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import Event, HoldingConfirmed
from ckptd.core.peers.addresses import PeerAddress, PeerEntry
from ckptd.core.peers.consequences import (
    AddressLost,
    AskNow,
    Change,
    Consequence,
    DeltaUnfit,
    LookUpNow,
    NextStep,
    PeerFound,
)
from ckptd.core.peers.following import SETTLED_AFTER_NS, Following
from ckptd.core.peers.listing import ListedPeer, one_each
from ckptd.core.peers.paths import PathEnd
from ckptd.daemon.recover.asking_again import ask_again
from ckptd.errors import CkptdError, Shortage
from ckptd.limits import SECOND
from ckptd.model.addresses import Address
from ckptd.model.holdings import Holdings
from ckptd.model.ids import CheckpointName, NodeId, Origin, PathId
from ckptd.model.words import Confirmation, HandshakeFailure, PeerState
from ckptd.net.connection.dialling import numeric_address
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.connection.resolving import Resolver
from ckptd.net.inquiry import Inquirer
from ckptd.net.small_answers import TurnedAway
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauges

PEER_METRICS: Final[Sequence[MetricRow[Sequence[ListedPeer]]]] = (
    gauges(
        "peers",
        "Configured peers by state; a node with several addresses counts once.",
        ("state",),
        lambda peers: Counter(peer.state.value for peer in one_each(peers)),
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

_CONFIRM_TRIES: Final = 5
"""So often a source that has no place for the question whether it stands by blocks is asked again;
then that is no answer."""
_STARTED_AT_ONCE: Final = 8
_START_PAUSE_S: Final = 0.005
"""So many addresses are dialled for the first time in one go, and then nothing for so long: a
thousand in less than a second, and the event loop is late by a millisecond."""
_JUDGED_S: Final = 0.05
"""So soon after an answer about bad blocks it is known what follows from that."""
_LONG_PAUSE_NS: Final = 2 * SECOND
_TICK_S: Final = 0.25
"""Long pauses end together, four times a second: ten dials in a row cost half of ten single ones
in processor time."""

_log = get_logger()


class Peering:
    """All peers.

    Args:
        node: This node, which may be in its own list.
        entries: Whom to ask, as configured.
        inquirer: Asks.
        report: Takes events for the scheduler.
        rng: Spreads the pauses.
        resolver: Looks up names; ``None``: asks the system.

    Attributes:
        on_left: Called with each address that is not to be used any more.
    """

    def __init__(
        self,
        node: NodeId,
        entries: tuple[str, ...],
        inquirer: Inquirer,
        report: Callable[[Event], None],
        rng: Random,
        resolver: Resolver | None = None,
    ) -> None:
        self.on_left: Callable[[Address], None] = lambda _: None
        self._inquirer = inquirer
        self._report = report
        self._resolver = resolver or Resolver()
        self._following = Following(
            node, map(_entry_of, entries), rng, is_proven=inquirer.is_proving
        )
        self._tasks: asyncio.TaskGroup | None = None
        self._asking: dict[PeerAddress, asyncio.Task[None]] = {}
        self._looking_up: dict[PeerEntry, asyncio.Task[None]] = {}
        self._starting: asyncio.Queue[PeerAddress] = asyncio.Queue()
        self._naps: dict[PeerAddress | PeerEntry, asyncio.Future[None]] = {}
        self._open_ended: set[PeerAddress] = set()
        self._hurried: set[PeerAddress] = set()

    def distrust(self, is_distrusted: Callable[[Origin], bool]) -> None:
        """Ask this from now on whether an origin may keep an id that somebody else states, too."""
        self._following.is_distrusted = is_distrusted

    def peers(self) -> tuple[ListedPeer, ...]:
        """Return every peer as people see them, in configured order."""
        return self._following.peers()

    def end_of(self, path: PathId) -> PathEnd | None:
        """Return where a path leads to; ``None`` unless it is live."""
        return self._following.end_of(path)

    def address_of(self, path: PathId) -> str:
        """Return where a path leads to or led: ``10.0.0.1:7421``; empty: not known."""
        return self._following.paths.address_of(path)

    def keep_first(self, node: NodeId, address: str) -> None:
        """Know which address was the first path to a node before this daemon was started."""
        self._following.paths.keep(node, address)

    def said(self) -> dict[NodeId, Holdings]:
        """Return what each live node says it holds; of several paths what it said last."""
        said: dict[NodeId, Holdings] = {}
        for peer in self._following.addresses():
            if peer.holdings is not None:
                node, revision = peer.holdings.node, peer.holdings.revision
                if node not in said or said[node].revision < revision:
                    said[node] = peer.holdings
        return said

    def names(self) -> set[CheckpointName]:
        """Return the checkpoints of which live peers hold something."""
        return {holding.checkpoint for said in self.said().values() for holding in said.holdings}

    def asked_by(self, host: str) -> None:
        """Take note that somebody at an IP address asked this node something.

        A peer that has just started asks at once; so it is found at once.
        """
        for peer in self._following.hints.asked_by(host):
            self._wake(peer)

    async def confirm(self, question: ConfirmHolding) -> HoldingConfirmed:
        """Ask a peer whether it stands by blocks that were bad when they came."""
        source, digest = question.source, question.digest
        end = self.end_of(source)
        if end is None:
            return HoldingConfirmed(source, digest, Confirmation.NO_ANSWER)
        ask = partial(self._inquirer.confirm, end.address, digest, question.blocks)
        try:
            answer = await ask_again(ask, source, tries_max=_CONFIRM_TRIES)
        except TurnedAway:
            return HoldingConfirmed(source, digest, Confirmation.NO_ANSWER)
        asyncio.get_running_loop().call_later(_JUDGED_S, self._ask_claimants, end.node)
        return HoldingConfirmed(source, digest, *answer)

    async def run(self) -> None:
        """Ask all peers until cancelled."""
        self._carry_out(self._following.settled())
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._start_asking())
            self._look_up_names()
            self._begin(self._following.addresses())
            await asyncio.sleep(SETTLED_AFTER_NS / SECOND)
            self._carry_out(self._following.settle())
            await asyncio.get_running_loop().create_future()

    def change(self, entries: tuple[str, ...]) -> None:
        """Follow these entries from now on, and no others; those that stay notice nothing."""
        change = self._following.change(map(_entry_of, entries))
        for entry in set(self._looking_up).difference(self._following.entries()):
            self._looking_up.pop(entry).cancel()
        self._look_up_names()
        self._apply(change)

    def _apply(self, change: Change) -> None:
        for peer in change.left:
            asking = self._asking.pop(peer, None)
            if asking is not None:
                asking.cancel()
        self._begin(change.joined)
        self._carry_out(change.consequences)
        for peer in change.left:
            self.on_left(peer.address)

    def _begin(self, joined: Iterable[PeerAddress]) -> None:
        if self._tasks is not None:  # otherwise ``run`` will
            for peer in joined:
                self._starting.put_nowait(peer)

    def _look_up_names(self) -> None:
        for entry in self._following.entries():
            if entry.is_name and entry not in self._looking_up and self._tasks is not None:
                self._looking_up[entry] = self._tasks.create_task(self._look_up(entry))

    async def _start_asking(self) -> None:
        """Begin to ask addresses, a few at a time: the event loop has other work."""
        assert self._tasks is not None
        while True:
            peer = await self._starting.get()
            if self._following.is_wanted(peer) and peer not in self._asking:
                self._asking[peer] = self._tasks.create_task(self._ask(peer))
            if not len(self._asking) % _STARTED_AT_ONCE:
                await asyncio.sleep(_START_PAUSE_S)

    async def _look_up(self, entry: PeerEntry) -> None:
        while True:
            try:
                found = await self._resolver.addresses_of(*entry.address)
            except OSError as error:
                why = f"{entry.address[0]} cannot be looked up: {error.strerror or error}"
                self._carry_out(self._following.unresolved(entry, why))
            else:
                self._apply(self._following.resolved(entry, found))
            await self._nap(entry, self._following.look_up_pause_ns(entry))

    async def _ask(self, peer: PeerAddress) -> None:
        while True:
            step = await self._ask_once(peer)
            self._carry_out(step.consequences)
            if peer in self._hurried:
                self._hurried.remove(peer)
            else:
                await self._nap(peer, step.pause_ns)

    async def _nap(self, who: PeerAddress | PeerEntry, pause_ns: int) -> None:
        """Wait until it is time to ask again, or until somebody knows that it is worthwhile."""
        loop = asyncio.get_running_loop()
        self._naps[who] = over = loop.create_future()
        end_s = loop.time() + pause_ns / SECOND
        if pause_ns >= _LONG_PAUSE_NS:
            end_s = math.ceil(end_s / _TICK_S) * _TICK_S
        timer = loop.call_at(end_s, _end_nap, over)
        try:
            await over
        finally:
            timer.cancel()
            del self._naps[who]

    def _wake(self, who: PeerAddress | PeerEntry, *, is_open_ended: bool = False) -> None:
        nap = self._naps.get(who)
        if nap is not None:
            _end_nap(nap)
        elif isinstance(who, PeerAddress) and who in self._asking:
            if is_open_ended and who in self._open_ended:
                self._asking.pop(who).cancel()
                self._starting.put_nowait(who)
            elif who not in self._open_ended:
                self._hurried.add(who)

    async def _ask_once(self, peer: PeerAddress) -> NextStep:
        question = self._following.question(peer)
        if question.wait_ns:
            self._open_ended.add(peer)
        try:
            answer = await self._inquirer.holdings(
                peer.address, etag=question.etag, wait_s=question.wait_ns // SECOND
            )
        except HandshakeFailed as failed:
            is_self = failed.failure is HandshakeFailure.SELF
            why = "it is this node itself" if is_self else str(failed)
            return self._following.refused(peer, question, why, is_self=is_self)
        except Shortage:
            return self._following.postponed()
        except TurnedAway as away:
            return self._following.turned_away(peer, question, str(away), away.pause_ns)
        except (CkptdError, OSError) as error:
            return self._following.failed(peer, question, str(error) or type(error).__name__)
        finally:
            self._open_ended.discard(peer)
        step = self._following.answered(peer, question, answer.update, answer.etag)
        return step._replace(pause_ns=max(step.pause_ns, answer.pause_ns))

    def _ask_claimants(self, node: NodeId) -> None:
        """Ask who else states the id of a source of bad blocks: it may be theirs."""
        self._carry_out(self._following.ask_claimants(node))

    def _carry_out(self, consequences: Iterable[Consequence]) -> None:
        for each in consequences:
            match each:
                case PeerFound():
                    _log.info("peer.found", node=each.node, address=each.name)
                case AddressLost():
                    _log.info("peer.lost", address=each.name, state=each.state.value, why=each.why)
                case DeltaUnfit():
                    _log.info("peer.delta_unfit", address=each.name, why=each.why)
                case AskNow():
                    self._wake(each.peer, is_open_ended=each.is_open_ended)
                case LookUpNow():
                    self._wake(each.entry)
                case event:
                    self._report(event)


def _end_nap(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)


def _entry_of(name: str) -> PeerEntry:
    node, configured = parse_peer(name)
    address = (configured.host, configured.port)
    try:
        numeric = numeric_address(*address)
    except OSError:
        return PeerEntry(name, address, is_name=True, pinned=node)
    return PeerEntry(name, address, pinned=node, addresses=(numeric,), is_looked_up=True)
