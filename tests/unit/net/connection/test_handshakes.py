from __future__ import annotations

import logging
import ssl

import pytest

from ckptd.model.words import HandshakeFailure, HandshakeSide
from ckptd.net.connection.handshakes import HandshakeFailed, Handshakes, failure_of, trouble_of

HERE, THERE = ("10.0.0.1", 7421), ("10.0.0.2", 7421)
EXPIRED = HandshakeFailed(HandshakeFailure.EXPIRED, "node-b")
UNTRUSTED = HandshakeFailed(HandshakeFailure.UNTRUSTED)


class Clock:
    """Stands still until it is told otherwise."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handshakes(clock: Clock) -> Handshakes:
    return Handshakes(clock)


def test_every_failure_is_counted_and_one_line_a_minute_is_logged(
    handshakes: Handshakes, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(120):
        handshakes.note(HandshakeSide.SERVER, HERE, EXPIRED)
        handshakes.note(
            HandshakeSide.SERVER, ("10.0.0.1", 5), EXPIRED
        )  # the port of a dialler is chance
        handshakes.note(HandshakeSide.SERVER, HERE, UNTRUSTED)
        clock.now_s += 1
    assert handshakes.failures == {("server", "expired"): 240, ("server", "untrusted"): 120}
    assert len(caplog.records) == 4
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_line_says_who_why_and_what_to_do(
    handshakes: Handshakes, caplog: pytest.LogCaptureFixture
) -> None:
    handshakes.note(HandshakeSide.CLIENT, HERE, EXPIRED)
    (line,) = caplog.messages
    assert line.startswith("10.0.0.1 port 7421, as client: TLS handshake failed: expired (node-b).")
    assert "ckptctl tls renew" in line


@pytest.mark.parametrize("failure", HandshakeFailure)
def test_every_reason_has_a_remedy(failure: HandshakeFailure) -> None:
    assert str(HandshakeFailed(failure)).endswith(".")


def test_after_a_failure_an_address_is_left_alone_for_five_seconds(
    handshakes: Handshakes, clock: Clock
) -> None:
    handshakes.check_dial(HERE)
    handshakes.note(HandshakeSide.CLIENT, HERE, EXPIRED)
    handshakes.check_dial(THERE)
    clock.now_s += 4.99
    with pytest.raises(HandshakeFailed, match=r"expired \(node-b\)"):
        handshakes.check_dial(HERE)
    clock.now_s += 0.01
    handshakes.check_dial(HERE)
    assert handshakes.failures == {("client", "expired"): 1}


def test_an_address_that_answers_may_be_dialled_again(handshakes: Handshakes) -> None:
    handshakes.note(HandshakeSide.CLIENT, HERE, EXPIRED)
    handshakes.forget(HERE)
    handshakes.check_dial(HERE)


def test_who_dials_this_node_in_vain_may_be_dialled(handshakes: Handshakes) -> None:
    handshakes.note(HandshakeSide.SERVER, HERE, EXPIRED)
    handshakes.check_dial(HERE)


def test_that_a_node_dialled_itself_is_no_failure_and_is_remembered(
    handshakes: Handshakes,
) -> None:
    for side in HandshakeSide:
        handshakes.note(side, HERE, HandshakeFailed(HandshakeFailure.SELF))
    assert not handshakes.failures
    with pytest.raises(HandshakeFailed):
        handshakes.check_dial(HERE)


def test_a_flood_of_addresses_is_not_remembered_for_ever(handshakes: Handshakes) -> None:
    for number in range(10_000):
        handshakes.note(HandshakeSide.CLIENT, (f"h{number}", 1), EXPIRED)
    assert len(handshakes._failed) == len(handshakes._logged_s) == 4096
    handshakes.check_dial(("h0", 1))
    with pytest.raises(HandshakeFailed):
        handshakes.check_dial(("h9999", 1))


def verification_error(code: int) -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code = code
    return error


def tls_error(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "x")
    error.reason = reason  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (verification_error(9), HandshakeFailure.NOT_YET_VALID),
        (verification_error(10), HandshakeFailure.EXPIRED),
        (verification_error(26), HandshakeFailure.PURPOSE),
        (verification_error(18), HandshakeFailure.UNTRUSTED),
        (ssl.SSLEOFError(), HandshakeFailure.DISCONNECTED),
        (ssl.SSLZeroReturnError(), HandshakeFailure.DISCONNECTED),
        (tls_error("PEER_DID_NOT_RETURN_A_CERTIFICATE"), HandshakeFailure.NO_CERTIFICATE),
        (tls_error("HTTP_REQUEST"), HandshakeFailure.PLAINTEXT),
        (tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), HandshakeFailure.PROTOCOL),
        (tls_error("TLSV1_ALERT_UNKNOWN_CA"), HandshakeFailure.REFUSED),
        (tls_error("NO_SHARED_CIPHER"), HandshakeFailure.PROTOCOL),
        (tls_error(None), HandshakeFailure.PROTOCOL),
    ],
)
def test_what_openssl_says_has_a_word_of_ours(
    error: ssl.SSLError, failure: HandshakeFailure
) -> None:
    assert failure_of(error) is failure


def test_an_address_is_logged_again_after_a_minute(
    handshakes: Handshakes, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for lines, after_s in ((1, 0.0), (1, 59.99), (2, 0.01), (2, 59.0)):
        clock.now_s += after_s
        handshakes.note(HandshakeSide.SERVER, HERE, EXPIRED)
        assert len(caplog.records) == lines


def test_an_address_that_fails_again_is_remembered_longer(handshakes: Handshakes) -> None:
    handshakes.note(HandshakeSide.CLIENT, HERE, EXPIRED)
    for number in range(4095):
        handshakes.note(HandshakeSide.CLIENT, (f"h{number}", 1), EXPIRED)
    handshakes.note(HandshakeSide.CLIENT, HERE, EXPIRED)
    handshakes.note(HandshakeSide.CLIENT, THERE, EXPIRED)
    with pytest.raises(HandshakeFailed):
        handshakes.check_dial(HERE)
    handshakes.check_dial(("h0", 1))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EXPIRED, "its certificate has expired"),
        (
            HandshakeFailed(HandshakeFailure.NOT_YET_VALID),
            "its certificate is not valid yet (is the clock right?)",
        ),
        (UNTRUSTED, str(UNTRUSTED)),
        (TimeoutError(), "it does not answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (ConnectionError("10.0.0.1 port 1: gone"), "10.0.0.1 port 1: gone"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
    ids=str,
)
def test_why_nothing_came_is_said_in_few_words(error: Exception, words: str) -> None:
    assert trouble_of(error) == words
