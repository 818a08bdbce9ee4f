from __future__ import annotations

import os
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ckptd.cli.pki.authority import certificate_facts
from ckptd.errors import ConfigurationError
from ckptd.model.ids import NodeId
from ckptd.model.words import HandshakeFailure
from ckptd.net.connection import identity as identity_module
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


# In which zones they are


RACK_7, RACK_8 = ("row-1", "rack-7"), ("row-1", "rack-8")


def test_each_end_learns_the_zone_of_the_other_from_its_certificate(
    certificates: Certificates,
) -> None:
    host = opened(certificates.files(A, zone=RACK_7))
    guest = opened(certificates.files(B, zone=RACK_8), B)
    assert (host.zone, guest.zone) == (RACK_7, RACK_8)
    assert host.certified_zone(B) is None
    visit(host, guest)
    assert host.certified_zone(B) == RACK_8
    assert guest.certified_zone(A) == RACK_7
    assert host.certified_zone(C) is None


def test_a_certificate_without_a_zone_leaves_it_unknown(certificates: Certificates) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    visit(host, guest)
    assert host.zone == ()
    assert host.certified_zone(B) is None


def test_who_is_refused_has_no_zone(certificates: Certificates) -> None:
    host = certificates.identity(A)
    guest = opened(certificates.files(B, zone=RACK_8), B)
    tls, _ = met(host.client_context, guest._loaded.server)
    with pytest.raises(HandshakeFailed):
        host.check(tls, C)
    assert host.certified_zone(B) is None


def test_the_newest_certificate_says_the_zone_whatever_connection_speaks_last(
    certificates: Certificates,
) -> None:
    """A connection that is up goes on with the certificate of before."""
    host = certificates.identity(A)
    files = certificates.files(B)
    certificates.authority.issue(B, zone=RACK_7, not_before=NOW - DAY, force=True)
    guest = opened(files, B)
    _, before = met(guest.client_context, host._loaded.server)
    host.check(before)
    assert host.certified_zone(B) == RACK_7
    certificates.authority.renew(B, zone=RACK_8)
    guest.reload()
    visit(host, guest)
    host.check(before)
    assert host.certified_zone(B) == RACK_8


def test_a_revoked_certificate_says_no_zone_and_the_one_after_it_does(
    certificates: Certificates,
) -> None:
    host = certificates.identity(A)
    files = certificates.files(B, zone=RACK_7)
    guest = opened(files, B)
    visit(host, guest)
    certificates.revoke(files.certificate)
    host.refresh()
    assert host.certified_zone(B) is None
    certificates.authority.issue(B, zone=RACK_8, not_before=NOW - DAY, force=True)
    guest.reload()
    visit(host, guest)
    assert host.certified_zone(B) == RACK_8


def test_the_zones_of_only_so_many_nodes_are_remembered(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_module, "PEERS_MAX", 1)
    host = certificates.identity(A)
    for node in (B, C):
        visit(host, opened(certificates.files(node, zone=RACK_7), node))
    assert (host.certified_zone(B), host.certified_zone(C)) == (None, RACK_7)


def test_the_configured_zone_of_this_node_and_its_certificate_s_are_one(
    certificates: Certificates,
) -> None:
    """Peers go by the certificate: with two of them copies would come to be in one zone."""
    files = certificates.files(A, zone=RACK_7)
    assert Identity(A, files, RACK_7, wall_clock=time.time).zone == RACK_7
    words = r"says zone row-1/rack-7, and node\.zone is row-1/rack-8.*tls renew node-a --zone"
    with pytest.raises(ConfigurationError, match=words):
        Identity(A, files, RACK_8, wall_clock=time.time)
    unsaid = Identity(A, certificates.files(A), RACK_8, wall_clock=time.time)
    assert unsaid.zone == RACK_8
    certificates.authority.renew(A, zone=RACK_7)
    with pytest.raises(ConfigurationError, match="says zone row-1/rack-7"):
        unsaid.reload()
    assert unsaid.zone == RACK_8


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


def test_files_that_are_read_again_are_warned_of_if_they_expire_soon(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = time.time()
    identity = Identity(A, certificates.files(A), wall_clock=lambda: now_s)
    now_s = identity.not_after_s["node"] - 2 * 86_400
    identity.reload()
    assert "this node's certificate expires in 2.0 days" in caplog.text


def test_a_certificate_outside_its_time_is_named_by_this_nodes_clock(
    certificates: Certificates,
) -> None:
    now_s = time.time()
    identity = Identity(A, certificates.files(A), wall_clock=lambda: now_s)
    assert identity.trouble() == ""
    now_s -= 2 * 3600
    own = "this node's certificate"
    assert identity.trouble() == f"{own} is not valid yet (is the clock right?)"
    now_s = identity.not_before_s["node"]
    assert identity.trouble() == ""
    now_s = identity.not_after_s["node"]
    assert identity.trouble() == ""
    now_s += 1
    assert identity.trouble().startswith(f"{own} has expired")


def test_so_is_that_of_its_authority(certificates: Certificates) -> None:
    now_s = time.time()
    identity = Identity(A, certificates.files(A), wall_clock=lambda: now_s)
    now_s = identity.not_before_s["ca"] + 1
    identity.not_before_s["node"] = now_s - 10
    identity.not_before_s["ca"] = now_s + 10
    whose = "the certificate of this node's authority"
    assert identity.trouble() == f"{whose} is not valid yet (is the clock right?)"
    identity.not_before_s["ca"], identity.not_after_s["ca"] = now_s - 10, now_s - 1
    assert identity.trouble().startswith(f"{whose} has expired")
