"""Who may be asked for what."""

from __future__ import annotations

import pytest

from ckptd.core.options import Options
from ckptd.core.state import eligibility
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.link import Link
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, LaneId, TransferId
from tests.support.scheduling import OF_A, OF_B, A, R, adjusted, blocks, holding, saved, wanted

VERSION = saved(8)
OPTIONS = adjusted(Options(), lanes={"ranges_per_lane": 2}, ranges={"window_ns": 2 * SECOND})


def recovering() -> Recovery:
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    recovery = Recovery(wanted(VERSION), 1, 0, digest=VERSION.digest, described=described)
    recovery.coverage.unclaimed = blocks((2, 8))
    return recovery


def peer(held: BlockSet | None = None) -> Peer:
    return Peer(A, Epoch(1), holdings={VERSION.digest: holding(VERSION, held)})


def lane(*, ranges: int = 0, has_body: bool = True, number: int = 1) -> Lane:
    made = Lane(LaneId(number), A, R, Link(), heard_ns=0, has_body=has_body)
    made.transfers.extend(
        Transfer(TransferId(number * 10 + each), BlockRun(0, 1), MIB, 0) for each in range(ranges)
    )
    return made


# What a peer can serve


@pytest.mark.parametrize(
    ("held", "refused", "expected"),
    [
        (None, None, (2, 8)),
        (blocks((0, 4)), None, (2, 4)),
        (blocks((0, 2)), None, None),
        (None, blocks((2, 5)), (5, 8)),
        (blocks((0, 4)), blocks((3, 8)), (2, 3)),
    ],
)
def test_a_peer_can_serve_what_it_has_is_unclaimed_and_was_not_wrong(
    held: BlockSet | None, refused: BlockSet | None, expected: tuple[int, int] | None
) -> None:
    recovery = recovering()
    if refused is not None:
        recovery.refused[OF_A] = refused
    recovery.refused[OF_B] = BlockSet.full(8)
    found = eligibility.servable(recovery, peer(held))
    assert found == (blocks(expected) if expected else BlockSet())


def test_a_peer_without_the_version_can_serve_nothing() -> None:
    assert eligibility.servable(recovering(), Peer(A, Epoch(1))) == BlockSet()


@pytest.mark.parametrize("held", [None, blocks((3, 6))])
def test_a_live_peer_holds_what_it_has_and_did_not_send_wrongly(held: BlockSet | None) -> None:
    recovery, known = recovering(), peer(held)
    recovery.refused[OF_A] = blocks((4, 5))
    assert eligibility.holds(recovery, known, 3)
    assert not eligibility.holds(recovery, known, 4)
    assert eligibility.holds(recovery, known, 6) is (held is None)
    assert eligibility.holds_any(recovery, known, blocks((4, 6)))
    assert not eligibility.holds_any(recovery, known, blocks((4, 5)))
    assert eligibility.holds_any(recovery, known, blocks((6, 8))) is (held is None)
    assert not eligibility.holds_any(recovery, known, BlockSet())
    assert list(eligibility.holders(recovery, [known], blocks((3, 4)))) == [known]
    known.is_live = False
    assert not eligibility.holds(recovery, known, 3)
    assert not eligibility.holds_any(recovery, known, blocks((4, 6)))
    assert list(eligibility.holders(recovery, [known], blocks((3, 4)))) == []


@pytest.mark.parametrize("held", [None, blocks((0, 8))])
def test_without_a_wrong_block_all_that_is_held_counts(held: BlockSet | None) -> None:
    recovery, known = recovering(), peer(held)
    assert eligibility.holds(recovery, known, 0)
    assert eligibility.holds_any(recovery, known, blocks((0, 1)))


def test_a_live_peer_without_the_version_holds_nothing() -> None:
    stranger = Peer(A, Epoch(1))
    assert not eligibility.holds(recovering(), stranger, 0)
    assert not eligibility.holds_any(recovering(), stranger, blocks((0, 1)))


# Whether it may be asked


