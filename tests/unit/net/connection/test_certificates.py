"""What no daemon starts with: files of an identity that no peer would accept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ckptd.errors import ConfigurationError, ExitCode, UsageError
from ckptd.net.connection.certificates import CertifiedPeer, Files, load, peer_of, stamps_of
from tests.support.certificates import A, B, Certificates

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


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
        (not_yet_valid, r"tls\.certificate .*: not_yet_valid: certificate is not yet valid.*clock"),
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
        load(A, make(certificates))
    assert refused.value.exit_code == ExitCode.CONFIGURATION


def test_a_credential_of_systemd_may_show_group_bits(certificates: Certificates) -> None:
    files = with_a_key_for_the_group(certificates)
    load(A, replace(files, credentials=os.path.dirname(files.key)))
    os.chmod(files.key, 0o604)
    with pytest.raises(ConfigurationError, match="mode 604"):
        load(A, replace(files, credentials=os.path.dirname(files.key)))


@pytest.mark.parametrize("names", [(), (("DNS", "a"), ("DNS", "b")), (("IP Address", "10.0.0.1"),)])
def test_a_certificate_names_one_node(names: tuple[tuple[str, str], ...]) -> None:
    certificate = {"subjectAltName": names, "serialNumber": "1F"}
    with pytest.raises(UsageError, match="DNS names, not one"):
        peer_of(certificate)
    others = (("IP Address", "10.0.0.1"), ("DNS", "node-a"))
    assert peer_of(certificate | {"subjectAltName": others}) == CertifiedPeer(A, 31)
    with pytest.raises(UsageError, match="has 0 DNS names"):
        peer_of({"serialNumber": "1F"})


URI = "ckptd-zone:row-1/rack-7"


@pytest.mark.parametrize(
    ("uris", "zone"),
    [
        ((), ()),
        ((URI,), ("row-1", "rack-7")),
        (("https://example.org/row-2", URI), ("row-1", "rack-7")),
        ((URI, URI), ()),
        (("ckptd-zone:",), ()),
        (("ckptd-zone:row 1",), ()),
        (("ckptd-zone:../a//b",), ()),
        (("ckptd-zone:a/b/c/d/e",), ()),
    ],
)
def test_a_zone_that_a_peer_s_certificate_does_not_name_well_is_not_known(
    uris: tuple[str, ...], zone: tuple[str, ...]
) -> None:
    names = (("DNS", "node-a"), *(("URI", uri) for uri in uris))
    peer = peer_of({"subjectAltName": names, "serialNumber": "1F"})
    assert (peer.node, peer.zone) == (A, zone)


def test_a_node_does_not_start_with_a_zone_that_its_peers_do_not_understand(
    certificates: Certificates,
) -> None:
    files = certificates.files(A, zone=("row 1",))
    with pytest.raises(ConfigurationError, match=r"tls\.certificate .*row 1"):
        load(A, files)


def test_serial_numbers_are_revoked_line_by_line(certificates: Certificates) -> None:
    certificates.revoked.write_text("# of 2026\n1f\n\n  AB # node-b\n")
    assert load(A, certificates.files(A)).revoked == {31, 171}
    assert load(A, replace(certificates.files(A), revoked=None)).revoked == frozenset()
    with pytest.raises(ConfigurationError, match=r"tls\.revoked /nowhere: cannot be used: No such"):
        load(A, replace(certificates.files(A), revoked="/nowhere"))


def test_a_state_of_the_files_differs_from_every_other(certificates: Certificates) -> None:
    files = certificates.files(A)
    before = stamps_of(files)
    assert stamps_of(files) == before == load(A, files).stamps
    assert len(before) == 4
    assert len(stamps_of(replace(files, revoked=None))) == 3
    with certificates.revoked.open("a") as file:
        file.write("1\n")
    assert stamps_of(files)[:3] == before[:3]
    assert stamps_of(files)[3] != before[3]


def test_the_end_of_the_authority_is_that_of_the_one_that_signed(
    certificates: Certificates,
) -> None:
    """Two are in the file while one takes over from the other."""
    files = certificates.files(A)
    alone = load(A, files).not_after_s
    assert alone["node"] <= alone["ca"]
    other = certificates.another("other")
    with open(files.ca, "ab") as bundle:
        bundle.write(Path(other.certificate_path).read_bytes())
    assert load(A, files).not_after_s == alone
    assert load(A, files).serial == int(load(A, files).serial)
