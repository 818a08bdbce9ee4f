from __future__ import annotations

from random import Random

import pytest

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost
from ckptd.core.peers import following
from ckptd.core.peers.addresses import PeerAddress, PeerEntry
from ckptd.core.peers.consequences import (
    AddressLost,
    AskNow,
    Change,
    Consequence,
    DeltaUnfit,
    LookUpNow,
    PeerFound,
    Question,
)
from ckptd.core.peers.following import FOLLOWED_MAX, SETTLED_AFTER_NS, Following
from ckptd.core.peers.paths import PathEnd
from ckptd.limits import MS, SECOND
from ckptd.model.holdings import Holdings, HoldingsDelta
from ckptd.model.ids import Epoch, NodeId, Origin, PathId
from ckptd.model.words import PeerState

NOT_ALL = DiscoverySettled(is_everybody_heard=False)
ME, B, C = NodeId("me"), NodeId("b"), NodeId("c")


def peer(name: str, pinned: NodeId | None = None) -> PeerEntry:
    """An entry with one address."""
    return PeerEntry(name, (name, 1), pinned=pinned, addresses=((name, 1),), is_looked_up=True)


def says(node: NodeId, revision: int = 1, epoch: int = 5) -> Holdings:
    return Holdings(node, Epoch(epoch), revision, ())


def arrived(node: NodeId, name: str = "x", epoch: int = 5) -> HoldingsArrived:
    return HoldingsArrived(node, Epoch(epoch), (), node, Origin(name))


class Node:
    """A node that follows entries."""

    def __init__(self, *entries: PeerEntry) -> None:
        self.following = Following(ME, entries, Random(1))
        self.pause_ns = 0

    def at(self, *hosts: str) -> list[PeerAddress]:
        """Return what is known of addresses."""
        known = {address.address[0]: address for address in self.following.addresses()}
        return [known[host] for host in hosts]

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
    node = Node(peer("x"), peer("y"))
    (one,) = node.at("x")
    assert node.following.question(one) == Question(None, 0, is_first=True)
    assert node.hears(one, says(B)) == [PeerFound(B, "x"), arrived(B)]
    assert (one.state, one.etag, node.following.end_of(B)) == (
        PeerState.LIVE,
        "etag",
        PathEnd(B, ("x", 1)),
    )
    assert node.following.question(one) == Question("etag", 10 * SECOND, is_first=False)
    assert node.hears(one, None) == []
    assert 25 * MS <= node.pause_ns <= 50 * MS


def test_discovery_is_settled_when_the_last_address_was_asked_and_only_then() -> None:
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    assert DiscoverySettled() not in node.hears(one, says(B))
    lost = AddressLost("y", PeerState.UNREACHABLE, "gone")
    assert node.misses(two) == [lost, NOT_ALL]
    assert node.misses(two) == []
    assert node.hears(two, says(C))[-1] == DiscoverySettled()
    assert node.hears(two, None) == []
    assert node.misses(one)[-1] == NOT_ALL
    assert Following(ME, (), Random(1)).settled() == [DiscoverySettled()]


def test_an_address_that_was_asked_and_is_silent_is_waited_for_no_longer_than_that() -> None:
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    node.hears(one, says(B))
    assert node.following.settled() == []
    assert node.following.settle() == [NOT_ALL]
    assert node.following.settle() == []
    assert node.hears(two, says(C))[-1] == DiscoverySettled()
    assert SETTLED_AFTER_NS == 5 * SECOND, "as docs/policy.md says"


def test_pauses_after_failures_grow_up_to_three_seconds_and_an_answer_ends_that() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
    for most_ms in (250, 500, 1000):
        node.misses(one)
        assert most_ms * MS / 2 <= node.pause_ns <= most_ms * MS
    node.hears(one, says(B))
    node.misses(one)
    assert node.pause_ns <= 250 * MS


