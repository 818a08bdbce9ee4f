"""Who this node is to its peers, and who they are: TLS 1.3, both ends with a certificate.

A certificate says which node it is for by its only DNS name, and may say in which zone that node is
by a URI. The authority is the cluster's own,
never one of the system's, so that whoever has a certificate of it belongs to the cluster.
Addresses prove nothing: the dialler checks the chain, takes the node id from the certificate, and
compares it with what the peer says of itself.

The files are read again when they change; handshakes from then on use what they hold.
Connections that are up stay, but a source answers no revoked peer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterable
from socket import socket
from typing import Final

from ckptd.copies.zones import Zone
from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import DAY_S, PEERS_MAX
from ckptd.model.ids import NodeId
from ckptd.model.words import HandshakeFailure, HandshakeSide
from ckptd.net.connection.certificates import (
    ALPN,
    CertifiedPeer,
    Files,
    load,
    peer_of,
    stamp_of,
    stamps_of,
)
from ckptd.net.connection.handshakes import HandshakeFailed, Handshakes
from ckptd.net.connection.transports import SecureConnection

__all__ = ["ALPN", "CertifiedPeer", "Files", "Identity"]

_log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 5.0
"""asyncio's own is a minute, in which a stranger would hold a connection."""

_WHOSE: Final = {
    "node": "this node's certificate",
    "ca": "the certificate of this node's authority",
}
_EXPIRY_WARNINGS_DAYS: Final = (1, 3, 14, 30)


