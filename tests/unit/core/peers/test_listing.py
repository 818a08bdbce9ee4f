"""Which addresses of an entry people see as one peer."""

from __future__ import annotations

import pytest

from ckptd.core.peers.addresses import PeerAddress, PeerEntry
from ckptd.core.peers.listing import ListedPeer, list_peers, one_each
from ckptd.model.holdings import Holdings
from ckptd.model.ids import Epoch, NodeId, Origin
from ckptd.model.words import PeerState

B, C = NodeId("b"), NodeId("c")
LIVE, SELF = PeerState.LIVE, PeerState.SELF
GONE, CONFLICT = PeerState.UNREACHABLE, PeerState.CONFLICT


def at(host: str, state: PeerState, node: NodeId | None = None) -> PeerAddress:
    said = Holdings(node, Epoch(5), 1, ()) if node is not None and state is LIVE else None
    why = "" if state is LIVE else f"{host} is gone"
    return PeerAddress(
        f"svc:1 ({host})", (host, 1), Origin(host), None, state, said, last_error=why, node=node
    )


def listed(*addresses: PeerAddress, pinned: NodeId | None = None) -> tuple[ListedPeer, ...]:
    entry = PeerEntry(
        "svc:1",
        ("svc", 1),
        is_name=True,
        pinned=pinned,
        addresses=tuple(each.address for each in addresses),
        is_looked_up=True,
    )
    return list_peers([entry], {each.address: each for each in addresses})


def rows(*addresses: PeerAddress, pinned: NodeId | None = None) -> list[tuple[str, PeerState]]:
    return [(peer.name, peer.state) for peer in listed(*addresses, pinned=pinned)]


def test_one_silent_address_of_a_node_that_answers_is_no_error_of_it() -> None:
    (peer,) = listed(at("6", GONE), at("4", LIVE, B))
    assert (peer.name, peer.address, peer.state, peer.last_error) == ("svc:1", ("4", 1), LIVE, "")
    assert peer.silent == "no answer at 6:1 (6 is gone)"
    assert peer.holdings is not None


def test_a_node_that_answers_at_all_its_addresses_is_one_peer() -> None:
    (peer,) = listed(at("6", LIVE, B), at("4", LIVE, B))
    assert (peer.name, len(peer.addresses), peer.silent) == ("svc:1", 2, "")


def test_a_name_of_several_nodes_is_several_peers_and_a_silent_one_is_another() -> None:
    assert rows(at("1", LIVE, B), at("2", LIVE, C), at("3", SELF), at("4", GONE)) == [
        ("svc:1 (1)", LIVE),
        ("svc:1 (2)", LIVE),
        ("svc:1 (3)", SELF),
        ("svc:1 (4)", GONE),
    ]
    assert rows(at("1", SELF), at("2", GONE)) == [("svc:1 (1)", SELF), ("svc:1 (2)", GONE)]


def test_what_was_another_node_is_another_peer_while_it_is_silent() -> None:
    assert rows(at("1", LIVE, B), at("2", GONE, C)) == [("svc:1 (1)", LIVE), ("svc:1 (2)", GONE)]
    assert rows(at("1", LIVE, B), at("2", GONE, B)) == [("svc:1", LIVE)]


def test_a_pinned_name_is_one_peer_and_who_else_answers_there_is_in_conflict() -> None:
    assert rows(at("1", LIVE, B), at("2", GONE), at("3", CONFLICT, C), pinned=B) == [
        ("svc:1 (1)", LIVE),
        ("svc:1 (3)", CONFLICT),
    ]


def test_a_name_of_which_no_address_answers_is_one_row() -> None:
    (peer,) = listed(at("1", GONE), at("2", PeerState.UNKNOWN))
    assert (peer.name, peer.state, peer.last_error) == ("svc:1", GONE, "1 is gone")
    assert peer.silent == ""


def test_of_many_silent_addresses_some_are_named() -> None:
    (peer,) = listed(at("4", LIVE, B), *(at(f"6{number}", GONE, B) for number in range(9)))
    assert peer.silent.endswith("63:1 (63 is gone) and 5 more")


@pytest.mark.parametrize(
    ("is_looked_up", "error", "state", "shown"),
    [
        (False, "", PeerState.UNKNOWN, "its name is being looked up"),
        (True, "svc cannot be looked up", GONE, "svc cannot be looked up"),
    ],
)
def test_a_name_without_addresses_says_why(
    is_looked_up: bool, error: str, state: PeerState, shown: str
) -> None:
    entry = PeerEntry(
        "svc:1", ("svc", 1), is_name=True, last_error=error, is_looked_up=is_looked_up
    )
    (peer,) = list_peers([entry], {})
    assert (peer.address, peer.state, peer.last_error) == (("svc", 1), state, shown)


def test_a_node_to_which_two_entries_lead_is_counted_once() -> None:
    peers = listed(at("1", LIVE, B), at("2", GONE, C)) * 2
    assert [(peer.name, peer.state) for peer in one_each(peers)] == [
        ("svc:1 (1)", LIVE),
        ("svc:1 (2)", GONE),
        ("svc:1 (2)", GONE),
    ]


def test_a_peer_that_does_not_answer_keeps_the_name_it_had() -> None:
    (gone,) = listed(at("10.0.0.1", GONE, B))
    assert gone.holdings is None
    assert gone.node == B
    (live,) = listed(at("10.0.0.1", LIVE, C))
    assert live.node == C
    assert listed(at("10.0.0.1", GONE))[0].node is None
    assert listed(at("10.0.0.1", CONFLICT, B))[0].node is None
