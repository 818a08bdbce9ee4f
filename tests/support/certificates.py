"""Certificates for tests: a cluster's good ones, and one for each way to be a stranger."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ckptd.cli.pki.authority import Authority, certificate_facts
from ckptd.copies.zones import Zone
from ckptd.model.ids import NodeId
from ckptd.model.words import HandshakeFailure
from ckptd.net.connection.identity import ALPN, Files, Identity

A, B, C = NodeId("node-a"), NodeId("node-b"), NodeId("node-c")


PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Stranger(NamedTuple):
    """Somebody who is not let in.

    Attributes:
        files: Certificate and key that are shown; ``None``: none.
        reason: What the refusal is counted as.
    """

    files: tuple[str, str] | None
    reason: HandshakeFailure


class Certificates:
    """A cluster's authority and its nodes, below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = self.another("ca")
        self.revoked = directory / "revoked"
        self.revoked.write_text("# serial numbers\n")

    def another(self, name: str) -> Authority:
        """Make an authority that has nothing to do with the others."""
        authority = Authority(str(self.directory / name))
        authority.create()
        return authority

    def files(self, node: NodeId, authority: Authority | None = None, *, zone: Zone = ()) -> Files:
        certificate, key = (authority or self.authority).issue(node, zone=zone, force=True)
        return Files(self.authority.certificate_path, certificate, key, str(self.revoked))

    def identity(self, node: NodeId) -> Identity:
        return Identity(node, self.files(node), wall_clock=time.time)

    def revoke(self, path: str) -> None:
        """Add a certificate to those that are revoked."""
        (facts,) = certificate_facts(path)
        with self.revoked.open("a") as file:
            file.write(f"{facts.serial}  # {facts.who}\n")

    def strangers(self, owner: NodeId) -> Mapping[str, Stranger]:
        """Make everybody who must not get into the node ``owner``."""
        made = self.another("strangers")
        foreign = self.another("foreign")

        def issue(
            name: str,
            node: str = B,
            *,
            purposes: tuple[x509.ObjectIdentifier, ...] = PURPOSES,
            begin: datetime | None = None,
        ) -> tuple[str, str]:
            """Sign with the cluster's key what the cluster's authority would not."""
            own = Authority(str(self.directory / f"strangers-{name}"))
            Path(own.directory).mkdir()
            for kind in ("crt", "key"):
                source = Path(self.authority.directory, f"ca.{kind}")
                Path(own.directory, f"ca.{kind}").write_bytes(source.read_bytes())
            Path(own.directory, node).parent.mkdir(exist_ok=True)
            return own.issue(
                NodeId(node), lifetime=timedelta(days=1), not_before=begin, purposes=purposes
            )

        now = datetime.now(UTC)
        revoked = issue("revoked")
        self.revoke(revoked[0])
        code = (ExtendedKeyUsageOID.CODE_SIGNING,)
        reasons = HandshakeFailure
        return {
            "none": Stranger(None, reasons.NO_CERTIFICATE),
            "foreign authority": Stranger(foreign.issue(B), reasons.UNTRUSTED),
            "expired": Stranger(issue("old", begin=now - timedelta(days=2)), reasons.EXPIRED),
            "not yet valid": Stranger(
                issue("new", begin=now + timedelta(days=1)), reasons.NOT_YET_VALID
            ),
            "wrong purpose": Stranger(issue("code", purposes=code), reasons.PURPOSE),
            "wrong name": Stranger(issue("name", "sub/node"), reasons.WRONG_NODE),
            "self-signed": Stranger(
                (made.certificate_path, str(Path(made.directory, "ca.key"))), reasons.UNTRUSTED
            ),
            "another node's": Stranger(issue("owner", owner), reasons.WRONG_NODE),
            "revoked": Stranger(revoked, reasons.REVOKED),
        }


STRANGERS = (
    "none",
    "foreign authority",
    "expired",
    "not yet valid",
    "wrong purpose",
    "wrong name",
    "self-signed",
    "another node's",
    "revoked",
)


def client_context(
    files: tuple[str, str] | None, *, alpn: tuple[str, ...] = (ALPN,)
) -> ssl.SSLContext:
    """Return what a client shows that does not care whom it talks to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if files is not None:
        context.load_cert_chain(*files)
    return context


def server_context(files: tuple[str, str]) -> ssl.SSLContext:
    """Return what a server shows that does not care who dials."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(*files)
    return context
