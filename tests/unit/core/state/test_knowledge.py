from __future__ import annotations

from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.model.ids import Epoch
from tests.support.scheduling import A, B, further_path, holding, saved


def test_a_version_is_chosen_from_what_live_peers_hold() -> None:
    old, new = saved(1, version=1), saved(1, version=2)
    here = Peer(A, Epoch(1), holdings={each.digest: holding(each) for each in (old, new)})
    gone = Peer(B, Epoch(1), is_live=False, holdings={old.digest: holding(old)})
    state = State(peers={B: gone, A: here})
    assert list(state.live_holdings()) == [holding(old), holding(new)]


def test_a_node_holds_a_version_once_for_all_paths_to_it() -> None:
    version, state = saved(1), State()
    for path in (A, further_path(A, "x")):
        held = {version.digest: holding(version)}
        state.add_peer(Peer(A, Epoch(1), holdings=held, path=path))
    assert state.live_holdings() == [holding(version)]


def test_all_paths_to_a_node_are_known_until_they_are_forgotten() -> None:
    state, via = State(), further_path(A, "x")
    first, further = Peer(A, Epoch(1)), Peer(A, Epoch(1), path=via)
    for peer in (first, further, Peer(A, Epoch(2), path=via), Peer(B, Epoch(1))):
        state.add_peer(peer)
    assert state.paths == {A: [A, via], B: [B]}
    assert [peer.epoch for peer in state.on_other_paths(first)] == [2]
    state.peers[via].is_live = False
    assert list(state.on_other_paths(first)) == []
    state.forget_peer(A)
    assert state.paths == {A: [via], B: [B]}
    state.forget_peer(via)
    assert (state.paths, list(state.peers)) == ({B: [B]}, [B])