class Identity:
    """This node's certificate, and the check of those of others.

    Attributes:
        node: Who this node is.
        handshakes: Remembers what failed.

    Args:
        node: Who this node must be.
        files: Where its files are.
        zone: In which zone it is by its configuration; ``()``: what the certificate says counts.
        wall_clock: Seconds since the epoch; for what is said of certificates alone.

    Raises:
        ConfigurationError: A file cannot be used; the hint says what to do.
    """

    def __init__(
        self, node: NodeId, files: Files, zone: Zone = (), *, wall_clock: Callable[[], float]
    ) -> None:
        self.node = node
        self.handshakes = Handshakes()
        self._files = files
        self._configured_zone = zone
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._complaint = ""
        self._warned_days: dict[str, float] = {}
        self._met: dict[NodeId, CertifiedPeer] = {}
        self._loaded = load(node, files, zone)
        self.warn_of_expiry()

    @property
    def client_context(self) -> ssl.SSLContext:
        """What the next dial uses."""
        return self._loaded.client

    @property
    def not_after_s(self) -> dict[str, float]:
        """Until when this node's certificate is valid (``node``) and its authority's (``ca``)."""
        return self._loaded.not_after_s

    @property
    def not_before_s(self) -> dict[str, float]:
        """From when on they are valid."""
        return self._loaded.not_before_s

    @property
    def zone(self) -> Zone:
        """In which zone this node is; ``()``: not known."""
        return self._loaded.zone

    def certified_zone(self, node: NodeId) -> Zone | None:
        """Return in which zone a node is by the newest certificate with which it proved itself.

        Returns:
            ``None`` if that does not say, if it was revoked, or if no handshake with the node
            succeeded since the start.
        """
        peer = self._met.get(node)
        return None if peer is None or self.is_revoked(peer) else peer.zone or None

    def trouble(self) -> str:
        """Say why no handshake can succeed at this time; empty if one can.

        By this node's clock, which may be what is wrong.
        """
        now_s = self._wall_clock()
        for role, not_after_s in self.not_after_s.items():
            whose = _WHOSE[role]
            if now_s < self.not_before_s[role]:
                return f"{whose} is not valid yet (is the clock right?)"
            if now_s > not_after_s:
                return f"{whose} has expired (renew it with 'ckptctl tls', or is the clock wrong?)"
        return ""

    def reload(self) -> None:
        """Read the files again; handshakes from here on use what they hold. Any thread; blocks.

        Raises:
            ConfigurationError: A file cannot be used; everything stays as it was.
        """
        self.prepare(self._files)()
        self.warn_of_expiry()

    def prepare(self, files: Files) -> Callable[[], None]:
        """Read other files, or the same ones again. Any thread; blocks.

        Returns:
            What takes them over: neither waits nor fails.

        Raises:
            ConfigurationError: A file cannot be used; nothing was changed.
        """
        loaded = load(self.node, files, self._configured_zone)

        def switch() -> None:
            with self._lock:
                self._files, self._loaded, self._complaint = files, loaded, ""

        return switch

    @property
    def paths(self) -> tuple[str, ...]:
        """Where its files are."""
        return tuple(path for _, path in self._files.named())

    def is_of(self, facts: Iterable[os.stat_result]) -> bool:
        """Tell whether files that look like this, in the order of their paths, were read."""
        return tuple(map(stamp_of, facts)) == self._loaded.stamps

    def warn_of_expiry(self) -> None:
        """Warn of certificates that will not be valid for long: once for each of some days."""
        now_s = self._wall_clock()
        for role, not_after_s in self._loaded.not_after_s.items():
            days_left = (not_after_s - now_s) / DAY_S
            reached = [days for days in (0, *_EXPIRY_WARNINGS_DAYS) if days_left <= days]
            if not reached:
                self._warned_days.pop(role, None)
            elif reached[0] < self._warned_days.get(role, float("inf")):
                self._warned_days[role] = reached[0]
                whose = "this node's certificate" if role == "node" else "its authority"
                when = f"expires in {days_left:.1f} days" if days_left > 0 else "has expired"
                _log.warning("%s %s. Renew it with 'ckptctl tls'.", whose, when)

    def refresh(self) -> None:
        """Reload if a file changed, and warn of expiry; to be called now and then. Blocks.

        Files that cannot be used are logged once and tried again the next time: they may be in
        the middle of being replaced.
        """
        try:
            if stamps_of(self._files) != self._loaded.stamps:
                self.reload()
                _log.info("the certificates were read again")
        except ConfigurationError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("the certificates stay what they were: %s", error)
        self.warn_of_expiry()

    def is_revoked(self, peer: CertifiedPeer) -> bool:
        """Tell whether a peer's certificate was revoked."""
        return peer.serial in self._loaded.revoked

    async def accept(self, connected: socket) -> tuple[SecureConnection, CertifiedPeer]:
        """Shake hands with whoever dialled.

        Raises:
            HandshakeFailed: It is nobody of the cluster; counted and logged.
            OSError: The connection broke.
        """
        connection = SecureConnection(connected, self._loaded.server, is_server=True)
        address = connected.getpeername()[:2]
        return connection, await self._shake_hands(connection, HandshakeSide.SERVER, address, None)

    async def connect(
        self, connected: socket, address: tuple[str, int], expected: NodeId | None = None
    ) -> tuple[SecureConnection, CertifiedPeer]:
        """Shake hands with whom we dialled.

        Args:
            connected: Connected.
            address: Whom, for the log and for the pause after a failure.
            expected: Which node it must be; ``None``: any of the cluster but this one.

        Raises:
            HandshakeFailed: It is not; counted and logged.
            OSError: The connection broke.
        """
        connection = SecureConnection(connected, self._loaded.client, is_server=False)
        return connection, await self._shake_hands(
            connection, HandshakeSide.CLIENT, address, expected
        )

    def check(
        self, tls: ssl.SSLObject | ssl.SSLSocket, expected: NodeId | None = None
    ) -> CertifiedPeer:
        """Return who is at the other end of a handshake that OpenSSL was content with.

        Raises:
            HandshakeFailed: Nobody this node talks to.
        """
        if tls.selected_alpn_protocol() != ALPN:
            raise HandshakeFailed(HandshakeFailure.PROTOCOL, f"not {ALPN}")
        certificate = tls.getpeercert()
        if not certificate:
            raise HandshakeFailed(HandshakeFailure.NO_CERTIFICATE)
        try:
            peer = peer_of(certificate)
        except UsageError as error:
            raise HandshakeFailed(HandshakeFailure.WRONG_NODE, str(error)) from error
        if peer == CertifiedPeer(self.node, self._loaded.serial):
            raise HandshakeFailed(HandshakeFailure.SELF)
        if peer.node == self.node:
            detail = f"{peer.node} is this node, and this another certificate"
            raise HandshakeFailed(HandshakeFailure.WRONG_NODE, detail)
        if expected not in {None, peer.node}:
            detail = f"it is {peer.node}, not {expected}"
            raise HandshakeFailed(HandshakeFailure.WRONG_NODE, detail)
        if self.is_revoked(peer):
            raise HandshakeFailed(HandshakeFailure.REVOKED, f"{peer.node}, {peer.serial:x}")
        self._meet(peer)
        return peer

    def _meet(self, peer: CertifiedPeer) -> None:
        """Remember a certificate; connections of before a new one was made do not undo that."""
        known = self._met.get(peer.node)
        if known == peer:
            return
        with self._lock:
            known = self._met.get(peer.node)
            if known is None or self.is_revoked(known) or known.not_before_s <= peer.not_before_s:
                self._met.pop(peer.node, None)
                self._met[peer.node] = peer
            if len(self._met) > PEERS_MAX:
                del self._met[next(iter(self._met))]

    async def _shake_hands(
        self,
        connection: SecureConnection,
        side: HandshakeSide,
        address: tuple[str, int],
        expected: NodeId | None,
    ) -> CertifiedPeer:
        try:
            try:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                    await connection.handshake()
            except TimeoutError as error:
                raise HandshakeFailed(HandshakeFailure.TIMEOUT) from error
            except HandshakeFailed:
                raise
            except OSError as error:
                raise HandshakeFailed(HandshakeFailure.DISCONNECTED, str(error)) from error
            return self.check(connection.tls, expected)
        except HandshakeFailed as failed:
            self.handshakes.note(side, address, failed)
            raise
