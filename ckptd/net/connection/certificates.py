"""The files of an identity: what they must hold, and what of it a handshake needs.

Files that peers would not accept are refused at once: the node shakes hands with itself in memory
before it uses them.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ckptd.copies.zones import Zone, parse_zone, zone_text
from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import MIB
from ckptd.model.ids import NodeId, parse_node_id
from ckptd.model.words import HandshakeFailure
from ckptd.net.connection.handshakes import failure_of

ALPN: Final = "ckptd/1"

ZONE_SCHEME: Final = "ckptd-zone:"
"""How the URI begins by which a certificate says in which zone its node is."""

_REHEARSAL_ROUNDS_MAX: Final = 8

_REMEDIES: Final = {
    HandshakeFailure.UNTRUSTED: "It must be signed by an authority of tls.ca: make one with "
    "'ckptctl tls issue', or add its authority to that file.",
    HandshakeFailure.EXPIRED: "Make a new one with 'ckptctl tls renew'; or this node's clock is "
    "wrong.",
    HandshakeFailure.NOT_YET_VALID: "Is this node's clock right?",
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

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield the key of the configuration and the path of each file that there is."""
        for key in ("ca", "certificate", "key", "revoked"):
            path = getattr(self, key)
            if path is not None:
                yield key, path


@dataclass(frozen=True, slots=True)
class CertifiedPeer:
    """The other end, as its certificate names it.

    Attributes:
        node: Its id.
        serial: Number of the certificate.
        zone: In which zone it is by its certificate; ``()``: not known.
        not_before_s: From when on that certificate is valid.
    """

    node: NodeId
    serial: int
    zone: Zone = field(default=(), compare=False)
    not_before_s: float = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files held when they were read.

    Attributes:
        serial: Number of this node's certificate.
        zone: In which zone this node is, by its configuration or else by its certificate.
        stamps: Which state of the files that was.
        not_after_s: Until when certificates are valid, by role: ``node``, and ``ca``, the
            authority of that one. Seconds since the epoch.
        not_before_s: From when on.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    revoked: frozenset[int]
    serial: int
    zone: Zone
    stamps: tuple[tuple[int, ...], ...]
    not_after_s: dict[str, float]
    not_before_s: dict[str, float]


