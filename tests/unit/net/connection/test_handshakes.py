from __future__ import annotations

import logging

import pytest

from ckptd.model.words import HandshakeFailure, HandshakeSide
from ckptd.net.connection.handshakes import HandshakeFailed, Handshakes

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


def test_a_flood_of_addresses_is_not_remembered_for_ever(handshakes: Handshakes) -> None:
    for number in range(10_000):
        handshakes.note(HandshakeSide.CLIENT, (f"h{number}", 1), EXPIRED)
    assert len(handshakes._failed) == len(handshakes._logged_s) == 4096
    handshakes.check_dial(("h0", 1))
    with pytest.raises(HandshakeFailed):
        handshakes.check_dial(("h9999", 1))
