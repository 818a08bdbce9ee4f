"""Which addresses this machine has, and over which of its interfaces others are reached.

Read from the kernel's tables alone: nothing is sent, and no socket is connected.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from ckptd.daemon.host.off_loop import read_start
from ckptd.limits import KIB, MIB

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_TABLE: Final = "/proc/net"
_TABLE_BYTES_MAX: Final = 4 * MIB
"""A router's table is longer, and then a part of it is looked at."""

_SIOCGIFCONF: Final = 0x8912  # <linux/sockios.h>
_IFREQ_BYTES: Final = 40
_ADDRESSES_BYTES_MAX: Final = 64 * KIB

_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200  # <linux/route.h>
_GLOBAL_SCOPE: Final = "00"


class OwnAddress(NamedTuple):
    """An address of this machine.

    Attributes:
        host: The IP address.
        interface: Which interface has it.
    """

    host: str
    interface: str


class Route(NamedTuple):
    """How a part of the network is reached.

    Attributes:
        network: Which part.
        interface: Over which interface.
        is_direct: The hosts are on that interface's own network, behind no router.
        metric: Of two that are as exact the one with the lower metric counts.
    """

    network: _Network
    interface: str
    is_direct: bool
    metric: int = 0


class Routes:
    """The main routing table at one moment.

    Args:
        routes: All of it.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: (-route.network.prefixlen, route.metric))

    @classmethod
    async def read(cls) -> Routes:
        """Read it from the kernel; what cannot be read is left out."""
        ipv4, ipv6 = [await _read_off_loop(table) for table in ("route", "ipv6_route")]
        return cls([*routes_in(ipv4), *ipv6_routes_in(ipv6)])

    def to(self, host: str) -> Route | None:
        """Return the route to an address of another machine; ``None``: there is none."""
        with suppress(ValueError):
            address = ipaddress.ip_address(host)
            if address.is_loopback:
                return None
            return next(
                (
                    route
                    for route in self._routes
                    if route.network.version == address.version and address in route.network
                ),
                None,
            )
        return None

    def directly_reached(self) -> set[str]:
        """Return the interfaces on whose own networks hosts are reached."""
        return {route.interface for route in self._routes if route.is_direct}


def own_addresses() -> list[OwnAddress]:
    """Return the addresses at which others can reach this machine; none of loopback."""
    own = [*_ipv4_addresses(), *ipv6_addresses_in(_read("if_inet6"))]
    return [each for each in own if not ipaddress.ip_address(each.host).is_loopback]


def routes_in(table: str) -> Iterator[Route]:
    """Yield the routes in ``/proc/net/route``."""
    for line in table.splitlines()[1:]:
        with suppress(ValueError, IndexError):
            fields = line.split()
            flags = int(fields[3], 16)
            if flags & _UP and not flags & _REJECT:
                destination, mask = (
                    ipaddress.IPv4Address(int(field, 16).to_bytes(4, "little"))
                    for field in (fields[1], fields[7])
                )
                network = ipaddress.IPv4Network(f"{destination}/{mask}")
                yield Route(network, fields[0], not flags & _GATEWAY, int(fields[6]))


def ipv6_routes_in(table: str) -> Iterator[Route]:
    """Yield the routes in ``/proc/net/ipv6_route``."""
    for line in table.splitlines():
        with suppress(ValueError, IndexError):
            fields = line.split()
            flags = int(fields[8], 16)
            if flags & _UP and not flags & _REJECT and fields[9] != "lo":
                destination = ipaddress.IPv6Address(bytes.fromhex(fields[0]))
                network = ipaddress.IPv6Network(f"{destination}/{int(fields[1], 16)}")
                yield Route(network, fields[9], not flags & _GATEWAY, int(fields[5], 16))


def ipv6_addresses_in(table: str) -> Iterator[OwnAddress]:
    """Yield the addresses of global scope in ``/proc/net/if_inet6``."""
    for line in table.splitlines():
        with suppress(ValueError, IndexError):
            fields = line.split()
            if fields[3] == _GLOBAL_SCOPE:
                address = ipaddress.IPv6Address(bytes.fromhex(fields[0]))
                yield OwnAddress(str(address), fields[5])


def _ipv4_addresses() -> Iterator[OwnAddress]:
    """Yield all IPv4 addresses of interfaces that are up, as ``SIOCGIFCONF`` lists them."""
    room = array("B", bytes(_ADDRESSES_BYTES_MAX))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        place, size_bytes = room.buffer_info()
        request = bytearray(struct.pack("iP", size_bytes, place))
        with suppress(OSError):
            fcntl.ioctl(asking, _SIOCGIFCONF, request)
            used_bytes, _ = struct.unpack("iP", request)
            for start in range(0, used_bytes, _IFREQ_BYTES):
                name = room[start : start + 16].tobytes().split(b"\0")[0]
                host = socket.inet_ntoa(room[start + 20 : start + 24].tobytes())
                yield OwnAddress(host, name.decode(errors="replace").partition(":")[0])


async def _read_off_loop(table: str) -> str:
    with suppress(OSError):
        return (await read_start(f"{_TABLE}/{table}", _TABLE_BYTES_MAX)).decode("ascii", "replace")
    return ""


def _read(table: str) -> str:
    try:
        with open(f"{_TABLE}/{table}", encoding="ascii", errors="replace") as file:
            return file.read(_TABLE_BYTES_MAX)
    except OSError:
        return ""
