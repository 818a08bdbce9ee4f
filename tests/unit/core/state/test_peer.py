"""What a peer has of a version."""

from __future__ import annotations

from ckptd.core.state.peer import Peer
from ckptd.model.ids import Epoch
from tests.support.scheduling import A, holding, saved

VERSION, OTHER = saved(4), saved(5)


def test_it_has_what_it_said_it_has_and_nothing_of_a_version_that_is_not_chosen() -> None:
    held = holding(VERSION)
    peer = Peer(A, Epoch(1), holdings={VERSION.digest: held})
    assert peer.holding_of(VERSION.digest) == held
    assert peer.holding_of(OTHER.digest) is None
    assert peer.holding_of(None) is None
