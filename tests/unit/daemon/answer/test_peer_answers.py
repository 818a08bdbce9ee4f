"""Peers as the control socket shows them."""

from types import SimpleNamespace
from typing import Any

from ckptd.core.peers.addresses import PeerAddress
from ckptd.core.peers.listing import ListedPeer
from ckptd.daemon.answer.peer_answers import _peer_rows
from ckptd.model.holdings import Holdings
from ckptd.model.ids import Epoch, NodeId, Origin
from ckptd.model.words import PeerState

A = ("10.0.0.1", 1)


def rows_of(*peers: ListedPeer) -> list[Any]:
    peering: Any = SimpleNamespace(peers=lambda: peers)
    return list(_peer_rows(peering, {}, {}, now=0))


def test_a_peer_that_does_not_answer_is_shown_with_its_node_id() -> None:
    gone = PeerAddress("b:1", A, Origin("b"), state=PeerState.UNREACHABLE, node=NodeId("node-b"))
    peer = ListedPeer("b:1", A, PeerState.UNREACHABLE, last_error="refused", addresses=(gone,))
    (row,) = rows_of(peer)
    assert (row.node, row.address, row.last_error) == ("node-b", "b:1", "refused")


def test_an_epoch_is_an_integer_that_every_reader_of_json_knows() -> None:
    said = Holdings(NodeId("node-b"), Epoch(2**63 - 2), 1, ())
    (row,) = rows_of(ListedPeer("b:1", A, PeerState.LIVE, said))
    assert row.epoch == 2**53 - 2