def test_who_is_lost_is_reported_once_and_not_where_it_was_any_more() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
    node.hears(one, says(B))
    lost = AddressLost("x", PeerState.UNREACHABLE, "gone")
    assert node.misses(one) == [lost, PeerLost(B), NOT_ALL]
    assert node.following.end_of(B) is None
    assert (one.holdings, one.etag, one.last_error) == (None, None, "gone")
    assert node.misses(one) == []
    assert node.hears(one, says(B)) == [PeerFound(B, "x"), arrived(B), DiscoverySettled()]


def test_a_question_that_this_node_could_not_ask_says_nothing_of_the_peer() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
    node.hears(one, says(B))
    step = node.following.postponed()
    assert step.consequences == []
    assert 0 < step.pause_ns <= 1 * SECOND
    assert (one.state, one.failures, one.etag) == (PeerState.LIVE, 0, "etag")


def test_a_peer_without_a_place_lives_and_what_it_said_stays() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
    node.hears(one, says(B))
    question = node.following.question(one)
    step = node.following.turned_away(one, question, "it is full", 7 * SECOND)
    assert step.consequences == []
    assert step.pause_ns > 3 * SECOND
    assert (one.state, one.failures, one.last_error) == (PeerState.LIVE, 0, "it is full")
    node.hears(one, None)
    assert one.last_error == ""


def test_a_peer_that_never_had_a_place_is_not_live() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
    step = node.following.turned_away(one, node.following.question(one), "it is full", SECOND)
    assert one.state is PeerState.UNREACHABLE
    assert AddressLost("x", PeerState.UNREACHABLE, "it is full") in step.consequences


def test_another_node_at_the_same_address_is_another_peer() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
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
    node = Node(peer("x", pinned))
    (one,) = node.at("x")
    assert node.hears(one, holdings) == [AddressLost("x", state, why), DiscoverySettled()]
    usual_ns = 300 * SECOND if state is PeerState.SELF else 30 * SECOND
    assert usual_ns / 2 <= node.pause_ns <= usual_ns


def test_a_second_daemon_of_one_name_is_a_conflict_and_the_first_one_counts() -> None:
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    node.hears(one, says(B))
    assert node.hears(two, says(B, epoch=6)) == [
        AddressLost("y", PeerState.CONFLICT, "it calls itself b, as x does"),
        DiscoverySettled(),
    ]
    assert node.following.end_of(B) == PathEnd(B, ("x", 1))
    assert 15 * SECOND <= node.pause_ns <= 30 * SECOND


def test_a_twin_is_asked_at_once_when_the_owner_of_its_id_is_lost() -> None:
    node = Node(peer("x"), peer("y"), peer("z"))
    one, two, three = node.at("x", "y", "z")
    node.hears(one, says(B))
    node.hears(two, says(B, epoch=6))
    node.hears(three, says(C))
    assert AskNow(two) in node.misses(one)
    twin = HoldingsArrived(B, Epoch(6), (), via(B, "y"), Origin("y"))
    assert twin in node.hears(two, says(B, epoch=6))
    assert node.hears(one, says(B))[0] == AddressLost(
        "x", PeerState.CONFLICT, "it calls itself b, as y does"
    )
    assert not any(isinstance(each, AskNow) for each in node.misses(three)), "it is no twin of c"


@pytest.mark.parametrize(
    ("is_proven", "distrusted", "is_taken"),
    [
        (False, {"x"}, True),
        (False, set(), False),
        (False, {"x", "y"}, False),
        (True, {"x"}, False),
    ],
)
def test_an_id_that_is_only_stated_is_taken_from_who_sent_bad_blocks(
    is_proven: bool, distrusted: set[str], is_taken: bool
) -> None:
    node = Node(peer("x"), peer("y"))
    node.following = Following(ME, (peer("x"), peer("y")), Random(1), is_proven=is_proven)
    node.following.is_distrusted = lambda origin: origin in distrusted
    squatter, owner = node.at("x", "y")
    node.hears(squatter, says(B))
    told = node.hears(owner, says(B, epoch=6))
    why = "it calls itself b, as y does, and sent bad blocks"
    assert (AddressLost("x", PeerState.CONFLICT, why) in told) is is_taken
    assert (owner.state is PeerState.LIVE) is is_taken
    assert (PeerLost(B) in told) is is_taken
    assert (squatter.state is PeerState.CONFLICT) is is_taken
    if is_taken:
        assert any(isinstance(each, HoldingsArrived) for each in told)
        node.hears(squatter, says(B))
        assert squatter.state is PeerState.CONFLICT, "nor does it get it back"


