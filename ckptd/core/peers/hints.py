"""Whom to ask back because a question came from there: perhaps a peer that has just started.

Only configured addresses are asked back, each once between two questions that are due anyway:
whoever asks a thousand times makes this node dial twice as often at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptd.core.peers.addresses import PeerAddress
from ckptd.model.words import PeerState

_ASKED_BACK_MAX: Final = 16
"""Addresses that are asked back for one question; one host can have many ports."""
_AGE_MAX: Final = 3
"""One that was asked back without success is asked as usual before it is asked back again."""


class Hints:
    """Knows which addresses a host has."""

    def __init__(self) -> None:
        self._by_host: dict[str, list[PeerAddress]] = {}

    def follow(self, peers: Iterable[PeerAddress]) -> None:
        """Take these addresses from now on, and no others."""
        self._by_host = {}
        for peer in peers:
            self._by_host.setdefault(peer.address[0], []).append(peer)

    def asked_by(self, host: str) -> list[PeerAddress]:
        """Return which addresses to ask back, and remember that they are.

        Args:
            host: The IP address from which a question came.
        """
        back = [
            peer
            for peer in self._by_host.get(host, ())
            if peer.state is PeerState.UNREACHABLE and not peer.hint_age
        ][:_ASKED_BACK_MAX]
        for peer in back:
            peer.hint_age = 1
        return back

    @staticmethod
    def failed(peer: PeerAddress) -> None:
        """Take note that an address did not answer."""
        if peer.hint_age:
            peer.hint_age = (peer.hint_age + 1) % _AGE_MAX
