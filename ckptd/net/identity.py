"""Who this node is to its peers, and who they are: TLS 1.3, both ends with a certificate.

A certificate says which node it is for by its only DNS name. The authority is the cluster's own,
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
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from socket import socket
from typing import Final

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import MIB
from ckptd.model.ids import NodeId, parse_node_id
from ckptd.net.connections import SecureConnection
from ckptd.net.handshakes import HandshakeFailed, HandshakeFailure, Handshakes, Side, failure_of

_log = logging.getLogger(__name__)

ALPN: Final = "ckptd/1"

HANDSHAKE_TIMEOUT_S: Final = 5.0
"""asyncio's own is a minute, in which a stranger would hold a connection."""

_EXPIRY_WARNINGS_DAYS: Final = (1, 3, 14, 30)
_DAY_S: Final = 86_400
_REHEARSAL_ROUNDS_MAX: Final = 8

_REMEDIES: Final = {
    HandshakeFailure.UNTRUSTED: "It must be signed by an authority of tls.ca: make one with "
    "'ckptctl tls issue', or add its authority to that file.",
    HandshakeFailure.EXPIRED: "Make a new one with 'ckptctl tls renew'; or this node's clock is "
    "wrong.",
    HandshakeFailure.PURPOSE: "It must be for servers and for clients: make one with 'ckptctl tls "
    "issue'.",
}


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of an identity are.

    Attributes:
        ca: Certificates of the cluster's authorities, PEM; two while one takes over.
        certificate: This node's certificate, PEM.
        key: Its key, PEM, for its owner alone.
        revoked: Serial numbers, hexadecimal, one a line; ``#`` begins a comment.
        credentials: Directory whose files systemd guards by its own means.
    """

    ca: str
    certificate: str
    key: str
    revoked: str | None = None
    credentials: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end, as its certificate names it.

    Attributes:
        node: Its id.
        serial: Number of the certificate.
    """

    node: NodeId
    serial: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the files held when they were read.

    Attributes:
        serial: Number of this node's certificate.
        stamps: Which state of the files that was.
        not_after_s: Until when certificates are valid, by role: ``node``, and ``ca``, the
            authority of that one. Seconds since the epoch.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    revoked: frozenset[int]
    serial: int
    stamps: tuple[tuple[int, ...], ...]
    not_after_s: dict[str, float]


class Identity:
    """This node's certificate, and the check of those of others.

    Attributes:
        node: Who this node is.
        handshakes: Remembers what failed.

    Args:
        node: Who this node must be.
        files: Where its files are.
        wall_clock: Seconds since the epoch; for warnings alone.

    Raises:
        ConfigurationError: A file cannot be used; the hint says what to do.
    """

    def __init__(self, node: NodeId, files: Files, *, wall_clock: Callable[[], float]) -> None:
        self.node = node
        self.handshakes = Handshakes()
        self._files = files
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._complaint = ""
        self._warned_days: dict[str, float] = {}
        self._loaded = _load(node, files)
        self._warn_of_expiry()

    @property
    def client_context(self) -> ssl.SSLContext:
        """What the next dial uses."""
        return self._loaded.client

    @property
    def not_after_s(self) -> dict[str, float]:
        """Until when this node's certificate is valid (``node``) and its authority's (``ca``)."""
        return self._loaded.not_after_s

    def reload(self) -> None:
        """Read the files again; handshakes from here on use what they hold. Any thread; blocks.

        Raises:
            ConfigurationError: A file cannot be used; everything stays as it was.
        """
        with self._lock:
            self._loaded = _load(self.node, self._files)
            self._complaint = ""
        self._warn_of_expiry()

    def refresh(self) -> None:
        """Reload if a file changed, and warn of expiry; to be called now and then. Blocks.

        Files that cannot be used are complained of once, and looked at again the next time:
        half of a change may have come through.
        """
        try:
            if _stamps(self._files) != self._loaded.stamps:
                self.reload()
                _log.info("the certificates were read again")
        except ConfigurationError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("the certificates stay what they were: %s", error)
        self._warn_of_expiry()

    def is_revoked(self, peer: Peer) -> bool:
        """Tell whether a peer's certificate was revoked."""
        return peer.serial in self._loaded.revoked

    async def accept(self, connected: socket) -> tuple[SecureConnection, Peer]:
        """Shake hands with whoever dialled.

        Raises:
            HandshakeFailed: It is nobody of the cluster; counted and logged.
            OSError: The connection broke.
        """
        connection = SecureConnection(connected, self._loaded.server, is_server=True)
        address = connected.getpeername()[:2]
        return connection, await self._shake_hands(connection, Side.SERVER, address, None)

    async def connect(
        self, connected: socket, address: tuple[str, int], expected: NodeId | None = None
    ) -> tuple[SecureConnection, Peer]:
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
        return connection, await self._shake_hands(connection, Side.CLIENT, address, expected)

    def check(self, tls: ssl.SSLObject | ssl.SSLSocket, expected: NodeId | None = None) -> Peer:
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
            peer = _peer_of(certificate)
        except UsageError as error:
            raise HandshakeFailed(HandshakeFailure.WRONG_NODE, str(error)) from error
        if peer == Peer(self.node, self._loaded.serial):
            raise HandshakeFailed(HandshakeFailure.SELF)
        if peer.node == self.node:
            detail = f"{peer.node} is this node, and this another certificate"
            raise HandshakeFailed(HandshakeFailure.WRONG_NODE, detail)
        if expected not in {None, peer.node}:
            detail = f"it is {peer.node}, not {expected}"
            raise HandshakeFailed(HandshakeFailure.WRONG_NODE, detail)
        if self.is_revoked(peer):
            raise HandshakeFailed(HandshakeFailure.REVOKED, f"{peer.node}, {peer.serial:x}")
        return peer

    async def _shake_hands(
        self,
        connection: SecureConnection,
        side: Side,
        address: tuple[str, int],
        expected: NodeId | None,
    ) -> Peer:
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

    def _warn_of_expiry(self) -> None:
        now_s = self._wall_clock()
        for role, not_after_s in self._loaded.not_after_s.items():
            days_left = (not_after_s - now_s) / _DAY_S
            reached = [days for days in (0, *_EXPIRY_WARNINGS_DAYS) if days_left <= days]
            if not reached:
                self._warned_days.pop(role, None)
            elif reached[0] < self._warned_days.get(role, float("inf")):
                self._warned_days[role] = reached[0]
                whose = "this node's certificate" if role == "node" else "its authority"
                when = f"expires in {days_left:.1f} days" if days_left > 0 else "has expired"
                _log.warning("%s %s. Renew it with 'ckptctl tls'.", whose, when)


