from __future__ import annotations

from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.model.ids import Epoch
from tests.support.scheduling import A, B, holding, saved


def test_a_version_is_chosen_from_what_live_peers_hold() -> None:
    old, new = saved(1, version=1), saved(1, version=2)
    here = Peer(A, Epoch(1), holdings={each.digest: holding(each) for each in (old, new)})
    gone = Peer(B, Epoch(1), is_live=False, holdings={old.digest: holding(old)})
    state = State(peers={B: gone, A: here})
    assert list(state.live_holdings()) == [holding(old), holding(new)]
