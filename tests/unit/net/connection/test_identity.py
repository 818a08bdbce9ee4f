from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ckptd.cli.pki.authority import certificate_facts
from ckptd.errors import ConfigurationError, ExitCode
from ckptd.model.ids import NodeId
from ckptd.model.words import HandshakeFailure
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.connection.identity import CertifiedPeer, Files, Identity
from tests.support.certificates import A, B, C, Certificates, client_context

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def opened(files: Files, node: NodeId = A) -> Identity:
    return Identity(node, files, wall_clock=time.time)


def met(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let two ends shake hands in memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for _ in range(4):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends


def visit(host: Identity, guest: Identity) -> CertifiedPeer:
    """Let one dial the other; return whom the host sees."""
    seen_by_guest, seen_by_host = met(guest.client_context, host._loaded.server)
    assert guest.check(seen_by_guest).node == host.node
    return host.check(seen_by_host)


# What no daemon starts with


def expired(certificates: Certificates) -> Files:
    certificates.authority.issue(A, not_before=NOW - 2 * DAY, lifetime=DAY, force=True)
    return replace(certificates.files(B), **_paths(certificates))


def not_yet_valid(certificates: Certificates) -> Files:
    certificates.authority.issue(A, not_before=NOW + DAY, force=True)
    return replace(certificates.files(B), **_paths(certificates))


def for_clients_alone(certificates: Certificates) -> Files:
    certificates.authority.issue(A, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,), force=True)
    return replace(certificates.files(B), **_paths(certificates))


def for_servers_alone(certificates: Certificates) -> Files:
    certificates.authority.issue(A, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), force=True)
    return replace(certificates.files(B), **_paths(certificates))


def of_another_authority(certificates: Certificates) -> Files:
    return certificates.files(A, certificates.another("foreign"))


def of_another_node(certificates: Certificates) -> Files:
    return certificates.files(B)


def with_a_key_that_does_not_fit(certificates: Certificates) -> Files:
    return replace(certificates.files(A), key=certificates.files(B).key)


def with_a_key_for_the_group(certificates: Certificates) -> Files:
    files = certificates.files(A)
    os.chmod(files.key, 0o640)
    return files


def with_a_key_for_the_world(certificates: Certificates) -> Files:
    files = certificates.files(A)
    os.chmod(files.key, 0o604)
    return files


def with_an_encrypted_key(certificates: Certificates) -> Files:
    files = certificates.files(A)
    path = Path(files.key)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return files


def without_a_key(certificates: Certificates) -> Files:
    return replace(certificates.files(A), key="/nowhere/node.key")


def without_an_authority(certificates: Certificates) -> Files:
    return replace(certificates.files(A), ca=os.devnull)


def with_an_authority_that_is_a_node(certificates: Certificates) -> Files:
    files = certificates.files(A)
    return replace(files, ca=files.certificate)


def with_words_for_revoked(certificates: Certificates) -> Files:
    certificates.revoked.write_text("12ab\nnode-b\n")
    return certificates.files(A)


def _paths(certificates: Certificates) -> dict[str, str]:
    certificate, key = certificates.authority.paths_of(A)
    return {"certificate": certificate, "key": key}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (expired, r"tls\.certificate .*: expired: .*ckptctl tls renew"),
        (not_yet_valid, r"tls\.certificate .*: expired: certificate is not yet valid.*clock"),
        (for_clients_alone, r"tls\.certificate .*: purpose: .*for servers and for clients"),
        (for_servers_alone, r"tls\.certificate .*: purpose: .*for servers and for clients"),
        (of_another_authority, r"tls\.certificate .*: untrusted: .*authority of tls\.ca"),
        (of_another_node, r"is for node-b, not node-a.*Set node\.id to node-b"),
        (with_a_key_that_does_not_fit, r"tls\.certificate .* with key .*cannot be used"),
        (with_a_key_for_the_group, r"tls\.key .*mode 640.*chmod 600"),
        (with_a_key_for_the_world, r"tls\.key .*mode 604.*chmod 600"),
        (with_an_encrypted_key, r"cannot be used"),
        (without_a_key, r"tls\.key /nowhere/node\.key: .*No such file.*ckptctl tls issue"),
        (without_an_authority, r"tls\.ca /dev/null: cannot be used"),
        (with_an_authority_that_is_a_node, r"tls\.ca .*: holds no certificate of an authority"),
        (with_words_for_revoked, r"tls\.revoked .*: line 2 is no serial number: 'node-b'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_no_peer_would_accept_refuses_the_start(
    make: Callable[[Certificates], Files], words: str, certificates: Certificates
) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        opened(make(certificates))
    assert refused.value.exit_code == ExitCode.CONFIGURATION