def _load(node: NodeId, files: Files) -> _Loaded:
    stamps = _stamps(files)
    _check_key_mode(files)
    server, client = (
        _context(files, protocol) for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    server.num_tickets = 0  # a resumed session would skip the check of the certificate
    certificate = _rehearse(server, client, files)
    try:
        named = _peer_of(certificate)
    except UsageError as error:
        raise _unusable("certificate", files.certificate, str(error)) from error
    if named.node != node:
        hint = f"Set node.id to {named.node}, or take the certificate of {node}."
        raise _unusable("certificate", files.certificate, f"is for {named.node}, not {node}", hint)
    authorities = client.get_ca_certs()
    own = [one for one in authorities if one["subject"] == certificate["issuer"]]
    not_after_s = {
        "node": _not_after_s(certificate),
        "ca": max(map(_not_after_s, own or authorities)),
    }
    revoked = _read_revoked(files.revoked)
    return _Loaded(server, client, revoked, named.serial, stamps, not_after_s)


def _context(files: Files, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # who it is says the certificate, not the address
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    try:
        context.load_verify_locations(cafile=files.ca)
    except (OSError, ValueError) as error:
        raise _unusable("ca", files.ca, _why(error)) from error
    if not context.get_ca_certs():
        raise _unusable("ca", files.ca, "holds no certificate of an authority")
    try:
        # With a password, if only an empty one, nobody is asked for it on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        where = f"{files.certificate} with key {files.key}"
        raise _unusable("certificate", where, _why(error)) from error
    return context


def _rehearse(server: ssl.SSLContext, client: ssl.SSLContext, files: Files) -> Mapping[str, object]:
    """Shake hands with ourselves in memory: what no peer would accept is refused here.

    Returns:
        This node's certificate, verified.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    try:
        for _ in range(_REHEARSAL_ROUNDS_MAX):
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLError as error:
        failure = failure_of(error)
        detail = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error
        hint = _REMEDIES.get(failure, "")
        raise _unusable("certificate", files.certificate, f"{failure}: {detail}", hint) from error
    certificate = ends[0].getpeercert()
    assert certificate, "a handshake with certificates was through"
    return certificate


def _peer_of(certificate: Mapping[str, object]) -> Peer:
    """Read whom a certificate names.

    Raises:
        UsageError: No node, or several.
    """
    pairs = certificate.get("subjectAltName", ())
    assert isinstance(pairs, tuple)
    names = [name for kind, name in pairs if kind == "DNS"]
    if len(names) != 1:
        raise UsageError("certificate", f"has {len(names)} DNS names, not one, the node id")
    return Peer(parse_node_id(names[0]), int(str(certificate["serialNumber"]), 16))


def _not_after_s(certificate: Mapping[str, object]) -> float:
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def _read_revoked(path: str | None) -> frozenset[int]:
    if path is None:
        return frozenset()
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read(MIB).splitlines()
    except (OSError, ValueError) as error:
        raise _unusable("revoked", path, _why(error)) from error
    serials = set()
    for number, line in enumerate(lines, 1):
        serial = line.partition("#")[0].strip()
        try:
            serials.update([int(serial, 16)] if serial else [])
        except ValueError as error:
            problem = f"line {number} is no serial number: {serial[:64]!r}"
            hint = "'ckptctl tls show' prints those of certificates."
            raise _unusable("revoked", path, problem, hint) from error
    return frozenset(serials)


def _check_key_mode(files: Files) -> None:
    mode = stat.S_IMODE(os.stat(files.key).st_mode)
    is_credential = os.path.dirname(files.key) == files.credentials
    # systemd gives a credential to the service by an access list, which shows as group bits.
    if mode & (0o007 if is_credential else 0o077):
        problem = f"can be used by others than its owner (mode {mode:o})"
        raise _unusable("key", files.key, problem, f"Run: chmod 600 {files.key}")


def _stamps(files: Files) -> tuple[tuple[int, ...], ...]:
    stamps = []
    for key in ("ca", "certificate", "key", "revoked"):
        path = getattr(files, key)
        if path is None:
            continue
        try:
            facts = os.stat(path)
        except OSError as error:
            hint = "'ckptctl tls init' and 'ckptctl tls issue' make such files."
            raise _unusable(key, path, _why(error), hint) from error
        stamps.append((facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(stamps)


def _unusable(key: str, path: str, problem: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"tls.{key} {path}", problem, hint)


def _why(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"cannot be used: {reason}"
