"""What a peer has of a version."""

from __future__ import annotations

from ckptd.core.state.peer import Peer, once_for_each_node
from ckptd.model.ids import Epoch
from tests.support.scheduling import A, B, blocks, further_path, holding, saved

VERSION, OTHER = saved(4), saved(5)


def test_it_has_what_it_said_it_has_and_nothing_of_a_version_that_is_not_chosen() -> None:
    held = holding(VERSION)
    peer = Peer(A, Epoch(1), holdings={VERSION.digest: held})
    assert peer.holding_of(VERSION.digest) == held
    assert peer.holding_of(OTHER.digest) is None
    assert peer.holding_of(None) is None


def test_a_node_holds_a_version_once_however_many_paths_lead_to_it() -> None:
    part, other = holding(VERSION, blocks((0, 2))), holding(VERSION, blocks((1, 3)))
    said = [(A, part), (B, part), (A, other), (A, holding(OTHER)), (A, holding(OTHER))]
    assert once_for_each_node(said) == [
        holding(VERSION, blocks((0, 3))),
        part,
        holding(OTHER),
    ]


def test_a_peer_is_on_the_path_that_has_its_name_unless_it_is_said() -> None:
    first, further = Peer(A, Epoch(1)), Peer(A, Epoch(1), path=further_path(A, "x"))
    assert (first.path, first.origin) == ("a", "a")
    assert (further.node, further.path) == ("a", "a via x")
