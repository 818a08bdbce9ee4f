"""Asks peers what they hold, for as long as the daemon lives.

One task for each configured address asks for holdings and keeps a long poll open, so that a
change is known at once and a death is noticed when the connection breaks. Whom to follow, whom to
believe and when to ask again is decided in :mod:`ckptd.core.peers.following`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Final

from ckptd.config import parse_peer
from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import Event, HoldingConfirmed
from ckptd.core.peers.following import (
    SETTLED_AFTER_NS,
    AddressLost,
    Consequence,
    DeltaUnfit,
    Following,
    NextStep,
    PeerAddress,
    PeerFound,
)
from ckptd.core.peers.paths import PathEnd
from ckptd.daemon.host.shortages import outlast
from ckptd.errors import CkptdError, Shortage
from ckptd.limits import SECOND
from ckptd.model.holdings import Holdings
from ckptd.model.ids import NodeId, PathId
from ckptd.model.words import Confirmation, HandshakeFailure, PeerState
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.inquiry import Address, Inquirer
from ckptd.net.small_answers import TurnedAway
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricRow, gauges

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

_CONFIRM_TRIES: Final = 5
"""So often a source that has no place for the question whether it stands by blocks is asked again;
then that is no answer."""

_log = get_logger()


class Peering:
    """All peers.

    Args:
        node: This node, which may be in its own list.
        addresses: Whom to ask.
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
        self._inquirer = inquirer
        self._report = report
        self._following = Following(
            node, map(_peer_address, addresses), rng, is_proven=inquirer.is_proving
        )
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def peers(self) -> tuple[PeerAddress, ...]:
        """Return every address and what is known of it, in configured order."""
        return self._following.peers()

    def end_of(self, path: PathId) -> PathEnd | None:
        """Return where a path leads to; ``None`` unless it is live."""
        return self._following.end_of(path)

    def address_of(self, path: PathId) -> str:
        """Return where a path leads to or led, as the configuration calls it; empty: not known."""
        return self._following.address_of(path)

    def keep_first(self, node: NodeId, name: str) -> None:
        """Know which address was the first path to a node before this daemon was started."""
        self._following.keep(node, name)

    def said(self) -> dict[NodeId, Holdings]:
        """Return what each live node says it holds; of several paths what it said last."""
        said: dict[NodeId, Holdings] = {}
        for peer in self.peers():
            if peer.holdings is not None:
                node, revision = peer.holdings.node, peer.holdings.revision
                if node not in said or said[node].revision < revision:
                    said[node] = peer.holdings
        return said

    async def confirm(self, question: ConfirmHolding) -> HoldingConfirmed:
        """Ask a peer whether it stands by blocks that were bad when they came."""
        source, digest = question.source, question.digest
        end = self.end_of(source)
        if end is None:
            return HoldingConfirmed(source, digest, Confirmation.NO_ANSWER)
        # That this node cannot ask is no answer of the peer's.
        ask = partial(self._inquirer.confirm, end.address, digest, question.blocks)
        for _ in range(_CONFIRM_TRIES):
            try:
                answer = await outlast(ask, f"question to {source}")
                return HoldingConfirmed(source, digest, *answer)
            except TurnedAway as away:
                await asyncio.sleep(away.pause_ns / SECOND)
        return HoldingConfirmed(source, digest, Confirmation.NO_ANSWER)

    async def run(self) -> None:
        """Ask all peers until cancelled."""
        if not self.peers():
            self._carry_out(self._following.settled())
        async with asyncio.TaskGroup() as self._tasks:
            for peer in self.peers():
                self._begin(peer)
            await asyncio.sleep(SETTLED_AFTER_NS / SECOND)
            self._carry_out(self._following.settle())
            await asyncio.get_running_loop().create_future()

    def change(self, addresses: tuple[str, ...]) -> tuple[Address, ...]:
        """Ask these addresses from now on, and no others; those that stay notice nothing.

        Returns:
            Those that were left.
        """
        change = self._following.change(map(_peer_address, addresses))
        for peer in change.left:
            if peer.name in self._asking:
                self._asking.pop(peer.name).cancel()
        for peer in change.joined:
            self._begin(peer)
        self._carry_out(change.consequences)
        return tuple(peer.address for peer in change.left)

    def _begin(self, peer: PeerAddress) -> None:
        if self._tasks is not None:  # otherwise ``run`` will
            self._asking[peer.name] = self._tasks.create_task(self._ask(peer))

    async def _ask(self, peer: PeerAddress) -> None:
        while True:
            step = await self._ask_once(peer)
            self._carry_out(step.consequences)
            await asyncio.sleep(step.pause_ns / SECOND)

    async def _ask_once(self, peer: PeerAddress) -> NextStep:
        question = self._following.question(peer)
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
        step = self._following.answered(peer, question, answer.update, answer.etag)
        return step._replace(pause_ns=max(step.pause_ns, answer.pause_ns))

    def _carry_out(self, consequences: Iterable[Consequence]) -> None:
        for each in consequences:
            match each:
                case PeerFound():
                    _log.info("peer.found", node=each.node, address=each.name)
                case AddressLost():
                    _log.info("peer.lost", address=each.name, state=each.state.value, why=each.why)
                case DeltaUnfit():
                    _log.info("peer.delta_unfit", address=each.name, why=each.why)
                case event:
                    self._report(event)


def _peer_address(name: str) -> PeerAddress:
    node, address = parse_peer(name)
    return PeerAddress(name, (address.host, address.port), node)
