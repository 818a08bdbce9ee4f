"""The remedy fits the reason: a firewall is blamed for silence, and for nothing else."""

from __future__ import annotations

import errno
import os

import pytest

from ckptd.daemon.doctor.remedies import remedied
from ckptd.model.words import HandshakeFailure
from ckptd.net.connection.handshakes import HandshakeFailed, trouble_of

REFUSED = f"b port 7421: {os.strerror(errno.ECONNREFUSED)}"
DEAD_NAME = "b.example cannot be looked up: Name or service not known"
EXPIRED = (
    "this node's certificate has expired (renew it with 'ckptctl tls', or is the clock wrong?)"
)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (REFUSED, "Nothing listens there"),
        (DEAD_NAME, "getent hosts"),
        (f"b port 7421: {os.strerror(errno.EHOSTUNREACH)}", "route"),
        (f"b port 7421: {os.strerror(errno.ECONNRESET)}", "its log says why"),
        ("b port 7421 answers too slowly", "iperf3"),
        ("its certificate has expired", "Renew it there"),
        ("it is at its cap of connections", "Look at its log"),
    ],
)
def test_what_is_not_silence_is_not_blamed_on_a_firewall(reason: str, remedy: str) -> None:
    found = remedied(reason)
    assert found.why == reason
    assert remedy in found.remedy
    assert "firewall" not in found.remedy


@pytest.mark.parametrize("reason", ["b port 7421 does not answer", "no connection within 3 s"])
def test_silence_may_be_a_firewall(reason: str) -> None:
    assert "firewall" in remedied(reason).remedy


@pytest.mark.parametrize("failure", list(HandshakeFailure))
def test_a_handshake_that_failed_says_what_the_library_said_and_the_remedy_for_that(
    failure: HandshakeFailure,
) -> None:
    failed = HandshakeFailed(failure, "as the library said")
    found = remedied(str(failed))
    assert found.why == f"TLS handshake failed: {failure} (as the library said)"
    assert found.remedy
    assert str(failed) == f"{found.why}. {found.remedy}"


@pytest.mark.parametrize("failure", [HandshakeFailure.REFUSED, HandshakeFailure.EXPIRED])
def test_who_has_no_valid_certificate_does_not_blame_the_others(failure: HandshakeFailure) -> None:
    failed = HandshakeFailed(failure)
    for reason in (str(failed), f"TLS handshake failed: {trouble_of(failed)}"):
        found = remedied(reason, EXPIRED)
        assert found.why == EXPIRED
        assert "this node's certificate" in found.remedy
    assert remedied(REFUSED, EXPIRED).why == REFUSED, "a refusal has nothing to do with it"
