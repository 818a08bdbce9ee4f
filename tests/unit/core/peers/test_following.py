from __future__ import annotations

from random import Random

import pytest

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost
from ckptd.core.peers import following
from ckptd.core.peers.following import (
    FOLLOWED_MAX,
    SETTLED_AFTER_NS,
    WAIT_NS,
    AddressLost,
    Consequence,
    DeltaUnfit,
    Following,
    PeerAddress,
    PeerFound,
    Question,
    back_off_ns,
    spread_ns,
)
from ckptd.core.peers.paths import PathEnd
from ckptd.limits import MS, SECOND
from ckptd.model.holdings import Holdings, HoldingsDelta
from ckptd.model.ids import Epoch, NodeId, Origin, PathId
from ckptd.model.words import PeerState

NOT_ALL = DiscoverySettled(is_everybody_heard=False)
ME, B, C = NodeId("me"), NodeId("b"), NodeId("c")


def peer(name: str, pinned: NodeId | None = None) -> PeerAddress:
    return PeerAddress(name, (name, 1), pinned)


def says(node: NodeId, revision: int = 1, epoch: int = 5) -> Holdings:
    return Holdings(node, Epoch(epoch), revision, ())


def arrived(node: NodeId, name: str = "x", epoch: int = 5) -> HoldingsArrived:
    return HoldingsArrived(node, Epoch(epoch), (), node, Origin(name))


class Node:
    """A node that follows addresses, and those."""

    def __init__(self, *addresses: PeerAddress) -> None:
        self.following = Following(ME, addresses, Random(1))
        self.pause_ns = 0

    def hears(self, address: PeerAddress, holdings: Holdings | None) -> list[Consequence]:
        question = self.following.question(address)
        step = self.following.answered(address, question, holdings, "etag")
        self.pause_ns = step.pause_ns
        return step.consequences

    def misses(self, address: PeerAddress) -> list[Consequence]:
        question = self.following.question(address)
        step = self.following.failed(address, question, "gone")
        self.pause_ns = step.pause_ns
        return step.consequences


def test_what_an_address_says_is_believed_and_it_is_where_the_node_is() -> None:
    one, two = peer("x"), peer("y")
    node = Node(one, two)
    assert node.following.question(one) == Question(None, 0, is_first=True)
    assert node.hears(one, says(B)) == [PeerFound(B, "x"), arrived(B)]
    assert (one.state, one.etag, node.following.end_of(B)) == (
        PeerState.LIVE,
        "etag",
        PathEnd(B, ("x", 1)),
    )
    assert node.following.question(one) == Question("etag", WAIT_NS, is_first=False)
    assert node.hears(one, None) == []
    assert 25 * MS <= node.pause_ns <= 50 * MS


def test_discovery_is_settled_when_the_last_address_was_asked_and_only_then() -> None:
    one, two = peer("x"), peer("y")
    node = Node(one, two)
    assert DiscoverySettled() not in node.hears(one, says(B))
    lost = AddressLost("y", PeerState.UNREACHABLE, "gone")
    assert node.misses(two) == [lost, NOT_ALL]
    assert node.misses(two) == []
    assert node.hears(two, says(C))[-1] == DiscoverySettled()
    assert node.hears(two, None) == []
    assert node.misses(one)[-1] == NOT_ALL
    assert Following(ME, (), Random(1)).settled() == [DiscoverySettled()]


def test_an_address_that_was_asked_and_is_silent_is_waited_for_no_longer_than_that() -> None:
    one, two = peer("x"), peer("y")
    node = Node(one, two)
    node.hears(one, says(B))
    assert node.following.settled() == []
    assert node.following.settle() == [NOT_ALL]
    assert node.following.settle() == []
    assert node.hears(two, says(C))[-1] == DiscoverySettled()
    assert SETTLED_AFTER_NS == 5 * SECOND, "as docs/policy.md says"


def test_pauses_after_failures_grow_up_to_three_seconds_and_an_answer_ends_that() -> None:
    assert [back_off_ns(failures) // MS for failures in (0, 1, 2, 3, 4, 99)] == [
        250, 500, 1000, 2000, 3000, 3000,
    ]  # fmt: skip
    one = peer("x")
    node = Node(one)
    for most_ms in (250, 500, 1000):
        node.misses(one)
        assert most_ms * MS / 2 <= node.pause_ns <= most_ms * MS
    node.hears(one, says(B))
    node.misses(one)
    assert node.pause_ns <= 250 * MS


def test_who_is_lost_is_reported_once_and_not_where_it_was_any_more() -> None:
    one = peer("x")
    node = Node(one)
    node.hears(one, says(B))
    lost = AddressLost("x", PeerState.UNREACHABLE, "gone")
    assert node.misses(one) == [lost, PeerLost(B), NOT_ALL]
    assert node.following.end_of(B) is None
    assert (one.holdings, one.etag, one.last_error) == (None, None, "gone")
    assert node.misses(one) == []
    assert node.hears(one, says(B)) == [PeerFound(B, "x"), arrived(B), DiscoverySettled()]


