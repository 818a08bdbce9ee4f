"""What is shown of recoveries that ended."""

from __future__ import annotations

import msgspec

from ckptd.core.report.verdicts import Explanation, PeerVerdict
from ckptd.daemon.answer.recovery_views import coding_of_ended, view_of_ended
from ckptd.daemon.recover.recoveries import EndedStory
from ckptd.model.ids import NodeId, PathId, RecoveryId
from ckptd.model.words import Result, Verdict
from ckptd.store.records.ended import EndedPhase
from tests.support.stores import ended

PLACED = EndedPhase(
    name="core", unit_count=2, total_bytes=600, left_bytes=0, complete_s=1.0, placed_s=1.5
)
STAGED = EndedPhase(
    name="rest", unit_count=1, total_bytes=400, left_bytes=30, complete_s=None, placed_s=None
)


def left(result: Result) -> list[int]:
    """Return what is left of everything, then of each phase."""
    record = msgspec.structs.replace(
        ended(RecoveryId("r-1")), result=result, phases=(PLACED, STAGED)
    )
    view = view_of_ended(record)
    return [view.bytes_left, *(phase.bytes_left for phase in view.phases)]


def test_of_what_was_cancelled_nothing_is_here_of_any_phase() -> None:
    assert left(Result.CANCELLED) == [1000, 600, 400]


def test_of_what_failed_the_phases_stay_that_were_placed() -> None:
    assert left(Result.FAILED)[1:] == [0, 400]


def peer(path: str, verified_bytes: int) -> PeerVerdict:
    node = NodeId(path.split(maxsplit=1)[0])
    return PeerVerdict(node, PathId(path), Verdict.USED, "used", verified_bytes, 0)


def test_of_ended_ones_it_is_said_how_blocks_came_as_long_as_that_is_known() -> None:
    peers = (peer("n1 via eth1", 5), peer("n2", 0), peer("n3", 7))
    coding = {PathId("n1 via eth1"): "coded: it was better", PathId("n2"): "not coded: no"}
    story = EndedStory(Explanation(0, 1, None, peers, (), {}), 2.0, coding)
    found = coding_of_ended(story, "")
    assert found == {"n1": "coded: it was better", "n2": "not coded: no"}
    off = coding_of_ended(story, "not coded: switched off")
    assert off == {
        "n1": "not coded: switched off",
        "n2": "not coded: no",
        "n3": "not coded: switched off",
    }
    (row,) = view_of_ended(ended(RecoveryId("r-1")), found).sources
    assert (row.node, row.coding) == ("n1", "coded: it was better")
    (row,) = view_of_ended(ended(RecoveryId("r-1"))).sources
    assert row.coding == ""
