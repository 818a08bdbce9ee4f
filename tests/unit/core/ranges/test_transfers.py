"""Ranges in flight, as the scheduler sees them."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, CommitBlocks, ConfirmHolding
from ckptd.core.events import BlocksCommitted, HoldingConfirmed, RangeProgressed
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import LaneId
from ckptd.model.words import CloseReason, Confirmation, RangeOutcome, WasteReason
from tests.support.scheduling import (
    BROKEN_DISK,
    FOUR_AT_FIRST,
    NO_COMMITS,
    A,
    B,
    R,
    Script,
    adjusted,
    blocks,
    fetch,
    holding,
    holds,
    ranges,
    saved,
    whom,
)

FAILED, IDLE, NOT_WANTED, SILENT = (
    CloseReason.FAILED,
    CloseReason.IDLE,
    CloseReason.NOT_WANTED,
    CloseReason.SILENT,
)


# What comes in


def test_a_range_that_arrived_is_credited_to_its_source() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.deliver(order, after_ms=100)
    assert script.recovery().coverage.verified == blocks((0, 4))
    [source] = script.view().sources
    assert source.verified_bytes == script.view().received_bytes == 4 * MIB
    assert source.source.rate_bytes_per_s == 40 * MIB
    assert source.source.trust == 1


def test_bytes_of_an_unfinished_block_are_wasted_when_the_transfer_ends() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.tell(RangeProgressed(order.transfer, 2 * MIB + 1000, 2))
    script.end_all(RangeOutcome.DISCONNECTED)
    assert script.view().received_bytes == 2 * MIB + 1000
    assert script.view().wasted_bytes == {WasteReason.CANCELLED: 1000}
    assert script.view_source(A).in_flight_bytes == 0
    assert script.recovery().coverage.unclaimed == blocks((2, 64))


def test_blocks_that_a_range_reported_as_whole_did_not_bring_are_asked_for_again() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, ranges={"bytes_min": 4 * MIB})),
        saved(4),
    )
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert whom(script.end(order)) == [(A, (1, 4))]


@pytest.mark.parametrize("outcome", list(RangeOutcome))
def test_a_late_report_on_a_transfer_that_ended_changes_nothing(outcome: RangeOutcome) -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.deliver(order, after_ms=10)
    before = repr(script.scheduler.inspect())
    assert script.arrive(order) == []
    assert script.end(order, outcome, refusal=BROKEN_DISK) == []
    assert repr(script.scheduler.inspect()) == before


# Bad blocks


def test_a_bad_block_costs_that_block_and_its_source_is_asked_about_it() -> None:
    script, version = Script(), saved(8)
    first, other = ranges(script.start(version, A, B))
    assert whom([first, other]) == [(A, (0, 2)), (B, (2, 3))]
    assert script.arrive(first, 1, rejected=(0,)) == [
        ConfirmHolding(A, version.digest, blocks((0, 1)))
    ]
    assert script.arrive(first, 2) == []
    assert script.recovery().coverage.verified == blocks((1, 2))
    assert script.view().wasted_bytes == {WasteReason.CORRUPT: 1 * MIB}
    assert script.view().bad_blocks == 1
    # The bad block is the most urgent one left, and goes to the other source.
    assert whom(script.arrive(other)) == [(B, (0, 1))]


def test_a_source_in_question_gets_no_work_until_it_answered() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    assert script.arrive(order, 1, rejected=(0,)) == [
        ConfirmHolding(A, version.digest, blocks((0, 1)))
    ]
    assert script.deliver(order) == []
    assert script.wait(2000) == [CommitBlocks(R, blocks((1, 4)))]
    assert script.view().waiting_for == "sources to stand by their holdings"
    confirmed = HoldingConfirmed(A, version.digest, Confirmation.HELD)
    assert whom(script.tell(confirmed)) == [(A, (0, 1))]


def test_a_bad_block_is_not_asked_of_the_same_source_again_while_another_has_it() -> None:
    script, version = Script(), saved(2)
    [order] = ranges(script.start(version, A))
    script.tell(holds(B, version))
    script.arrive(order, rejected=(0,))
    script.end(order)
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    while script.in_flight:
        [order] = script.in_flight
        assert order.source == B
        script.deliver(order)


def test_where_no_other_source_is_left_one_that_sent_a_bad_block_gets_a_second_chance() -> None:
    script, version = Script(), saved(1)
    [order] = ranges(script.start(version, A, B))
    [other] = ranges(script.arrive(order, rejected=(0,)))
    script.end(order)
    script.arrive(other, rejected=(0,))
    script.end(other)
    [again] = ranges(script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD)))
    assert (again.source, again.blocks) == (A, (0, 1))
    assert script.view_source(A).trust == -script.options.trust.per_bad_block


def test_a_source_is_asked_once_however_many_bad_blocks_it_sent() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    assert script.arrive(order, 2, rejected=(0, 1)) == [
        ConfirmHolding(A, version.digest, blocks((0, 2)))
    ]
    assert script.arrive(order, 4, rejected=(3,)) == []
    script.end(order)
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    # Three bad blocks, and the range they were in does not count as good.
    assert script.view_source(A).trust == -3 * script.options.trust.per_bad_block


def test_a_block_that_was_bad_and_came_good_from_elsewhere_is_here() -> None:
    script, version = Script(), saved(1)
    [order] = ranges(script.start(version, A, B))
    assert script.arrive(order, rejected=(0,)) == [
        ConfirmHolding(A, version.digest, blocks((0, 1))),
        again := fetch(version, 2, B, (0, 1), lane=2),
    ]
    script.end(order)
    assert script.deliver(again) == [CommitBlocks(R, version.blocks)]


# How a transfer ends


def test_a_range_that_is_not_held_takes_its_units_from_the_offer_and_no_others() -> None:
    script, version = Script(), saved(2, 2, 8)
    [order] = ranges(script.start(version, A))
    assert order.blocks == BlockRun(0, 4)
    [other] = ranges(script.end(order, RangeOutcome.NOT_HELD))
    assert other.blocks.start >= 4
    assert script.scheduler.inspect().peers[A].holdings[version.digest].blocks == blocks((4, 12))


def test_what_a_source_said_since_it_was_asked_counts_more_than_its_answer() -> None:
    """One unit of the range was withdrawn: the source said so before it answered."""
    script, version = Script(), saved(2, 2, 8)
    [order] = ranges(script.start(version, A))
    left = blocks((0, 2), (4, 12))
    script.now_ms += 1
    script.tell(holds(A, holding(version, left)))
    script.end(order, RangeOutcome.NOT_HELD)
    assert script.scheduler.inspect().peers[A].holdings[version.digest].blocks == left
    while script.in_flight:
        script.deliver(script.in_flight[0])
    assert script.recovery().coverage.verified == left


@pytest.mark.parametrize("outcome", [RangeOutcome.DISCONNECTED, RangeOutcome.UNREACHABLE])
def test_a_connection_that_fails_rests_for_a_moment_and_others_take_over(
    outcome: RangeOutcome,
) -> None:
    script, version = Script(), saved(16)
    first, _ = ranges(script.start(version, A, B))
    assert script.end(first, outcome) == [CloseLane(LaneId(1), A, FAILED)]
    pause = script.scheduler.next_deadline()
    assert pause is not None
    assert 125 * MS <= pause - script.now <= 250 * MS
    assert whom(script.wait(250)) == [(A, (15, 16))], "a trial nobody waits for"
    assert script.view_source(A).trust == 0


def test_pauses_after_failures_double_up_to_ten_seconds() -> None:
    script, version = Script(), saved(16)
    script.start(version, A)
    pauses = []
    for _ in range(12):
        script.end_all(RangeOutcome.UNREACHABLE)
        deadline = script.scheduler.next_deadline()
        assert deadline is not None
        pauses.append(deadline - script.now)
        script.wake_at_deadline()
    usual = [min(250 * MS << index, 10 * SECOND) for index in range(12)]
    assert all(most / 2 <= pause <= most for most, pause in zip(usual, pauses, strict=True))


def test_a_range_that_fails_halfway_goes_on_behind_its_last_verified_block() -> None:
    script, version = Script(), saved(64)
    [first] = ranges(script.start(version, A))
    script.arrive(first, 3)
    script.end_all(RangeOutcome.DISCONNECTED)
    assert whom(script.wait(250))[0][1] == (3, 7)


def test_a_lane_that_breaks_is_blamed_once_for_all_its_ranges() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert len(script.in_flight) == 2
    assert script.end_all(RangeOutcome.DISCONNECTED) == [CloseLane(LaneId(1), A, FAILED)]
    assert script.scheduler.inspect().peers[A].link.failures == 1


def test_a_source_that_is_busy_is_left_alone_as_long_as_it_asks() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.end(order, RangeOutcome.BUSY, retry_after_ms=3000) == []
    assert script.wait(2999) == []
    assert script.wait(1500) == [fetch(version, 2, A, (0, 4), lane=1)], "on the same connection"
    assert script.view_source(A).trust == 0


def test_a_source_that_is_busy_is_no_disappointment() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    script.start(version, A, B)
    script.end(script.in_flight[0], RangeOutcome.BUSY, retry_after_ms=1000)
    link = script.scheduler.inspect().peers[A].link
    assert link.failures == 0
    script.wait(1500)
    assert any(known.source == A and known.blocks.block_count == 4 for known in script.in_flight), (
        "no trial with a single block"
    )


def test_a_source_that_stays_busy_is_asked_less_and_less_often() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    link = script.scheduler.inspect().peers[A].link
    for most_s in (1.5, 3, 6, 10, 10):
        script.end(order, RangeOutcome.BUSY, retry_after_ms=1000)
        assert most_s / 1.51 <= (link.usable_at_ns - script.now) / SECOND <= most_s
        while not (asked := ranges(script.wake_at_deadline())):
            pass
        [order] = asked
        assert link.usable_at_ns <= script.now
    script.arrive(order)
    script.end(order)
    assert link.refusals == 0


def test_a_source_that_does_not_have_it_is_not_asked_again_until_it_says_so() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.end(order, RangeOutcome.NOT_HELD) == []
    assert script.wait(3_600_000) == [CloseLane(LaneId(1), A, IDLE)]
    assert script.view_source(A).trust == 0
    assert whom(script.tell(holds(A, version))) == [(A, (0, 4))]


def test_a_source_that_breaks_the_protocol_is_blamed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.end(order, RangeOutcome.MISBEHAVED) == [CloseLane(LaneId(1), A, FAILED)]
    assert script.view_source(A).trust == -script.options.trust.per_bad_block
    assert script.wait(100) == []
    assert whom(script.wait(150)) == [(A, (0, 4))]


def test_a_good_range_makes_up_for_failures() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.end(order, RangeOutcome.DISCONNECTED)
    [order] = ranges(script.wait(250))
    script.deliver(order)
    peer = script.scheduler.inspect().peers[A]
    assert (peer.link.failures, peer.standing.trust) == (0, 1)


# Silence


def test_a_lane_that_falls_silent_in_mid_body_is_closed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, after_ms=900)
    assert script.wait(499) == []
    assert script.wait(1) == [CloseLane(LaneId(1), A, SILENT)]
    assert script.view_source(A).trust == 0


def test_what_a_silent_lane_owes_is_asked_of_another_source_at_once() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, ranges={"bytes_min": 4 * MIB})),
        saved(4),
    )
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.tell(holds(B, version)) == []
    assert script.wait(500) == [CloseLane(LaneId(1), A, SILENT)]
    assert script.end(order, RangeOutcome.CLOSED) == [fetch(version, 2, B, (1, 4), lane=2)]


def test_blocks_that_come_while_a_lane_is_closing_count() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, ranges={"bytes_min": 4 * MIB})),
        saved(4),
    )
    [order] = ranges(script.start(version, A, B))
    script.arrive(order, 1)
    script.wait(500)
    assert script.arrive(order, 3) == []
    assert whom(script.end(order, RangeOutcome.CLOSED)) == [(B, (3, 4))]


def test_a_first_byte_has_a_second_to_come() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.wait(999) == []
    assert script.wait(1) == [CloseLane(LaneId(1), A, SILENT)]
    assert script.end(order, RangeOutcome.CLOSED) == []


def test_patience_with_a_source_that_never_answers_grows_up_to_30_seconds() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    patience = []
    for _ in range(7):
        asked = script.now
        while not any(isinstance(effect, CloseLane) for effect in script.wait(500)):
            pass
        patience.append((script.now - asked) // SECOND)
        script.end_all(RangeOutcome.CLOSED)
        while not script.in_flight:
            script.wake_at_deadline()
    assert patience == [1, 2, 4, 8, 16, 30, 30]


def test_a_good_range_ends_the_patience_that_failures_earned() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    script.start(version, A)
    for _ in range(4):
        script.end_all(RangeOutcome.UNREACHABLE)
        script.wake_at_deadline()
    [order] = script.in_flight
    script.deliver(order, after_ms=10)
    close = CloseLane(script.lane(A).id, A, SILENT)
    assert close not in script.wait(999)
    assert close in script.wait(1)


def test_a_source_that_is_far_away_has_four_times_its_usual_latency() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, after_ms=800)
    script.deliver(order, after_ms=100)
    close = CloseLane(LaneId(1), A, SILENT)
    assert close not in script.wait(3199)
    assert close in script.wait(1)


def test_a_source_that_delivers_in_gulps_has_four_times_its_usual_gap() -> None:
    script = Script(options=adjusted(NO_COMMITS, ranges={"bytes_first": 64 * MIB}))
    version = saved(128)
    [order] = ranges(script.start(version, A))
    for block in range(1, 41):
        script.arrive(order, block, after_ms=400)
    close = CloseLane(LaneId(1), A, SILENT)
    assert close not in script.wait(1590)
    assert close in script.wait(10)


def test_the_next_range_of_a_lane_is_waited_for_from_when_its_turn_came() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    for block in range(1, 5):
        script.arrive(order, block, after_ms=250)
    script.end(order)
    close = CloseLane(LaneId(1), A, SILENT)
    assert close not in script.wait(999)
    assert close in script.wait(1)


def test_the_latency_of_a_range_that_had_to_queue_tells_nothing() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    [following] = ranges(script.arrive(order, 1, after_ms=40))
    script.deliver(order, after_ms=40)
    script.arrive(following, 5, after_ms=400)
    assert script.scheduler.inspect().peers[A].link.latency_ns == 40 * MS


def test_a_lane_without_work_is_closed_after_ten_seconds() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, holds(A, holding(version, blocks((0, 1))))))
    script.deliver(order)
    script.wait(1000)
    script.tell(BlocksCommitted(R))
    assert script.wait(8999) == []
    assert script.wait(1) == [CloseLane(LaneId(1), A, IDLE)]
    assert [order.lane for order in ranges(script.tell(holds(A, version)))] == [LaneId(2)]


# The disk


def test_a_commit_that_holds_every_lane_up_is_nobodys_fault() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, commits={"bytes_due": 2 * MIB})),
        saved(64),
    )
    first, other = ranges(script.start(version, A, B))
    script.arrive(first, 1)
    assert CommitBlocks(R, blocks((0, 1), (4, 5))) in script.arrive(other, 5)
    assert script.wait(60_000) == []
    assert script.tell(BlocksCommitted(R)) == []
    assert script.wait(499) == [], "silence counts from the end of the commit"
    assert script.wait(1) == [CloseLane(LaneId(1), A, SILENT), CloseLane(LaneId(2), B, SILENT)]


def test_a_disk_that_stops_in_the_middle_of_a_commit_is_nobodys_fault() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, commits={"bytes_due": 2 * MIB})),
        saved(64),
    )
    first, other = ranges(script.start(version, A, B))
    script.arrive(first, 1)
    assert CommitBlocks(R, blocks((0, 1), (4, 5))) in script.arrive(other, 5)
    script.arrive(first, 2, after_ms=10)
    assert script.wait(60_000) == []
    assert script.tell(BlocksCommitted(R)) == [CommitBlocks(R, blocks((1, 2)))]
    assert script.tell(BlocksCommitted(R)) == []
    assert script.wait(489) == []
    assert script.wait(1) == [CloseLane(LaneId(2), B, SILENT)], "it was silent for 10 ms before"


def test_a_range_ordered_while_the_disk_holds_lanes_up_does_not_make_them_late() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, commits={"bytes_due": 1 * MIB})),
        saved(64),
    )
    [order] = ranges(script.start(version, A))
    assert CommitBlocks(R, blocks((0, 1))) in script.arrive(order, 1)
    assert script.wait(60_000) == []
    [late] = script.tell(holds(B, version))
    assert whom([late]) == [(B, (8, 12))]
    assert script.tell(BlocksCommitted(R), after_ms=100) == []
    assert script.wait(499) == []
    assert script.wait(1) == [CloseLane(LaneId(1), A, SILENT)]


def test_a_lane_that_is_silent_while_others_deliver_is_late_even_during_a_commit() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, commits={"bytes_due": 2 * MIB})),
        saved(64),
    )
    first, other = ranges(script.start(version, A, B))
    script.arrive(first, 1)
    assert CommitBlocks(R, blocks((0, 1), (4, 5))) in script.arrive(other, 5)
    assert script.arrive(other, 6, after_ms=200) == []
    assert script.arrive(other, 7, after_ms=200) == []
    assert script.wait(99) == []
    assert CloseLane(LaneId(1), A, SILENT) in script.arrive(other, 8, after_ms=101)


def test_commits_in_quick_succession_do_not_hide_a_silent_lane() -> None:
    script, version = (
        Script(options=adjusted(FOUR_AT_FIRST, commits={"bytes_due": 1 * MIB})),
        saved(128),
    )
    first, order = ranges(script.start(version, A, B))
    script.arrive(first, 1)
    effects = []
    for _ in range(6):
        for block in range(order.blocks.start + 1, order.blocks.end + 1):
            effects += script.arrive(order, block, after_ms=25)
            effects += script.tell(BlocksCommitted(R), after_ms=1)
        effects += script.end(order)
        [order] = [known for known in script.in_flight if known.source == B][:1]
    assert CloseLane(LaneId(1), A, SILENT) in effects


def test_what_a_source_said_of_its_load_is_forgotten_once_it_rests() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    loaded = RangeProgressed(order.transfer, MIB, order.blocks.start + 1, (), 1024 * MIB)
    script.tell(loaded, after_ms=200)
    script.end_all(RangeOutcome.BUSY)
    assert ranges(script.wake_at_deadline()), "it would never be asked again"
