"""Whom to ask back because a question came from there."""

from __future__ import annotations

from ckptd.core.peers.addresses import PeerAddress
from ckptd.core.peers.hints import Hints
from ckptd.model.ids import Origin
from ckptd.model.words import PeerState


def gone(host: str, port: int = 1) -> PeerAddress:
    return PeerAddress(host, (host, port), Origin(host), state=PeerState.UNREACHABLE)


def test_only_what_does_not_answer_is_asked_back_and_no_stranger() -> None:
    hints, one, two = Hints(), gone("x"), gone("y")
    hints.follow([one, two])
    for state in set(PeerState) - {PeerState.UNREACHABLE}:
        two.state = state
        assert hints.asked_by("y") == []
    assert hints.asked_by("x") == [one]
    assert hints.asked_by("stranger") == []
    hints.follow([two])
    one.hint_age = 0
    assert hints.asked_by("x") == []


def test_nobody_makes_this_node_dial_again_and_again_by_asking() -> None:
    hints, one = Hints(), gone("x")
    hints.follow([one])
    hints.failed(one)
    assert hints.asked_by("x")
    assert not hints.asked_by("x")
    hints.failed(one)
    assert not hints.asked_by("x"), "it was asked back just now"
    hints.failed(one)
    assert hints.asked_by("x"), "it was asked as usual meanwhile"


def test_of_many_addresses_of_one_host_some_are_asked_back_at_a_time() -> None:
    hints = Hints()
    hints.follow([gone("x", port) for port in range(40)])
    assert [len(hints.asked_by("x")) for _ in range(4)] == [16, 16, 8, 0]