def test_a_twin_is_asked_at_once_when_the_owner_of_its_id_was_started_again() -> None:
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    node.hears(one, says(B))
    node.hears(two, says(B, epoch=6))
    assert node.hears(one, says(B, epoch=6)) == [arrived(B, epoch=6), AskNow(two)]


# Several addresses of one node


def via(node: NodeId, host: str) -> PathId:
    return PathId(f"{node} via {host}:1")


def test_a_second_address_of_one_daemon_is_a_path_of_its_own() -> None:
    node = Node(peer("x"), peer("y", B))
    one, two = node.at("x", "y")
    further = via(B, "y")
    assert node.hears(one, says(B)) == [PeerFound(B, "x"), arrived(B)]
    second = HoldingsArrived(B, Epoch(5), (), further, Origin("y"))
    assert node.hears(two, says(B)) == [PeerFound(B, "y"), second, DiscoverySettled()]
    assert (one.path, two.path) == (B, further)
    assert node.following.end_of(further) == PathEnd(B, ("y", 1))
    lost = AddressLost("x", PeerState.UNREACHABLE, "gone")
    assert node.misses(one) == [lost, PeerLost(B), NOT_ALL]
    assert (one.path, node.following.end_of(B)) == (None, None)
    assert node.hears(two, says(B, 2)) == [second], "it keeps its name"
    assert node.hears(one, says(B))[1] == arrived(B)


def test_with_certificates_all_paths_to_a_node_have_one_origin_else_each_its_own() -> None:
    for is_proven, origins in ((True, ["b", "b"]), (False, ["x", "y"])):
        node = Node()
        node.following = Following(ME, (peer("x"), peer("y")), Random(1), is_proven=is_proven)
        heard = [
            event.origin
            for address in node.following.addresses()
            for event in node.hears(address, says(B))
            if isinstance(event, HoldingsArrived)
        ]
        assert heard == origins


def test_a_node_that_was_started_again_is_found_on_all_its_paths() -> None:
    """On the first one it cannot be told from a twin until the others say the same."""
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    for each in (one, two):
        node.hears(each, says(B))
    heard = node.hears(one, says(B, epoch=6))
    assert heard[:2] == [
        AddressLost("x", PeerState.CONFLICT, "it calls itself b, as y does"),
        PeerLost(B),
    ]
    assert AskNow(two, is_open_ended=True) in heard
    assert one.state is PeerState.CONFLICT
    assert node.following.question(two).etag is None
    assert node.hears(two, says(B, epoch=6)) == [
        HoldingsArrived(B, Epoch(6), (), via(B, "y"), Origin("y")),
        AskNow(one),
    ]
    node.hears(one, says(B, epoch=6))
    assert (one.state, one.path) == (PeerState.LIVE, B)


# Names


def name(of: str = "svc", pinned: NodeId | None = None) -> PeerEntry:
    return PeerEntry(f"{of}:1", (of, 1), is_name=True, pinned=pinned)


def resolve(node: Node, *hosts: str) -> Change:
    (entry,) = (entry for entry in node.following.entries() if entry.is_name)
    return node.following.resolved(entry, tuple((host, 1) for host in hosts))


