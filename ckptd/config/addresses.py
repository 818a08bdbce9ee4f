"""Addresses of listeners and peers, as people write them."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import msgspec

from ckptd.errors import UsageError
from ckptd.model.addresses import format_address
from ckptd.model.ids import NodeId, parse_node_id

_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", re.ASCII)
_PORT: Final = re.compile(r"\d{1,5}", re.ASCII)
_PORT_MAX: Final = 65535


class Address(msgspec.Struct, frozen=True):
    """A host and a port; the host is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


def parse_address(address: str) -> Address:
    """Split ``HOST:PORT``; an IPv6 address stands in brackets, port 0 lets the kernel choose.

    Raises:
        UsageError: Not an address.
    """
    host, colon, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    is_host = _is_ipv6(host) if is_bracketed else _HOST.fullmatch(host) is not None
    if not colon or not is_host or not _PORT.fullmatch(port) or int(port) > _PORT_MAX:
        raise UsageError(
            f"address {address[:80]!r}",
            "is not a host and a port from 0 to 65535",
            "Write HOST:PORT, e.g. 10.0.0.1:7421 or [::1]:7421.",
        )
    return Address(host.lower(), int(port))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_peer(peer: str) -> tuple[NodeId | None, Address]:
    """Split ``NODE@HOST:PORT``, or ``HOST:PORT``, where any node may answer.

    Raises:
        UsageError: Neither.
    """
    node, at, address = peer.rpartition("@")
    return parse_node_id(node) if at else None, parse_address(address)


def is_ip_address(host: str) -> bool:
    """Tell whether a host is an IP address, and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
