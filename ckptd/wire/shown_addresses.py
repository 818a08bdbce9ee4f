"""The addresses at which a node says that it answers, in a header field.

They are for people who look for a faster way to it: nobody dials what a peer names. What makes no
sense is left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ckptd.limits import SHOWN_ADDRESSES_MAX
from ckptd.model.addresses import format_address

_FIELD_CHARACTERS_MAX: Final = 4096
_RATE_MAX: Final = 10**15
_SHOWN: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:.]{2,45})\]|(?P<ipv4>[0-9.]{7,15})):(?P<port>\d{1,5})"
    r"(?:;rate=(?P<rate>\d{1,15}))?",
    re.ASCII,
)
_PORT_MAX: Final = 65535


class ShownAddress(NamedTuple):
    """An address at which a node says that it answers.

    Attributes:
        host: An IP address.
        port: The port.
        bytes_per_s: What its interface there can carry; ``None``: it does not say.
    """

    host: str
    port: int
    bytes_per_s: int | None = None

    def __str__(self) -> str:
        return format_address(self.host, self.port)


def format_addresses(shown: Iterable[ShownAddress]) -> str:
    """Return the value of a ``Ckptd-Addresses`` field."""
    return ", ".join(
        str(each) if each.bytes_per_s is None else f"{each};rate={each.bytes_per_s}"
        for each in list(shown)[:SHOWN_ADDRESSES_MAX]
    )


def parse_addresses(value: str | None) -> tuple[ShownAddress, ...]:
    """Return the addresses in a ``Ckptd-Addresses`` field, each once."""
    shown: dict[tuple[str, int], ShownAddress] = {}
    for item in (value or "")[:_FIELD_CHARACTERS_MAX].split(","):
        match = _SHOWN.fullmatch(item.strip())
        if match is None or not 0 < int(match["port"]) <= _PORT_MAX:
            continue
        try:
            host = str(ipaddress.ip_address(match["ipv6"] or match["ipv4"]))
        except ValueError:
            continue
        rate = None if match["rate"] is None else min(int(match["rate"]), _RATE_MAX) or None
        shown.setdefault((host, int(match["port"])), ShownAddress(host, int(match["port"]), rate))
        if len(shown) == SHOWN_ADDRESSES_MAX:
            break
    return tuple(shown.values())