def load(node: NodeId, files: Files, zone: Zone = ()) -> Loaded:
    """Read the files; blocks.

    Args:
        node: For whom the certificate must be.
        files: Where they are.
        zone: In which zone that node is by its configuration, ``()`` if that does not say. No
            certificate may name another one: peers go by it.

    Raises:
        ConfigurationError: One cannot be used; the hint says what to do.
    """
    stamps = stamps_of(files)
    _check_key_mode(files)
    server, client = (
        _context(files, protocol) for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    server.num_tickets = 0  # a resumed session would skip the check of the certificate
    certificate = _rehearse(server, client, files)
    try:
        named = peer_of(certificate)
        certified = zone_among(_names(certificate, "URI"))
    except UsageError as error:
        raise _unusable("certificate", files.certificate, str(error)) from error
    if named.node != node:
        hint = f"Set node.id to {named.node}, or take the certificate of {node}."
        raise _unusable("certificate", files.certificate, f"is for {named.node}, not {node}", hint)
    if zone and certified not in {(), zone}:
        hint = (
            f"Set node.zone to {zone_text(certified)!r} or take it out, or make a certificate "
            f"with 'ckptctl tls renew {node} --zone {zone_text(zone)}'."
        )
        problem = f"says zone {zone_text(certified)}, and node.zone is {zone_text(zone)}"
        raise _unusable("certificate", files.certificate, problem, hint)
    authorities = client.get_ca_certs()
    own = [one for one in authorities if one["subject"] == certificate["issuer"]]
    authority = max(own or authorities, key=_not_after_s)
    roles = {"node": certificate, "ca": authority}
    return Loaded(
        server,
        client,
        _read_revoked(files.revoked),
        named.serial,
        zone or certified,
        stamps,
        {role: _not_after_s(one) for role, one in roles.items()},
        {role: _seconds_of(one, "notBefore") for role, one in roles.items()},
    )


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


def peer_of(certificate: Mapping[str, object]) -> CertifiedPeer:
    """Read whom a certificate names. A zone that makes no sense is not known.

    Raises:
        UsageError: No node, or several.
    """
    names = _names(certificate, "DNS")
    if len(names) != 1:
        raise UsageError("certificate", f"has {len(names)} DNS names, not one, the node id")
    zone: Zone = ()
    with suppress(UsageError):
        zone = zone_among(_names(certificate, "URI"))
    return CertifiedPeer(
        parse_node_id(names[0]),
        int(str(certificate["serialNumber"]), 16),
        zone,
        _seconds_of(certificate, "notBefore") if "notBefore" in certificate else 0,
    )


def zone_among(uris: Sequence[str]) -> Zone:
    """Read the zone from the URIs of a certificate; ``()`` if none of them names one.

    Raises:
        UsageError: What one names is no zone, or several name one.
    """
    zones = [uri.removeprefix(ZONE_SCHEME) for uri in uris if uri.startswith(ZONE_SCHEME)]
    if len(zones) > 1:
        raise UsageError("certificate", f"names {len(zones)} zones, not one")
    if not zones:
        return ()
    zone = parse_zone(zones[0])
    if not zone:
        raise UsageError("certificate", "names an empty zone")
    return zone


def _names(certificate: Mapping[str, object], kind: str) -> list[str]:
    """Return the other names of a subject that are of a kind."""
    pairs = certificate.get("subjectAltName", ())
    assert isinstance(pairs, tuple)
    return [name for of_kind, name in pairs if of_kind == kind]


def _not_after_s(certificate: Mapping[str, object]) -> float:
    return _seconds_of(certificate, "notAfter")


def _seconds_of(certificate: Mapping[str, object], field: str) -> float:
    return float(ssl.cert_time_to_seconds(str(certificate[field])))


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


def unreadable(files: Files, user: str) -> Iterator[ConfigurationError]:
    """Yield an error for each file that this process cannot open; blocks.

    Args:
        files: Where they are.
        user: The user that this process is.
    """
    for key, path in files.named():
        try:
            with open(path, "rb"):
                pass
        except PermissionError:
            owner = f"chown {user}" if key == "key" else "chmod a+r"
            hint = f"Run '{owner} {path}'; its directories must let {user} through."
            yield _unusable(key, path, f"cannot be read by user {user}", hint)
        except OSError as error:
            hint = "'ckptctl tls init' and 'ckptctl tls issue' make such files."
            yield _unusable(key, path, _why(error), hint)


def _check_key_mode(files: Files) -> None:
    mode = stat.S_IMODE(os.stat(files.key).st_mode)
    is_credential = os.path.dirname(files.key) == files.credentials
    # systemd gives a credential to the service by an access list, which shows as group bits.
    if mode & (0o007 if is_credential else 0o077):
        problem = f"can be used by others than its owner (mode {mode:o})"
        raise _unusable("key", files.key, problem, f"Run: chmod 600 {files.key}")


def stamp_of(facts: os.stat_result) -> tuple[int, ...]:
    """Return what differs when a file was changed."""
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


def stamps_of(files: Files) -> tuple[tuple[int, ...], ...]:
    """Return the stamps of all of them; blocks.

    Raises:
        ConfigurationError: One is not there.
    """
    stamps = []
    for key, path in files.named():
        try:
            facts = os.stat(path)
        except OSError as error:
            hint = "'ckptctl tls init' and 'ckptctl tls issue' make such files."
            raise _unusable(key, path, _why(error), hint) from error
        stamps.append(stamp_of(facts))
    return tuple(stamps)


def _unusable(key: str, path: str, problem: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"tls.{key} {path}", problem, hint)


def _why(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"cannot be used: {reason}"