def test_a_question_that_this_node_could_not_ask_says_nothing_of_the_peer() -> None:
    one = peer("x")
    node = Node(one)
    node.hears(one, says(B))
    step = node.following.postponed()
    assert step.consequences == []
    assert 0 < step.pause_ns <= 1 * SECOND
    assert (one.state, one.failures, one.etag) == (PeerState.LIVE, 0, "etag")


def test_a_peer_without_a_place_lives_and_what_it_said_stays() -> None:
    one = peer("x")
    node = Node(one)
    node.hears(one, says(B))
    question = node.following.question(one)
    step = node.following.turned_away(one, question, "it is full", 7 * SECOND)
    assert step.consequences == []
    assert step.pause_ns > 3 * SECOND
    assert (one.state, one.failures, one.last_error) == (PeerState.LIVE, 0, "it is full")
    node.hears(one, None)
    assert one.last_error == ""


def test_a_peer_that_never_had_a_place_is_not_live() -> None:
    one = peer("x")
    node = Node(one)
    step = node.following.turned_away(one, node.following.question(one), "it is full", SECOND)
    assert one.state is PeerState.UNREACHABLE
    assert AddressLost("x", PeerState.UNREACHABLE, "it is full") in step.consequences


def test_another_node_at_the_same_address_is_another_peer() -> None:
    one = peer("x")
    node = Node(one)
    node.hears(one, says(B))
    assert node.hears(one, says(C)) == [
        AddressLost("x", PeerState.UNREACHABLE, "another node answers there now"),
        PeerLost(B),
        PeerFound(C, "x"),
        arrived(C),
    ]
    assert node.following.end_of(B) is None


@pytest.mark.parametrize(
    ("pinned", "holdings", "state", "why"),
    [
        (None, says(ME), PeerState.SELF, "it is this node itself"),
        (C, says(B), PeerState.CONFLICT, "it is b, not c"),
    ],
)
def test_who_cannot_be_a_peer_is_not_believed(
    pinned: NodeId | None, holdings: Holdings, state: PeerState, why: str
) -> None:
    one = peer("x", pinned)
    node = Node(one)
    assert node.hears(one, holdings) == [AddressLost("x", state, why), DiscoverySettled()]
    assert 15 * SECOND <= node.pause_ns <= 30 * SECOND


def test_a_second_daemon_of_one_name_is_a_conflict_and_the_first_one_counts() -> None:
    one, two = peer("x"), peer("y")
    node = Node(one, two)
    node.hears(one, says(B))
    assert node.hears(two, says(B, epoch=6)) == [
        AddressLost("y", PeerState.CONFLICT, "it calls itself b, as x does"),
        DiscoverySettled(),
    ]
    assert node.following.end_of(B) == PathEnd(B, ("x", 1))


def test_a_second_address_of_one_daemon_is_a_path_of_its_own() -> None:
    one, two = peer("x"), peer("b@y", B)
    node = Node(one, two)
    via = PathId("b via y")
    assert node.hears(one, says(B)) == [PeerFound(B, "x"), arrived(B)]
    second = HoldingsArrived(B, Epoch(5), (), via, Origin("b@y"))
    assert node.hears(two, says(B)) == [PeerFound(B, "b@y"), second, DiscoverySettled()]
    assert (one.path, two.path) == (B, via)
    assert node.following.end_of(via) == PathEnd(B, ("b@y", 1))
    lost = AddressLost("x", PeerState.UNREACHABLE, "gone")
    assert node.misses(one) == [lost, PeerLost(B), NOT_ALL]
    assert (one.path, node.following.end_of(B)) == (None, None)
    assert node.hears(two, says(B, 2)) == [second], "it keeps its name"
    assert node.hears(one, says(B))[1] == arrived(B)


def test_after_a_restart_a_node_is_followed_again_on_the_path_that_is_heard_of_first() -> None:
    one, two = peer("x"), peer("y")
    node = Node(one, two)
    node.hears(one, says(B))
    node.hears(two, says(B))
    assert node.hears(one, says(B, epoch=6))[:2] == [
        AddressLost("x", PeerState.CONFLICT, "it calls itself b, as y does"),
        PeerLost(B),
    ]
    node.misses(two)
    assert node.hears(two, says(B, epoch=6))[0] == PeerFound(B, "y")
    assert node.hears(one, says(B, epoch=6))[0] == PeerFound(B, "x")


def test_with_certificates_all_paths_to_a_node_have_one_origin_else_each_its_own() -> None:
    for is_proven, origins in ((True, ["b", "b"]), (False, ["x", "y"])):
        node = Node(peer("x"), peer("y"))
        node.following = Following(ME, (peer("x"), peer("y")), Random(1), is_proven=is_proven)
        heard = [
            event.origin
            for address in node.following.peers()
            for event in node.hears(address, says(B))
            if isinstance(event, HoldingsArrived)
        ]
        assert heard == origins