def test_a_credential_of_systemd_may_show_group_bits(certificates: Certificates) -> None:
    files = with_a_key_for_the_group(certificates)
    opened(replace(files, credentials=os.path.dirname(files.key)))
    os.chmod(files.key, 0o604)
    with pytest.raises(ConfigurationError, match="mode 604"):
        opened(replace(files, credentials=os.path.dirname(files.key)))


# Who is at the other end


def test_nodes_of_one_cluster_know_each_other_by_certificate(certificates: Certificates) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    (facts,) = certificate_facts(certificates.authority.paths_of(B)[0])
    assert visit(host, guest) == CertifiedPeer(B, int(facts.serial, 16))


def test_the_node_that_is_meant_must_be_the_one_that_answers(certificates: Certificates) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    tls, _ = met(guest.client_context, host._loaded.server)
    assert guest.check(tls, A).node == A
    with pytest.raises(HandshakeFailed, match="it is node-a, not node-c") as failed:
        guest.check(tls, C)
    assert failed.value.failure is HandshakeFailure.WRONG_NODE


def test_no_session_can_be_taken_up_again(certificates: Certificates) -> None:
    host = certificates.identity(A)
    client, _ = met(client_context(certificates.authority.issue(B)), host._loaded.server)
    with pytest.raises(ssl.SSLWantReadError):
        client.read()  # a ticket would come here
    assert client.session is None or not client.session.has_ticket


# New files


def test_new_files_count_from_the_next_handshake(certificates: Certificates) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    before = visit(host, guest)
    certificates.authority.renew(B)
    assert visit(host, guest) == before
    guest.reload()
    after = visit(host, guest)
    assert (after.node, after.serial == before.serial) == (B, False)


def test_changed_files_are_noticed(certificates: Certificates) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    before = visit(host, guest)
    guest.refresh()
    assert visit(host, guest) == before
    certificates.authority.renew(B)
    guest.refresh()
    assert visit(host, guest).serial != before.serial


def test_half_of_a_change_is_complained_of_once_and_changes_nothing(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    before = visit(host, guest)
    path, key_path = certificates.authority.paths_of(B)
    key = Path(key_path).read_bytes()
    certificates.authority.issue(B, force=True)
    new_key = Path(key_path).read_bytes()
    Path(key_path).write_bytes(key)
    for _ in range(3):
        guest.refresh()
    with pytest.raises(ConfigurationError):
        guest.reload()
    assert visit(host, guest) == before
    assert len([line for line in caplog.messages if "stay what they were" in line]) == 1
    Path(key_path).write_bytes(new_key)
    guest.refresh()
    assert visit(host, guest).serial != before.serial
    assert path in caplog.text


def test_a_revoked_peer_is_refused_from_then_on(certificates: Certificates) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    peer = visit(host, guest)
    certificates.revoke(certificates.authority.paths_of(B)[0])
    host.refresh()
    assert host.is_revoked(peer)
    with pytest.raises(HandshakeFailed, match="revoked"):
        visit(host, guest)
    certificates.authority.renew(B)
    guest.refresh()
    visit(host, guest)


def test_one_authority_takes_over_from_another_without_a_gap(certificates: Certificates) -> None:
    """Both in every bundle, then new certificates, then the new authority alone."""
    host, guest = certificates.identity(A), certificates.identity(B)
    new = certificates.another("new")
    bundle = Path(certificates.authority.certificate_path)
    bundle.write_bytes(bundle.read_bytes() + Path(new.certificate_path).read_bytes())
    for identity in (host, guest):
        identity.reload()
        visit(host, guest)
    for node, identity in ((A, host), (B, guest)):
        for fresh, used in zip(new.issue(node), certificates.authority.paths_of(node), strict=True):
            os.replace(fresh, used)
        identity.reload()
        visit(host, guest)
        visit(guest, host)
    bundle.write_bytes(Path(new.certificate_path).read_bytes())
    for identity in (host, guest):
        identity.reload()
        visit(host, guest)
    (facts,) = certificate_facts(new.certificate_path)
    assert host.not_after_s["ca"] == datetime.fromisoformat(facts.not_after).timestamp()


def test_expiry_is_warned_of_at_30_14_3_and_1_days(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = time.time()
    identity = Identity(A, certificates.files(A), wall_clock=lambda: now_s)
    end_s = identity.not_after_s["node"]
    warned = []
    for hours_left in range(40 * 24, -24, -6):
        now_s = end_s - hours_left * 3600
        caplog.clear()
        identity.refresh()
        warned += [hours_left / 24 for line in caplog.messages if "Renew it" in line]
    assert warned == [30, 14, 3, 1, 0]