def test_every_address_of_a_name_is_asked_and_may_be_a_node_of_its_own() -> None:
    node = Node(name())
    assert node.following.addresses() == ()
    assert node.following.settled() == []
    change = resolve(node, "x", "y", "z")
    assert [each.name for each in change.joined] == ["svc:1 (x)", "svc:1 (y)", "svc:1 (z)"]
    one, two, three = change.joined
    assert node.hears(one, says(B))[1] == arrived(B, "svc:1 at x")
    assert node.hears(two, says(C))[1] == arrived(C, "svc:1 at y")
    node.hears(three, says(ME))
    assert [(each.name, each.state) for each in node.following.peers()] == [
        ("svc:1 (x)", PeerState.LIVE),
        ("svc:1 (y)", PeerState.LIVE),
        ("svc:1 (z)", PeerState.SELF),
    ]


def test_a_name_with_one_address_is_blamed_by_its_name() -> None:
    node = Node(name())
    (one,) = resolve(node, "x").joined
    assert node.hears(one, says(B))[1] == arrived(B, "svc:1")
    (other,) = resolve(node, "y").joined
    assert other.origin == "svc:1", "an address that changes washes nobody clean"


def test_an_address_that_a_name_has_no_more_counts_until_the_next_look_up() -> None:
    node = Node(name())
    one, two = resolve(node, "x", "y").joined
    node.hears(one, says(B))
    node.misses(two)
    change = resolve(node, "z")
    assert [each.address[0] for each in change.left] == ["y"], "nobody answered there"
    assert [each.address[0] for each in change.joined] == ["z"]
    assert node.following.end_of(B) == PathEnd(B, ("x", 1))
    (entry,) = node.following.entries()
    assert node.following.look_up_pause_ns(entry) <= 10 * SECOND
    assert PeerLost(B) in resolve(node, "z").consequences
    assert node.following.end_of(B) is None
    assert node.following.look_up_pause_ns(entry) >= 20 * SECOND


def test_the_same_addresses_again_change_nothing() -> None:
    node = Node(name())
    one, _ = resolve(node, "x", "y").joined
    node.hears(one, says(B))
    assert resolve(node, "x", "y") == Change([], [], [])


def test_the_addresses_that_a_name_had_count_while_it_cannot_be_looked_up() -> None:
    node = Node(name())
    (one,) = resolve(node, "x").joined
    node.hears(one, says(B))
    (entry,) = node.following.entries()
    for _ in range(3):
        assert node.following.unresolved(entry, "silence") == []
    assert node.following.end_of(B) == PathEnd(B, ("x", 1))
    assert resolve(node, "x") == Change([], [], [])
    assert (entry.failures, entry.last_error) == (0, "")


def test_a_name_that_was_never_looked_up_is_an_address_that_was_not_asked() -> None:
    node = Node(name(), peer("x"))
    (one,) = node.at("x")
    assert DiscoverySettled() not in node.hears(one, says(B))
    entry, _ = node.following.entries()
    (listed, _) = node.following.peers()
    assert (listed.state, listed.last_error) == (PeerState.UNKNOWN, "its name is being looked up")
    lost = AddressLost("svc:1", PeerState.UNREACHABLE, "silence")
    assert node.following.unresolved(entry, "silence") == [lost, NOT_ALL]
    (listed, _) = node.following.peers()
    assert (listed.state, listed.last_error) == (PeerState.UNREACHABLE, "silence")


def test_who_is_lost_may_be_where_its_name_leads_by_now() -> None:
    node = Node(name())
    (entry,) = node.following.entries()
    (one,) = resolve(node, "x").joined
    node.hears(one, says(B))
    assert LookUpNow(entry) in node.misses(one)
    assert not any(isinstance(each, LookUpNow) for each in node.misses(one))


def test_one_address_to_which_two_entries_lead_is_asked_once() -> None:
    node = Node(peer("x"), name())
    change = resolve(node, "x", "y")
    assert [each.address[0] for each in change.joined] == ["y"]
    assert len(node.following.addresses()) == 2
    node.hears(node.at("x")[0], says(B))
    pinned = PeerEntry("c@x", ("x", 1), pinned=C, addresses=(("x", 1),), is_looked_up=True)
    changed = node.following.change([peer("x"), pinned])
    assert [each.address[0] for each in changed.left] == ["x", "y"]
    assert PeerLost(B) in changed.consequences, "it is another node that must answer there now"
    assert [each.pinned for each in changed.joined] == [C]


