from __future__ import annotations

from ckptd.core.report.views import SourceSnapshot
from ckptd.daemon.measure.quarantines import Quarantines
from ckptd.model.ids import Epoch, NodeId
from ckptd.model.words import SourceState


def peer(node: str, quarantines: int, *, epoch: int = 1) -> SourceSnapshot:
    return SourceSnapshot(
        NodeId(node), Epoch(epoch), SourceState.IDLE, 0, 0, 0, 0, NodeId(node), quarantines
    )


def test_quarantines_of_all_peers_are_added_up_once() -> None:
    known = Quarantines()
    assert known.look([peer("a", 1), peer("b", 0)]) == 1
    assert known.look([peer("a", 1), peer("b", 2)]) == 3
    assert known.look([peer("a", 1), peer("b", 2)]) == 3


def test_a_peer_that_restarts_takes_nothing_off_the_sum() -> None:
    known = Quarantines()
    known.look([peer("a", 2)])
    assert known.look([peer("a", 0, epoch=2)]) == 2
    assert known.look([peer("a", 1, epoch=2)]) == 3


def test_a_peer_that_was_forgotten_takes_nothing_off_the_sum() -> None:
    known = Quarantines()
    known.look([peer("a", 2)])
    assert known.look([]) == 2
    assert known.look([peer("a", 1, epoch=3)]) == 3
