"""Where this node says that it answers: shown to people at its peers, dialled by nobody."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ckptd.config import Address, Advertised
from ckptd.daemon.host.interface import speed_bytes_per_s
from ckptd.daemon.host.networks import OwnAddress, own_addresses
from ckptd.wire.shown_addresses import ShownAddress, format_addresses

_FRESH_S: Final = 30.0
"""Interfaces come and go seldom, and whoever asks more often than this has no reason to."""


class OwnAddresses:
    """What is said, looked up again now and then.

    Args:
        advertised: As configured.
        data: Where the daemon listens for peers.
        find: Returns the addresses of this machine.
        speed: Returns what an interface can carry.
    """

    def __init__(
        self,
        advertised: Advertised,
        data: Address,
        *,
        find: Callable[[], Sequence[OwnAddress]] = own_addresses,
        speed: Callable[[str], int | None] = speed_bytes_per_s,
    ) -> None:
        self._advertised = advertised
        self._data = data
        self._find = find
        self._speed = speed
        self._looking = asyncio.Lock()
        self._field = ""
        self._looked_at_s = float("-inf")

    async def field(self) -> str:
        """Return the value of a ``Ckptd-Addresses`` field."""
        async with self._looking:
            if time.monotonic() - self._looked_at_s >= _FRESH_S:
                self._field = await asyncio.to_thread(self._look)
                self._looked_at_s = time.monotonic()
        return self._field

    def _look(self) -> str:
        if not self._advertised:
            return ""
        own = {each.host: each.interface for each in self._find()}
        return format_addresses(
            ShownAddress(host, port, self._speed(own[host]) if host in own else None)
            for host, port in self._shown(own)
        )

    def _shown(self, own: dict[str, str]) -> Iterator[tuple[str, int]]:
        if self._advertised != "interfaces":
            yield from ((each.host, each.port) for each in self._advertised)
            return
        listening = ipaddress.ip_address(self._data.host)
        for host in own:
            is_same_family = ipaddress.ip_address(host).version == listening.version
            # Who listens on :: is reached by IPv4 as well.
            is_everywhere = listening.is_unspecified and (is_same_family or listening.version == 6)  # noqa: PLR2004
            if is_everywhere or host == self._data.host:
                yield host, self._data.port