def test_a_pin_counts_for_every_address_of_a_name() -> None:
    node = Node(name(pinned=B))
    one, two = resolve(node, "x", "y").joined
    node.hears(one, says(B))
    node.hears(two, says(C))
    assert (two.state, two.last_error) == (PeerState.CONFLICT, "it is c, not b")


def test_all_addresses_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PEERS_MAX", 4)
    node = Node(peer("x"), peer("y"), name())
    resolve(node, *(f"h{number}" for number in range(9)))
    assert len(node.following.addresses()) == 4


# Peers that start


def test_an_address_that_asks_is_asked_back_at_once_if_it_did_not_answer() -> None:
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    node.misses(one)
    node.hears(two, says(B))
    assert node.following.hints.asked_by("x") == [one]
    assert node.following.hints.asked_by("y") == [], "it answers already"
    assert node.following.hints.asked_by("stranger") == []


def test_a_handshake_that_failed_waits_for_a_person() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
    question = node.following.question(one)
    step = node.following.refused(one, question, "expired", is_self=False)
    assert step.consequences[0] == AddressLost("x", PeerState.UNREACHABLE, "expired")
    assert 5 * SECOND <= step.pause_ns <= 10 * SECOND
    step = node.following.refused(one, question, "itself", is_self=True)
    assert one.state is PeerState.SELF
    assert 150 * SECOND <= step.pause_ns <= 300 * SECOND, "it does not dial itself over and over"


def test_a_delta_that_does_not_fit_makes_the_next_question_one_for_everything() -> None:
    node = Node(peer("x"))
    (one,) = node.at("x")
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
    node = Node(*(peer(f"p{number}") for number in range(12)))
    addresses = node.following.addresses()
    for number, address in enumerate(addresses):
        node.hears(address, says(NodeId(f"n{number}")))
    kept = 0
    for address in addresses:
        question = node.following.question(address)
        step = node.following.answered(address, question, None, "etag")
        kept += bool(question.wait_ns)
        assert (step.pause_ns >= 7.5 * SECOND) == (not question.wait_ns)
    assert 2 <= kept < 12
    assert len(node.following._open._places) == 2


def test_with_more_peers_pauses_are_longer_up_to_those_that_are_followed() -> None:
    pauses_ms = []
    for count in (1, 20, 40, FOLLOWED_MAX, 1000):
        node = Node(*(peer(f"p{number}") for number in range(count)))
        addresses = node.following.addresses()
        node.hears(addresses[0], says(B))
        pauses_ms.append(node.pause_ns / MS)
    for pause_ms, most_ms in zip(pauses_ms, (50, 50, 100, 160, 160), strict=True):
        assert most_ms / 2 <= pause_ms <= most_ms


def test_another_list_leaves_those_alone_that_stay() -> None:
    node = Node(peer("x"), peer("y"))
    one, two = node.at("x", "y")
    node.hears(one, says(B))
    node.hears(two, says(C))
    change = node.following.change([peer("z"), peer("y")])
    (three,) = node.at("z")
    assert (change.left, change.joined) == ([one], [three])
    why = "it was taken out of the configuration"
    lost = AddressLost("x", PeerState.UNREACHABLE, why)
    assert change.consequences == [lost, PeerLost(B), NOT_ALL]
    assert node.following.addresses() == (three, two)
    assert [peer.name for peer in node.following.peers()] == ["z", "y"]
    assert node.following.end_of(C) == PathEnd(C, ("y", 1))
    assert node.following.change([peer("y")]).consequences[-1] == DiscoverySettled()


class Drawing(Random):
    """Draws always the same."""

    drawn = 0.0

    def random(self) -> float:
        return self.drawn


def test_the_place_of_a_followed_peer_is_taken_by_lot_and_free_once_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "FOLLOWED_MAX", 1)
    node, rng = Node(), Drawing(1)
    node.following = Following(ME, [peer("x"), peer("y")], rng)
    one, two = node.at("x", "y")
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
