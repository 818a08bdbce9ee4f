"""The service that answers peers: it listens, serves what is here, and drains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ckptd.config import Address, Config
from ckptd.daemon.host.activation import DATA
from ckptd.daemon.host.descriptors import affordable
from ckptd.daemon.parts import Parts
from ckptd.daemon.serve.advertising import Advertising
from ckptd.daemon.serve.content import ServedContent
from ckptd.daemon.serve.own_addresses import OwnAddresses
from ckptd.daemon.settings.congestion import check_congestion
from ckptd.daemon.settings.reloading import Switch
from ckptd.errors import CkptdError
from ckptd.limits import CONNECTIONS_UNPROVEN_MAX
from ckptd.model.words import UnservedReason
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.congestion import Congestion, PacedSending
from ckptd.net.source.listener import Listener
from ckptd.net.source.server import PeerServer
from ckptd.observe.metrics import MetricRow, counters

_DRAIN_S: Final = 5.0
"""How long a stopping daemon finishes what it serves. Half of what a service manager is promised
(10 s)."""

UNSERVED_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    counters(
        "unserved_requests",
        "Requests of peers that this node refused as a source, or whose body it broke off.",
        ("reason",),
        lambda counts: counts,
        (reason.value for reason in UnservedReason),
    ),
)

CODED_BLOCK_METRICS: Final[Sequence[MetricRow[Mapping[str, int]]]] = (
    counters(
        "coded_blocks",
        "Blocks that were coded for a peer, or sent in the form that another one had got.",
        ("form",),
        lambda counts: counts,
        ("made", "shared"),
    ),
)


class Serving:
    """Answers peers; listens from its making on.

    Args:
        parts: What it is made of.
        stack: Closes what is opened.

    Raises:
        CkptdError: The address cannot be listened on.

    Attributes:
        advertising: What this node says it holds.
        content: What it serves, and how much of it was sent.
        caps: Who may be connected.
        listener: Where peers connect.
    """

    def __init__(self, parts: Parts, stack: AsyncExitStack) -> None:
        config, storage, transport = parts.config, parts.storage, parts.transport
        self.advertising = Advertising(config.node.id, parts.epoch, storage.catalog)
        self.content = ServedContent(
            self.advertising,
            storage.catalog,
            storage.journal,
            storage.shelf,
            storage.attributes,
        )
        connections = affordable(config.listen.connections, one_in=2)
        self.caps = ConnectionCaps(
            connections_max=connections,
            unproven_max=min(CONNECTIONS_UNPROVEN_MAX, max(connections // 2, 1)),
            per_address_max=config.listen.connections_per_address,
            per_node_max=config.listen.connections_per_address,
        )
        self._congestion = Congestion(config.transport.congestion_control)
        self._server = PeerServer(
            self.content,
            node=config.node.id,
            epoch=parts.epoch,
            caps=self.caps,
            identity=transport.identity,
            throttle=transport.throttles.egress,
            drops_sent=config.serving.drop_sent,
            coding_cores=config.serving.coding_cores,
        )
        stack.callback(self._server.close)
        self.listener = (
            Listener.adopt(parts.sockets[DATA], self.caps, self._congestion)
            if DATA in parts.sockets
            else _bind(config.listen.data, self.caps, self._congestion)
        )
        stack.callback(self.listener.close)
        own = OwnAddresses(config.listen.advertise, self.address)
        self.content.show_addresses = own.field

    def connect(self, on_asked: Callable[[str], None]) -> None:
        """Name who learns from which IP addresses this node is asked something."""
        self._server.on_asked = on_asked

    @property
    def unserved(self) -> Mapping[str, int]:
        """How often this node did not give what a peer asked for, by why."""
        return {reason.value: count for reason, count in self._server.unserved.items()}

    @property
    def coded_blocks(self) -> Mapping[str, int]:
        """How many blocks were coded for a peer, and how many sent as another one had got them."""
        forms = self._server.coding.forms
        return {"made": forms.made, "shared": forms.shared}

    @property
    def address(self) -> Address:
        """Where peers are answered."""
        return Address(*self.listener.address)

    @property
    def is_sending(self) -> bool:
        """Bodies are under way."""
        return self._server.load_bytes > 0

    def prepare_congestion(self, _: Config, new: Config) -> Switch:
        """Prepare to send over new connections as the configuration says; may refuse.

        Raises:
            ConfigurationError: This user cannot.
        """
        check_congestion(new)
        return partial(self._congestion.change, new.transport.congestion_control)

    def paced(self) -> tuple[Congestion, PacedSending]:
        """Return with what congestion control is sent, and what its timers paced without need."""
        return self._congestion, self._congestion.paced(self.listener.connections)

    async def run(self) -> None:
        """Answer until cancelled."""
        await self.listener.serve(self._server.serve)

    def refuse_more(self) -> None:
        """Take no more requests."""
        self._server.drain()

    async def drain(self) -> None:
        """Finish what is being served."""
        await self.listener.drain(_DRAIN_S)


def _bind(address: Address, caps: ConnectionCaps, congestion: Congestion) -> Listener:
    try:
        return Listener.bind(address.host, address.port, caps, congestion)
    except OSError as error:
        raise CkptdError(
            f"data listener {address}",
            f"cannot listen: {error.strerror or error}",
            "Choose another listen.data, or stop whoever has it.",
        ) from error
