"""Ranges in flight, one report at a time: what each changes in the books, and what it orders."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ckptd.core.events import RangeEnded, RangeProgressed, Refusal
from ckptd.core.options import Options
from ckptd.core.ranges.transfers import close_late_lanes, on_range_ended, on_range_progressed
from ckptd.core.state.lane import Lane, Transfer, Trial
from ckptd.core.state.link import Link
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.words import (
    CloseReason,
    Confirmation,
    Criticality,
    RangeOutcome,
    StoryKind,
    StoryReason,
    WasteReason,
)
from tests.support.scenes import Scene
from tests.support.scheduling import BROKEN_DISK, OF_A, A, B, R, adjusted, blocks, saved


class Flight(NamedTuple):
    """A lane to A owes two ranges of four blocks; nothing of them came for 100 ms."""

    scene: Scene
    recovery: Recovery
    source: Peer
    lane: Lane

    @property
    def first(self) -> Transfer:
        return self.lane.transfers[0]

    def progress(
        self,
        received_bytes: int,
        next_block: int = 0,
        rejected: tuple[int, ...] = (),
        *,
        source_load_bytes: int = 0,
        is_held_back: bool = False,
    ) -> None:
        event = RangeProgressed(
            self.first.id, received_bytes, next_block, rejected, source_load_bytes, is_held_back
        )
        on_range_progressed(self.scene.step, event)

    def end(self, outcome: RangeOutcome, place: int = 0, refusal: Refusal | None = None) -> None:
        ended = RangeEnded(self.lane.transfers[place].id, outcome, 0, refusal)
        on_range_ended(self.scene.step, ended)


def in_flight(*, has_body: bool = False, critical: tuple[int, ...] = ()) -> Flight:
    scene, version = Scene(), saved(16 - sum(critical), critical=critical)
    recovery = scene.recovery(version, unclaimed=blocks((8, 16)))
    source = scene.peer(A, version, rate=8 * MIB)
    lane = scene.lane(recovery, source, (0, 4), (4, 8), has_body=has_body)
    lane.heard_ns -= 100 * MS
    for rate in (source.link.rate, recovery.tally.rate):
        rate.begin(now=lane.heard_ns)
    return Flight(scene, recovery, source, lane)


def test_bytes_are_credited_to_the_recovery_the_link_and_the_lanes() -> None:
    flight = in_flight()
    flight.progress(1000)
    assert flight.first.received_bytes == 1000
    assert flight.recovery.work.owed_bytes == 8 * MIB - 1000
    assert flight.source.link.outstanding_bytes == 8 * MIB - 1000
    assert flight.recovery.tally.received_bytes == 1000
    assert flight.recovery.tally.rate.latest_bytes_per_s == 10_000
    assert flight.source.link.rate.latest_bytes_per_s == 10_000
    assert flight.recovery.work.bundles[A].received_bytes == 1000
    assert list(flight.scene.step.room) == [A]
    assert (flight.lane.heard_ns, flight.lane.has_body) == (flight.scene.now, True)
    assert flight.scene.state.lane_alarms.earliest() == flight.scene.now + 500 * MS
    flight.progress(3000)
    assert flight.recovery.tally.received_bytes == 3000
    assert flight.recovery.work.bundles[A].received_bytes == 3000
    assert flight.recovery.work.owed_bytes == 8 * MIB - 3000


@pytest.mark.parametrize(("received_bytes", "is_heard"), [(0, False), (1, True), (2, True)])
def test_a_report_without_new_bytes_is_no_sign_of_life(received_bytes: int, is_heard: bool) -> None:
    flight = in_flight()
    heard_ns = flight.lane.heard_ns
    flight.progress(received_bytes, source_load_bytes=10 * MIB)
    assert flight.lane.has_body is is_heard
    assert flight.lane.heard_ns == (flight.scene.now if is_heard else heard_ns)
    assert flight.source.link.load_bytes == 2 * MIB + received_bytes, "but what it says counts"


def test_a_report_that_nothing_is_taken_is_a_sign_of_life() -> None:
    flight = in_flight(has_body=True)
    flight.progress(0, is_held_back=True)
    assert flight.lane.heard_ns == flight.scene.now
    assert flight.scene.state.lane_alarms.earliest() == flight.scene.now + 500 * MS


@pytest.mark.parametrize(
    ("has_body", "is_prompt", "latency_ns", "gap_ns", "usual_ns"),
    [
        (False, True, 100 * MS, 0, True),
        (False, False, None, 0, None),
        (True, True, None, 25 * MS, None),
        (True, False, None, 25 * MS, None),
    ],
)
def test_first_bytes_tell_the_latency_and_others_the_gap(
    has_body: bool, is_prompt: bool, latency_ns: int | None, gap_ns: int, usual_ns: bool | None
) -> None:
    flight = in_flight(has_body=has_body)
    flight.first.is_prompt = is_prompt
    flight.progress(1)
    assert (flight.source.link.latency_ns, flight.source.link.gap_ns) == (latency_ns, gap_ns)
    assert (flight.scene.state.first_bytes.percentile_ns(0.5) is not None) is bool(usual_ns)


@pytest.mark.parametrize("is_held_up", [True, False])
def test_bytes_let_all_lanes_be_looked_at_again_if_the_disk_held_them_up(is_held_up: bool) -> None:
    flight = in_flight()
    other = flight.scene.lane(flight.recovery, flight.scene.peer(B, saved(16)), (8, 9))
    flight.recovery.work.is_held_up = is_held_up
    flight.progress(1)
    assert flight.lane.id in flight.scene.state.lane_alarms
    assert (other.id in flight.scene.state.lane_alarms) is is_held_up
    assert not flight.recovery.work.is_held_up


# Blocks


def test_blocks_wait_for_a_commit_from_when_the_first_of_them_was_verified() -> None:
    flight = in_flight()
    flight.progress(1 * MIB, 1)
    commit, now = flight.recovery.commit, flight.scene.now
    assert (commit.blocks, commit.size_bytes, commit.since_ns) == (blocks((0, 1)), MIB, now)
    assert not commit.is_urgent
    flight.scene.step.now += 1
    flight.progress(3 * MIB, 3)
    assert (commit.blocks, commit.size_bytes, commit.since_ns) == (blocks((0, 3)), 3 * MIB, now)
    assert flight.recovery.coverage.verified == blocks((0, 3))
    assert flight.recovery.tally.source_bytes == {A: 3 * MIB}
    assert flight.first.credited_bytes == 3 * MIB


@pytest.mark.parametrize(
    ("prioritized", "critical", "verified", "is_urgent"),
    [
        ([(0, 2)], (), [], True),
        ([(2, 3)], (), [], False),
        ([], (2,), [], True),
        ([], (3,), [], False),
        ([], (3,), [(2, 3)], True),
        ([], (), [], False),
    ],
)
def test_a_commit_is_urgent_with_what_somebody_waits_for_or_the_last_critical_block(
    prioritized: list[tuple[int, int]],
    critical: tuple[int, ...],
    verified: list[tuple[int, int]],
    is_urgent: bool,
) -> None:
    flight = in_flight(critical=critical)
    flight.recovery.coverage.prioritized = blocks(*prioritized)
    flight.recovery.coverage.verified = blocks(*verified)
    flight.progress(2 * MIB, 2)
    assert flight.recovery.commit.is_urgent is is_urgent
    left = blocks((2, 3)) if prioritized == [(2, 3)] else blocks()
    assert flight.recovery.coverage.prioritized == left


def test_normal_blocks_are_not_urgent_once_all_that_is_critical_is_here() -> None:
    flight = in_flight(critical=(1,))
    flight.recovery.coverage.verified = blocks((0, 1))
    flight.first.next_block = 1
    flight.progress(2 * MIB, 2)
    assert not flight.recovery.commit.is_urgent


@pytest.mark.parametrize(
    ("verified", "new", "wasted_bytes"),
    [
        ((4, 8), [(0, 2)], 0),
        ((1, 2), [(0, 1)], MIB),
        ((0, 2), [], 2 * MIB),
        ((0, 4), [], 2 * MIB),
    ],
)
def test_blocks_that_were_here_already_are_wasted(
    verified: tuple[int, int], new: list[tuple[int, int]], wasted_bytes: int
) -> None:
    flight = in_flight()
    flight.recovery.coverage.verified = blocks(verified)
    flight.progress(2 * MIB, 2)
    commit = flight.recovery.commit
    assert commit.blocks == blocks(*new)
    assert commit.size_bytes == 2 * MIB - wasted_bytes
    assert (commit.since_ns is not None) is bool(new)
    reasons = {WasteReason.DUPLICATE: wasted_bytes} if wasted_bytes else {}
    assert flight.recovery.tally.waste.by_reason == reasons
    assert flight.first.credited_bytes == 2 * MIB


def test_a_rejected_block_is_asked_of_others_unless_it_is_here_or_on_its_way() -> None:
    flight = in_flight()
    another = flight.scene.peer(B, saved(16))
    flight.scene.lane(flight.recovery, another, (1, 2))
    flight.recovery.coverage.verified = blocks((2, 3))
    flight.recovery.refused[OF_A] = blocks((9, 10))
    flight.progress(4 * MIB, 4, (0, 1, 2))
    assert flight.recovery.coverage.unclaimed == blocks((0, 1), (8, 16))
    assert flight.recovery.coverage.verified == blocks((2, 4))
    assert flight.recovery.commit.size_bytes == MIB
    assert flight.recovery.refused[OF_A] == blocks((0, 3), (9, 10))
    assert flight.recovery.tally.bad_blocks == 3
    assert flight.recovery.tally.waste.by_reason == {WasteReason.CORRUPT: 3 * MIB}
    assert flight.first.is_spoiled
    assert flight.scene.step.is_room_everywhere
    assert flight.source.standing.questioned != {}
    noted = flight.source.standing.evidence.last
    assert [bad.answer for bad in noted] == [Confirmation.PENDING] * 3
    assert [entry.kind for entry in flight.recovery.story.entries] == [StoryKind.BAD_BLOCKS]


def test_bad_blocks_of_an_epoch_that_is_over_are_on_record_and_to_be_proved() -> None:
    flight = in_flight()
    flight.source.link, flight.lane.origin = Link(), OF_A
    flight.scene.state.standings[OF_A] = flight.source.standing
    flight.progress(1 * MIB, 1, (0,))
    assert (flight.recovery.refused, flight.source.standing.questioned) == ({}, {})
    assert [bad.answer for bad in flight.source.standing.evidence.last] == [Confirmation.NO_ANSWER]
    [doubts] = flight.source.standing.doubts.values()
    assert (doubts.strikes, 0 in doubts.unproven) == (1, True)
    assert flight.source.standing.trust == 0


# Ends


def test_the_books_of_a_transfer_are_closed() -> None:
    flight = in_flight()
    ended = flight.first
    flight.progress(1 * MIB + 10, 1)
    flight.scene.step.room.clear()
    flight.end(RangeOutcome.CLOSED)
    work = flight.recovery.work
    assert (work.transfer_count, work.owed_bytes) == (1, 4 * MIB)
    assert flight.source.link.outstanding_bytes == 4 * MIB
    assert ended.id not in flight.scene.state.transfers
    assert ended not in flight.lane.transfers
    assert flight.recovery.tally.waste.by_reason == {WasteReason.CANCELLED: 10}
    assert flight.recovery.coverage.unclaimed == blocks((1, 4), (8, 16))
    assert flight.scene.step.is_room_everywhere
    assert A in flight.scene.step.room


def test_what_is_here_or_on_its_way_is_not_asked_for_when_a_transfer_ends() -> None:
    flight = in_flight()
    flight.scene.lane(flight.recovery, flight.scene.peer(B, saved(16)), (1, 2))
    flight.recovery.coverage.verified = blocks((2, 3))
    flight.end(RangeOutcome.BUSY)
    assert flight.recovery.coverage.unclaimed == blocks((0, 1), (3, 4), (8, 16))


def test_a_transfer_that_owes_nothing_changes_nothing_for_other_sources() -> None:
    flight = in_flight()
    flight.progress(4 * MIB, 4)
    flight.end(RangeOutcome.DELIVERED)
    assert flight.recovery.coverage.unclaimed == blocks((8, 16))
    assert flight.recovery.tally.waste.by_reason == {}
    assert not flight.scene.step.is_room_everywhere


@pytest.mark.parametrize(("place", "is_next"), [(0, True), (1, False)])
def test_the_next_range_is_waited_for_from_when_the_first_one_ended(
    place: int, is_next: bool
) -> None:
    flight = in_flight(has_body=True)
    heard_ns = flight.lane.heard_ns
    flight.end(RangeOutcome.BUSY, place)
    assert flight.lane.heard_ns == (flight.scene.now if is_next else heard_ns)
    assert flight.lane.has_body is not is_next


def test_a_source_rests_when_nothing_is_outstanding_any_more() -> None:
    flight = in_flight()
    flight.progress(0, source_load_bytes=10 * MIB)
    flight.end(RangeOutcome.NOT_HELD)
    assert flight.source.link.load_bytes == 2 * MIB
    flight.end(RangeOutcome.NOT_HELD)
    assert flight.source.link.load_bytes == 0
    # Time without work does not count.
    for rate in (flight.source.link.rate, flight.recovery.tally.rate):
        rate.begin(now=flight.scene.now + 9 * SECOND)
        rate.add(1000, now=flight.scene.now + 10 * SECOND)
        assert rate.latest_bytes_per_s == 1000


@pytest.mark.parametrize(
    ("outcome", "failures", "trust", "is_withdrawn", "is_closed", "reasons"),
    [
        (RangeOutcome.NOT_HELD, 0, 0, True, False, [StoryKind.WITHDRAWN]),
        (RangeOutcome.BUSY, 0, 0, False, False, [StoryKind.BACK_OFF]),
        (RangeOutcome.TURNED_AWAY, 0, 0, False, True, [StoryKind.BACK_OFF]),
        (RangeOutcome.MISBEHAVED, 1, -2, False, True, [StoryKind.BACK_OFF]),
        (RangeOutcome.DISCONNECTED, 1, 0, False, True, [StoryKind.BACK_OFF]),
        (RangeOutcome.UNREACHABLE, 1, 0, False, True, [StoryKind.BACK_OFF]),
        (RangeOutcome.STORE_FAILED, 0, 0, False, True, []),
        (RangeOutcome.SPOILED, 0, 0, False, True, []),
        (RangeOutcome.CLOSED, 0, 0, False, True, []),
        (RangeOutcome.DELIVERED, 0, 1, False, False, []),
    ],
)
def test_what_an_outcome_says_of_its_source(
    outcome: RangeOutcome,
    failures: int,
    trust: int,
    is_withdrawn: bool,
    is_closed: bool,
    reasons: list[StoryKind],
) -> None:
    flight = in_flight()
    refusal = BROKEN_DISK if outcome is RangeOutcome.STORE_FAILED else None
    flight.end(outcome, refusal=refusal)
    link = flight.source.link
    assert (link.failures, flight.source.standing.trust) == (failures, trust)
    assert (flight.source.holdings == {}) is is_withdrawn
    assert flight.lane.closing is (CloseReason.FAILED if is_closed else None)
    assert [entry.kind for entry in flight.recovery.story.entries] == reasons
    assert flight.recovery.local.refusals == ([refusal] if refusal else [])
    assert (A in flight.scene.state.peer_alarms) is (link.usable_at_ns > 0)
    assert (link.usable_at_ns > 0) is (reasons == [StoryKind.BACK_OFF])


@pytest.mark.parametrize(
    "outcome", [RangeOutcome.BUSY, RangeOutcome.DISCONNECTED, RangeOutcome.TURNED_AWAY]
)
@pytest.mark.parametrize("state", ["surplus", "closing"])
def test_how_a_transfer_of_a_lane_that_is_to_go_ends_says_nothing_of_its_source(
    outcome: RangeOutcome, state: str
) -> None:
    flight = in_flight()
    flight.lane.is_surplus, flight.lane.is_closing = state == "surplus", state == "closing"
    flight.end(outcome)
    assert (flight.source.link.failures, flight.source.link.refusals) == (0, 0)
    assert flight.source.link.usable_at_ns == 0


@pytest.mark.parametrize(
    ("outcome", "width"), [(RangeOutcome.SPOILED, 3), (RangeOutcome.DISCONNECTED, 2)]
)
def test_a_lane_that_this_node_left_for_a_bad_block_is_not_one_too_many(
    outcome: RangeOutcome, width: int
) -> None:
    flight = in_flight()
    bundle = flight.recovery.work.bundles[A]
    bundle.width = 3
    flight.end(outcome)
    assert bundle.width == width


def test_a_lane_too_many_is_judged_by_what_it_delivers_and_closed_with_its_last_range() -> None:
    flight = in_flight()
    flight.lane.is_surplus = True
    flight.end(RangeOutcome.DELIVERED)
    assert (flight.source.standing.trust, flight.lane.closing) == (1, None)
    flight.end(RangeOutcome.DELIVERED)
    assert flight.lane.closing is CloseReason.SURPLUS
    assert flight.scene.state.lanes == {}


# Silence, one look at a time


def look(flight: Flight, silent_ns: int) -> None:
    flight.lane.heard_ns = flight.scene.now - silent_ns
    flight.scene.state.lane_alarms.set(flight.lane.id, flight.scene.now)
    close_late_lanes(flight.scene.step)


@pytest.mark.parametrize(
    ("has_body", "silent_ns", "is_closed"),
    [
        (True, 500 * MS - 1, False),
        (True, 500 * MS, True),
        (False, 1000 * MS - 1, False),
        (False, 1000 * MS, True),
    ],
)
def test_a_lane_is_closed_when_its_patience_is_over_and_its_source_rests(
    has_body: bool, silent_ns: int, is_closed: bool
) -> None:
    flight = in_flight(has_body=has_body)
    flight.scene.lane(flight.recovery, flight.source).heard_ns = 0
    look(flight, silent_ns)
    assert flight.lane.closing is (CloseReason.SILENT if is_closed else None)
    assert flight.source.link.failures == is_closed
    assert flight.recovery.work.bundles[A].width == (1 if is_closed else 2)
    assert (A in flight.scene.state.peer_alarms) is is_closed
    kinds = [entry.kind for entry in flight.recovery.story.entries]
    assert kinds == [StoryKind.LANE_LATE] * is_closed
    is_noted = is_closed and not has_body
    assert (flight.scene.state.first_bytes.percentile_ns(0.5) is not None) is is_noted


@pytest.mark.parametrize(
    ("other_silent_ms", "is_blamed"), [(251, True), (250, True), (249, False), (0, False)]
)
def test_a_source_is_not_late_if_another_lane_delivered_in_the_second_half(
    other_silent_ms: int, is_blamed: bool
) -> None:
    flight = in_flight(has_body=True)
    other = flight.scene.lane(flight.recovery, flight.source, (8, 9))
    other.heard_ns = flight.scene.now - other_silent_ms * MS
    look(flight, 500 * MS)
    assert flight.lane.closing is CloseReason.SILENT
    assert flight.source.link.failures == is_blamed


@pytest.mark.parametrize(
    ("silent_ns", "is_hedged"), [(200 * MS - 1, False), (200 * MS, True), (200 * MS + 1, True)]
)
@pytest.mark.parametrize("is_paused", [True, False])
def test_a_critical_range_is_hedged_once_it_is_late(
    silent_ns: int, is_hedged: bool, is_paused: bool
) -> None:
    flight = in_flight(has_body=True, critical=(8,))
    flight.scene.step.options = adjusted(Options(), hedging={"share": 0.5})
    flight.scene.peer(B, saved(8, critical=[8]))
    flight.first.criticality = Criticality.CRITICAL
    flight.recovery.is_paused = is_paused
    look(flight, silent_ns)
    assert flight.first.is_hedged is is_hedged
    is_ordered = is_hedged and not is_paused
    assert flight.recovery.duplicates.hedged_bytes == 4 * MIB * is_ordered
    assert (B in flight.recovery.work.bundles) is is_ordered
    kinds = [entry.kind for entry in flight.recovery.story.entries]
    assert kinds == [StoryKind.HEDGE] * is_ordered
    due_ns = 500 * MS if is_hedged else 200 * MS
    assert flight.scene.state.lane_alarms.earliest() == min(
        flight.lane.heard_ns + due_ns, flight.scene.now + 1000 * MS
    )


@pytest.mark.parametrize(
    ("has_body", "reason"), [(True, StoryReason.SILENT), (False, StoryReason.FIRST_BYTE_LATE)]
)
def test_a_silent_lane_that_was_tried_ends_the_trial_and_is_no_failure_of_its_source(
    has_body: bool, reason: StoryReason
) -> None:
    flight = in_flight(has_body=has_body)
    bundle = flight.recovery.work.bundles[A]
    flight.lane.is_on_trial = True
    flight.scene.state.trial = Trial(R, A, bundle, is_fewer=False, recoveries=1, is_changed=True)
    look(flight, 1000 * MS)
    assert flight.scene.step.state.trial is None
    assert flight.lane.closing is CloseReason.SILENT
    assert flight.source.link.failures == 0
    assert [(entry.kind, entry.reason) for entry in flight.recovery.story.entries] == [
        (StoryKind.LANES_TRIED, reason)
    ]


def test_a_lane_that_has_had_no_work_for_long_is_closed_without_blame() -> None:
    flight = in_flight()
    flight.lane.transfers.clear()
    look(flight, 1)
    assert flight.lane.closing is CloseReason.IDLE
    assert flight.source.link.failures == 0


@pytest.mark.parametrize("is_coded", [False, True])
def test_only_a_range_that_came_coded_brings_its_source_another_lane(is_coded: bool) -> None:
    flight = in_flight(has_body=True)
    flight.lane.has_delivered = True
    lanes = flight.scene.step.options.lanes
    flight.source.link.rate.bytes_per_s = float(lanes.coded_bytes_per_s)
    delivered = RangeEnded(flight.first.id, RangeOutcome.DELIVERED, is_coded=is_coded)
    on_range_ended(flight.scene.step, delivered)
    assert flight.recovery.work.bundles[A].width == (2 if is_coded else 1)