def test_a_peer_that_rests_is_gone_or_is_questioned_is_not_asked() -> None:
    recovery = recovering()
    assert eligibility.may_be_asked(recovery, peer(), now=5)
    resting = peer()
    resting.link.usable_at_ns = 6
    assert not eligibility.may_be_asked(recovery, resting, now=5)
    assert eligibility.may_be_asked(recovery, resting, now=6)
    gone = peer()
    gone.is_live = False
    assert not eligibility.may_be_asked(recovery, gone, now=5)
    questioned = peer()
    questioned.standing.questioned[VERSION.digest] = blocks((0, 1))
    assert not eligibility.may_be_asked(recovery, questioned, now=5)
    other = peer()
    other.standing.questioned[saved(3).digest] = blocks((0, 1))
    assert eligibility.may_be_asked(recovery, other, now=5)


# Room


def test_the_lane_with_least_to_do_takes_the_next_range() -> None:
    busy, idle = lane(ranges=1, number=1), lane(number=2)
    assert eligibility.lane_with_room(Bundle([busy, idle]), OPTIONS) is idle
    assert eligibility.lane_with_room(Bundle([idle, busy]), OPTIONS) is idle
    assert eligibility.lane_with_room(Bundle([busy]), OPTIONS) is busy
    first, second = lane(number=1), lane(number=2)
    assert eligibility.lane_with_room(Bundle([first, second]), OPTIONS) is first


@pytest.mark.parametrize(
    "full",
    [lane(ranges=2), lane(ranges=3), lane(ranges=1, has_body=False)],
    ids=["two ranges", "three ranges", "the first byte has not come"],
)
def test_a_lane_that_is_full_takes_none(full: Lane) -> None:
    assert eligibility.lane_with_room(Bundle([full]), OPTIONS) is None


def test_a_lane_that_never_answered_takes_its_first_range() -> None:
    new = lane(has_body=False)
    assert eligibility.lane_with_room(Bundle([new]), OPTIONS) is new


def test_a_lane_that_is_to_end_takes_none() -> None:
    closing, surplus = lane(number=1), lane(number=2)
    closing.is_closing = True
    surplus.is_surplus = True
    assert eligibility.lane_with_room(Bundle([closing, surplus]), OPTIONS) is None


def test_a_source_without_a_lane_has_room_unless_it_has_much_to_do() -> None:
    recovery, known = recovering(), peer()
    assert eligibility.has_room(recovery, known, OPTIONS, now=0)
    known.link.outstanding_bytes = 1 << 40
    known.link.rate.bytes_per_s = MIB
    assert known.link.queue_time_ns(OPTIONS) >= OPTIONS.ranges.window_ns
    assert not eligibility.has_room(recovery, known, OPTIONS, now=0)


def test_what_a_source_has_to_do_may_take_just_less_than_the_window() -> None:
    recovery, known = recovering(), peer()
    known.link.outstanding_bytes = 5 * MIB
    known.link.rate.bytes_per_s = MIB
    exactly = adjusted(OPTIONS, ranges={"window_ns": known.link.queue_time_ns(OPTIONS)})
    assert not eligibility.has_room(recovery, known, exactly, now=0)
    more = adjusted(exactly, ranges={"window_ns": exactly.ranges.window_ns + 1})
    assert eligibility.has_room(recovery, known, more, now=0)


def test_an_idle_lane_has_room_however_much_its_source_has_to_do() -> None:
    recovery, known = recovering(), peer()
    known.link.outstanding_bytes = 1 << 40
    known.link.rate.bytes_per_s = MIB
    recovery.work.bundles[A] = Bundle([lane()])
    assert eligibility.has_room(recovery, known, OPTIONS, now=0)
    recovery.work.bundles[A] = Bundle([lane(ranges=1)])
    assert not eligibility.has_room(recovery, known, OPTIONS, now=0)


def test_where_every_lane_is_full_there_is_room_only_for_another_one() -> None:
    recovery, known = recovering(), peer()
    recovery.work.bundles[A] = Bundle([lane(ranges=2)])
    assert not eligibility.has_room(recovery, known, OPTIONS, now=0)
    recovery.work.bundles[A].width = 2
    assert eligibility.has_room(recovery, known, OPTIONS, now=0)


def test_a_peer_that_may_not_be_asked_has_no_room() -> None:
    recovery, known = recovering(), peer()
    recovery.work.bundles[A] = Bundle([lane()])
    known.is_live = False
    assert not eligibility.has_room(recovery, known, OPTIONS, now=0)
