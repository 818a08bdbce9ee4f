"""Says when a faster network to a peer stands unused.

A name that leads to the slow one of two networks costs every recovery its factor, and nothing
else shows it. A peer is asked where else it answers; that is compared with this machine's routes
and with what its interfaces can carry, and nothing that a peer names is dialled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ckptd.control.messages.observation import CheckRow
from ckptd.core.peers.addresses import PeerAddress
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.daemon.host.interface import is_hardware, speed_bytes_per_s
from ckptd.daemon.host.networks import Routes
from ckptd.errors import CkptdError
from ckptd.model.ids import NodeId
from ckptd.model.quantities import format_rate
from ckptd.net.inquiry import Inquirer
from ckptd.wire.shown_addresses import ShownAddress

_FASTER_RATIO: Final = 1.5
"""Less than that is not worth another address."""
_ANSWER_S: Final = 3.0
_ASKED_AT_ONCE: Final = 16


class Networks(NamedTuple):
    """What is known of this machine's networks.

    Attributes:
        routes: Over which interface others are reached.
        speed: Returns what an interface can carry, in bytes a second; ``None``: it does not say.
        is_hardware: Tells whether an interface is more than a name within this machine.
    """

    routes: Routes
    speed: Callable[[str], int | None] = speed_bytes_per_s
    is_hardware: Callable[[str], bool] = is_hardware


class _Way(NamedTuple):
    """An address of a peer, how it is reached from here, and what the interfaces can carry."""

    address: str
    interface: str
    bytes_per_s: int


async def look_at_networks(
    live: Callable[[], Sequence[PeerAddress]], inquirer: Inquirer
) -> AsyncGenerator[CheckRow, None]:
    """Yield what is said of networks that stand unused.

    Args:
        live: Returns the addresses that answer.
        inquirer: Asks them where else they do.
    """
    networks = Networks(await Routes.read())
    shown: dict[NodeId, tuple[ShownAddress, ...]] = {}
    by_node = {peer.holdings.node: peer for peer in live() if peer.holdings is not None}
    asked = list(by_node.items())
    for start in range(0, len(asked), _ASKED_AT_ONCE):
        some = asked[start : start + _ASKED_AT_ONCE]
        async with asyncio.TaskGroup() as tasks:
            answers = {node: tasks.create_task(_ask(peer, inquirer)) for node, peer in some}
        shown.update((node, answer.result()) for node, answer in answers.items())
    for row in await asyncio.to_thread(judge_networks, live(), shown, networks):
        yield row


async def _ask(peer: PeerAddress, inquirer: Inquirer) -> tuple[ShownAddress, ...]:
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await inquirer.addresses(peer.address)
    except (CkptdError, OSError):  # TimeoutError among them
        return ()


def judge_networks(
    live: Sequence[PeerAddress],
    shown: Mapping[NodeId, Sequence[ShownAddress]],
    networks: Networks,
) -> list[CheckRow]:
    """Say which networks stand unused, as far as that is known.

    Args:
        live: The addresses that answer.
        shown: Where each node says that it answers.
        networks: This machine's.
    """
    rows: list[CheckRow] = []
    by_node: dict[NodeId, list[PeerAddress]] = {}
    for peer in live:
        if peer.holdings is not None:
            by_node.setdefault(peer.holdings.node, []).append(peer)
    for node, peers in by_node.items():
        said = {each.host: each for each in shown.get(node, ())}
        used = [_way(*peer.address, said, networks) for peer in peers]
        known = {peer.address[0] for peer in peers}
        unused = (
            _way(each.host, each.port, said, networks)
            for each in said.values()
            if each.host not in known
            and each.bytes_per_s is not None
            and _is_direct(each.host, networks)
        )
        rows += _judge_node(node, used, [way for way in unused if way is not None])
    rows += _judge_interfaces(live, networks)
    return rows or [passed("networks", "peers", "no faster one is known to stand unused")]


def _judge_node(
    node: NodeId, used: Sequence[_Way | None], unused: Sequence[_Way]
) -> list[CheckRow]:
    """Say that a node is reached over a slower network than could be."""
    ways = [way for way in used if way is not None]
    if not unused or len(ways) < len(used):  # of one that is used it is not known how fast it is
        return []
    best, fastest = max(ways, key=_rate), max(unused, key=_rate)
    if fastest.bytes_per_s < _FASTER_RATIO * best.bytes_per_s:
        return []
    return [
        warned(
            "networks",
            node,
            f"is reached at {best.address} over {best.interface} ({format_rate(best.bytes_per_s)}),"
            f" and says that it answers at {fastest.address} as well, which"
            f" {fastest.interface} reaches ({format_rate(fastest.bytes_per_s)})",
            f'If that is so, add "{node}@{fastest.address}" to discovery.peers.',
        )
    ]


def _judge_interfaces(live: Iterable[PeerAddress], networks: Networks) -> list[CheckRow]:
    """Say that a fast interface of this machine leads to no peer."""
    routes = [networks.routes.to(peer.address[0]) for peer in live]
    used = {route.interface for route in routes if route is not None}
    speeds = {name: networks.speed(name) for name in used}
    fastest = max((speed for speed in speeds.values() if speed is not None), default=0)
    if not used or None in routes or None in speeds.values():
        return []
    return [
        warned(
            "networks",
            f"interface {name}",
            f"can carry {format_rate(speed)}, and no peer is reached over it;"
            f" over {', '.join(sorted(used))} it is {format_rate(fastest)}",
            "If peers are on its network too, add their addresses there to discovery.peers.",
        )
        for name in sorted(networks.routes.directly_reached() - used)
        if networks.is_hardware(name)
        and (speed := networks.speed(name)) is not None
        and speed >= _FASTER_RATIO * fastest
    ]


def _way(host: str, port: int, said: Mapping[str, ShownAddress], networks: Networks) -> _Way | None:
    """Return how fast an address can be reached; ``None`` if that is not known."""
    route = networks.routes.to(host)
    own = None if route is None else networks.speed(route.interface)
    theirs = said[host].bytes_per_s if host in said else None
    if route is None or own is None:
        return None
    rate = own if theirs is None else min(own, theirs)
    return _Way(str(ShownAddress(host, port)), route.interface, rate)


def _rate(way: _Way) -> int:
    return way.bytes_per_s


def _is_direct(host: str, networks: Networks) -> bool:
    """Tell whether an address is on one of this machine's own networks, behind no router."""
    route = networks.routes.to(host)
    return route is not None and route.is_direct