def test_a_handshake_that_failed_waits_for_a_person() -> None:
    one = peer("x")
    node = Node(one)
    question = node.following.question(one)
    step = node.following.refused(one, question, "expired", is_self=False)
    assert step.consequences[0] == AddressLost("x", PeerState.UNREACHABLE, "expired")
    assert 5 * SECOND <= step.pause_ns <= 10 * SECOND
    step = node.following.refused(one, question, "itself", is_self=True)
    assert one.state is PeerState.SELF
    assert 15 * SECOND <= step.pause_ns <= 30 * SECOND


def test_a_delta_that_does_not_fit_makes_the_next_question_one_for_everything() -> None:
    one = peer("x")
    node = Node(one)
    node.hears(one, says(B, revision=1))
    question = node.following.question(one)
    fits = HoldingsDelta(B, Epoch(5), 1, 2, (), (), ())
    assert node.following.answered(one, question, fits, "e2").consequences == [arrived(B)]
    again = node.following.answered(one, node.following.question(one), fits, "e3")
    (unfit,) = again.consequences
    assert isinstance(unfit, DeltaUnfit)
    assert node.following.question(one).etag is None
    assert one.holdings == says(B, revision=2)


def test_questions_are_kept_open_at_some_and_all_others_are_asked_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "FOLLOWED_MAX", 2)
    addresses = [peer(f"p{number}") for number in range(12)]
    node = Node(*addresses)
    for number, address in enumerate(addresses):
        node.hears(address, says(NodeId(f"n{number}")))
    kept = 0
    for address in addresses:
        question = node.following.question(address)
        step = node.following.answered(address, question, None, "etag")
        kept += bool(question.wait_ns)
        assert (step.pause_ns >= 7.5 * SECOND) == (not question.wait_ns)
    assert 2 <= kept < 12
    assert len(node.following._followed) == 2


def test_with_more_peers_pauses_are_longer_up_to_those_that_are_followed() -> None:
    pauses_ms = []
    for count in (1, 20, 40, FOLLOWED_MAX, 1000):
        addresses = [peer(f"p{number}") for number in range(count)]
        node = Node(*addresses)
        node.hears(addresses[0], says(B))
        pauses_ms.append(node.pause_ns / MS)
    for pause_ms, most_ms in zip(pauses_ms, (50, 50, 100, 160, 160), strict=True):
        assert most_ms / 2 <= pause_ms <= most_ms


def test_another_list_leaves_those_alone_that_stay() -> None:
    one, two, three = peer("x"), peer("y"), peer("z")
    node = Node(one, two)
    node.hears(one, says(B))
    node.hears(two, says(C))
    change = node.following.change([three, peer("y")])
    assert (change.left, change.joined) == ([one], [three])
    why = "it was taken out of the configuration"
    lost = AddressLost("x", PeerState.UNREACHABLE, why)
    assert change.consequences == [lost, PeerLost(B), NOT_ALL]
    assert node.following.peers() == (three, two)
    assert node.following.end_of(C) == PathEnd(C, ("y", 1))
    assert node.following.change([peer("y")]).consequences[-1] == DiscoverySettled()


def test_a_pause_is_spread_between_half_of_it_and_all_of_it() -> None:
    pauses = [spread_ns(SECOND, Random(seed)) for seed in range(200)]
    assert SECOND / 2 <= min(pauses) < 0.55 * SECOND
    assert 0.95 * SECOND < max(pauses) <= SECOND


@pytest.mark.parametrize(("failures", "doublings"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_pauses_are_doubled_ten_times_at_most(
    monkeypatch: pytest.MonkeyPatch, failures: int, doublings: int
) -> None:
    monkeypatch.setattr(following, "_BACK_OFF_MAX_NS", 1 << 60)
    assert back_off_ns(failures) == 250 * MS << doublings


class Drawing(Random):
    """Draws always the same."""

    drawn = 0.0

    def random(self) -> float:
        return self.drawn


def test_the_place_of_a_followed_peer_is_taken_by_lot_and_free_once_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "FOLLOWED_MAX", 1)
    one, two = peer("x"), peer("y")
    node, rng = Node(), Drawing(1)
    node.following = Following(ME, [one, two], rng)
    node.hears(one, says(B))
    node.hears(two, says(C))

    def is_followed(address: PeerAddress) -> bool:
        return bool(node.following.question(address).wait_ns)

    rng.drawn = 0.5
    assert is_followed(one)
    assert not is_followed(two), "of two peers every second one is, below a half"
    assert is_followed(one), "nothing is drawn for who is"
    rng.drawn = 0.49
    assert is_followed(two)
    rng.drawn = 0.5
    assert not is_followed(one)
    node.misses(two)
    assert is_followed(one)
