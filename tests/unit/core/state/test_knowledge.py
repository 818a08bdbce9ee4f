from __future__ import annotations

from ckptd.core.options import Options
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.limits import PEERS_MAX
from ckptd.model.ids import Epoch, Origin
from tests.support.scheduling import OF_A, A, B, further_path, holding, saved


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


def test_what_is_held_against_an_origin_is_forgotten_last() -> None:
    state = State(peers={A: Peer(A, Epoch(1))})
    blamed, used = state.standing_of(Origin("liar")), state.standing_of(OF_A)
    blamed.blame(8, Options(), now=0)
    for index in range(PEERS_MAX):
        state.standing_of(Origin(f"h{index}"))
    assert len(state.standings) == PEERS_MAX
    assert state.standing_of(Origin("liar")) is blamed
    assert state.standing_of(OF_A) is used
    assert state.quarantine_count == 1


def test_quarantines_are_counted_though_a_standing_is_forgotten() -> None:
    state = State()
    for index in range(PEERS_MAX + 1):
        state.standing_of(Origin(f"h{index}")).blame(8, Options(), now=0)
    assert len(state.standings) == PEERS_MAX
    assert state.quarantine_count == PEERS_MAX + 1
