"""Trials of another number of lanes, one look at a time: when one begins, goes on and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from ckptd.core.options import Options
from ckptd.core.ranges.lane_trials import (
    begin_with_two,
    give_trial_up,
    try_lanes,
    widen_for_coding,
)
from ckptd.core.state.lane import Bundle, Lane, Trial
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.ids import OWN_DISKS, RecoveryId
from ckptd.model.words import CloseReason, StoryKind, StoryReason
from tests.support.scenes import Scene
from tests.support.scheduling import OF_A, R2, A, B, R, adjusted, blocks, saved

OPTIONS = adjusted(Options(), lanes={"trial_gain": 1.5})
"""A lane has to bring half as much again."""

PAUSE_NS = OPTIONS.lanes.trial_pause_ns


class Work(NamedTuple):
    """A source that has been busy for a second on all its lanes, and will be for long."""

    scene: Scene
    recovery: Recovery
    source: Peer
    bundle: Bundle

    def look(self) -> Trial | None:
        """Look once; return the trial that is under way."""
        try_lanes(self.scene.step)
        return self.scene.state.trial

    @property
    def pause_ns(self) -> int:
        """How long nothing is tried."""
        return self.scene.state.next_trial_ns - self.scene.now


def at_work(*, width: int = 1, options: Options = OPTIONS) -> Work:
    scene, version = Scene(options=options), saved(2000)
    recovery = scene.recovery(version, unclaimed=blocks((1500, 2000)))
    source = scene.peer(A, version, rate=16 * MIB)
    for number in range(width):
        scene.lane(recovery, source, (number, number + 1))
    bundle = recovery.work.bundles[A]
    bundle.busy_since_ns = scene.now - SECOND
    bundle.received_bytes, recovery.tally.received_bytes = 5 * MIB, 7 * MIB
    recovery.swarm.total_rate, recovery.swarm.source_count = 100.0 * MIB, 1
    scene.state.next_trial_ns = scene.now
    return Work(scene, recovery, source, bundle)


# Beginning


def test_a_trial_begins_with_a_measurement_of_what_comes_without() -> None:
    work = at_work()
    trial = work.look()
    assert trial == Trial(
        R, A, work.bundle, is_fewer=False, recoveries=1, is_measuring=True,
        since_ns=work.scene.now, link_bytes=5 * MIB, total_bytes=7 * MIB,
    )  # fmt: skip
    assert work.bundle.tried_ns == work.scene.now
    assert work.pause_ns == 250 * MS


def too_early(work: Work) -> None:
    work.scene.state.next_trial_ns += 1


def one_lane_only(work: Work) -> None:
    work.scene.step.options = adjusted(OPTIONS, lanes={"per_source_max": 1})


def limited(work: Work) -> None:
    work.scene.step.options = adjusted(OPTIONS, ranges={"in_flight_bytes_max": 64 * MIB})


def paused(work: Work) -> None:
    work.recovery.is_paused = True


def nearly_done(work: Work) -> None:
    work.recovery.swarm.total_rate += 1


def rates_unknown(work: Work) -> None:
    work.recovery.swarm.total_rate = 0.0


def busy_not_long(work: Work) -> None:
    work.bundle.busy_since_ns += 1


def an_idle_lane(work: Work) -> None:
    work.scene.lane(work.recovery, work.source)


def a_lane_to_be_opened(work: Work) -> None:
    work.bundle.width += 1


def a_lane_too_many(work: Work) -> None:
    work.scene.lane(work.recovery, work.source, (10, 11))
    work.bundle.width = 1


def in_the_background(work: Work) -> None:
    version = saved(2000)
    other = Scene().recovery(version, is_background=True)
    work.recovery.request = other.request


def swarming(work: Work) -> None:
    work.recovery.swarm.is_swarming = True


def held_up(work: Work) -> None:
    work.recovery.work.is_held_up = True


def failed(work: Work) -> None:
    work.source.link.failures = 1


def resting(work: Work) -> None:
    work.source.link.usable_at_ns = work.scene.now + 1


def closing(work: Work) -> None:
    work.bundle.lanes[0].is_closing = True


def little_left_there(work: Work) -> None:
    work.recovery.refused[OF_A] = blocks((1531, 2000))


UNFIT = [paused, in_the_background, swarming, held_up, failed, resting, closing]


@pytest.mark.parametrize(
    "change",
    [
        *UNFIT,
        too_early,
        one_lane_only,
        limited,
        nearly_done,
        rates_unknown,
        busy_not_long,
        an_idle_lane,
        a_lane_to_be_opened,
        a_lane_too_many,
        little_left_there,
    ],
)
def test_no_trial_begins_if_one_thing_is_otherwise(change: Callable[[Work], None]) -> None:
    work = at_work()
    change(work)
    assert work.look() is None
    assert work.bundle.tried_ns == -1


def test_eight_ranges_are_enough_for_a_trial() -> None:
    work = at_work()
    work.recovery.refused[OF_A] = blocks((1532, 2000))
    assert work.look() is not None


def test_a_trial_begins_however_slowly_a_recovery_goes() -> None:
    work = at_work()
    work.recovery.swarm.total_rate = 0.1
    assert work.look() is not None


@pytest.mark.parametrize("per_source_max", [2, 3])
def test_two_lanes_are_tried_where_there_may_be_as_many(per_source_max: int) -> None:
    options = adjusted(OPTIONS, lanes={"per_source_max": per_source_max})
    assert at_work(options=options).look() is not None


@pytest.mark.parametrize(
    ("width", "is_fewer_next", "is_fewer"),
    [
        (1, False, False),
        (1, True, False),
        (2, False, False),
        (2, True, True),
        (3, False, False),
        (4, False, True),
        (4, True, True),
    ],
)
def test_one_less_is_tried_if_it_is_its_turn_or_there_may_be_no_more(
    width: int, is_fewer_next: bool, is_fewer: bool
) -> None:
    work = at_work(width=width)
    work.bundle.is_fewer_next = is_fewer_next
    trial = work.look()
    assert trial is not None
    assert trial.is_fewer is is_fewer


@pytest.mark.parametrize(
    ("tried_ns", "expected"), [((5, 3), B), ((3, 5), A), ((4, 4), A), ((None, 5), B)]
)
def test_the_source_is_tried_where_the_last_trial_was_longest_ago(
    tried_ns: tuple[int | None, int], expected: str
) -> None:
    work = at_work()
    other = work.scene.peer(B, saved(2000), rate=16 * MIB)
    work.scene.lane(work.recovery, other, (10, 11))
    bundle = work.recovery.work.bundles[B]
    bundle.busy_since_ns = 0
    first_ns, bundle.tried_ns = tried_ns
    if first_ns is None:
        work.source.link.failures = 1
    else:
        work.bundle.tried_ns = first_ns
    trial = work.look()
    assert trial is not None
    assert trial.source == expected


def test_a_recovery_that_does_not_last_is_passed_over_for_the_next() -> None:
    work = at_work()
    work.recovery.swarm.total_rate += 1
    version = saved(2000, checkpoint="llama/rank-1")
    second = work.scene.recovery(version, R2)
    other = work.scene.peer(B, version, rate=16 * MIB)
    work.scene.lane(second, other, (0, 1))
    second.work.bundles[B].busy_since_ns = 0
    second.swarm.total_rate = 100.0 * MIB
    second.tally.received_bytes = 1 * MIB
    trial = work.look()
    assert trial is not None
    assert (trial.recovery, trial.source, trial.recoveries) == (R2, B, 2)
    assert trial.total_bytes == 8 * MIB, "of all recoveries"


# Under way


def under_way(
    *, is_fewer: bool = False, is_changed: bool = True, is_measuring: bool = True, width: int = 2
) -> tuple[Work, Trial]:
    """Have a trial under way for a second, in which nothing came yet; look again now."""
    work = at_work(width=width)
    trial = Trial(
        R, A, work.bundle, is_fewer, recoveries=1, is_changed=is_changed,
        is_measuring=is_measuring, look_at_ns=work.scene.now, since_ns=work.scene.now - SECOND,
        link_bytes=work.bundle.received_bytes, total_bytes=work.recovery.tally.received_bytes,
    )  # fmt: skip
    work.bundle.lanes[-1].is_on_trial = is_changed and not is_fewer
    work.scene.state.trial = trial
    return work, trial


def come(work: Work, link_bytes: int, all_bytes: int | None = None) -> None:
    work.bundle.received_bytes += link_bytes
    work.recovery.tally.received_bytes += link_bytes if all_bytes is None else all_bytes


def test_a_trial_is_not_looked_at_before_its_time() -> None:
    work, trial = under_way()
    trial.look_at_ns += 1
    assert work.look() is trial
    assert trial.look_at_ns == work.scene.now + 1


def test_a_trial_is_looked_at_every_ten_milliseconds() -> None:
    work, trial = under_way()
    trial.since_ns += 1
    assert work.look() is trial
    assert trial.look_at_ns == work.scene.now + 10 * MS


@pytest.mark.parametrize("reason", ["recovery", "bundle", "source"])
def test_a_trial_is_over_when_its_lanes_are_gone(reason: str) -> None:
    work, trial = under_way()
    match reason:
        case "recovery":
            trial.recovery = R2
        case "bundle":
            work.recovery.work.bundles[A] = Bundle()
        case _:
            trial.source = B
    assert work.look() is None
    assert (work.pause_ns, work.bundle.width) == (1 * SECOND, 2)


@pytest.mark.parametrize(
    ("is_changed", "pause_ns", "width"), [(False, SECOND, 2), (True, PAUSE_NS, 1)]
)
@pytest.mark.parametrize("change", [*UNFIT, "another recovery"])
def test_a_trial_is_dropped_that_can_teach_nothing_any_more(
    change: Callable[[Work], None] | str, is_changed: bool, pause_ns: int, width: int
) -> None:
    work, _ = under_way(is_changed=is_changed)
    if isinstance(change, str):
        work.scene.recovery(saved(8, checkpoint="llama/rank-1"), R2)
    else:
        change(work)
    assert work.look() is None
    assert (work.pause_ns, work.bundle.width) == (pause_ns, width)


def test_what_a_source_owes_is_added_up_until_a_second_is_over() -> None:
    work, trial = under_way()
    trial.since_ns += 1
    trial.owed_to_others, trial.owed_here = 2, 3
    work.source.link.load_bytes, work.source.link.outstanding_bytes = 5, 7
    assert work.look() is trial
    assert (trial.owed_to_others, trial.owed_here) == (7, 10)
    assert trial.is_measuring


@pytest.mark.parametrize(("load_bytes", "is_dropped"), [(99, False), (100, False), (101, True)])
def test_a_source_that_works_for_others_as_well_teaches_nothing(
    load_bytes: int, is_dropped: bool
) -> None:
    work, _ = under_way(is_changed=False, width=1)
    work.source.link.load_bytes, work.source.link.outstanding_bytes = load_bytes, 300
    assert (work.look() is None) is is_dropped
    assert work.bundle.width == (1 if is_dropped else 2)


def test_after_the_first_measurement_one_more_is_opened() -> None:
    work, trial = under_way(is_changed=False, width=1)
    trial.since_ns -= SECOND
    come(work, 8 * MIB, 10 * MIB)
    assert work.look() is trial
    assert (trial.link_rate, trial.total_rate) == (4 * MIB, 5 * MIB)
    assert (trial.is_changed, trial.is_measuring) == (True, False)
    assert trial.since_ns == work.scene.now
    assert work.bundle.width == 2
    assert A in work.scene.step.room


@pytest.mark.parametrize("has_work", [True, False])
def test_after_the_first_measurement_one_less_gets_work(has_work: bool) -> None:
    work, trial = under_way(is_fewer=True, is_changed=False, width=2)
    first, last = work.bundle.lanes
    if not has_work:
        last.transfers.clear()
    assert work.look() is trial
    assert (work.bundle.width, first.is_surplus, last.is_surplus) == (1, False, True)
    assert last.closing is (None if has_work else CloseReason.SURPLUS)
    assert A not in work.scene.step.room


def judged(
    before: tuple[int, int], after: tuple[int, int], *, is_fewer: bool = False
) -> tuple[Work, StoryReason]:
    """Judge a trial by bytes a second of the source and of all, before and after."""
    work, trial = under_way(is_fewer=is_fewer)
    trial.link_rate, trial.total_rate = float(before[0]), float(before[1])
    come(work, *after)
    work.look()
    [entry] = [e for e in work.recovery.story.entries if e.kind is StoryKind.LANES_TRIED]
    return work, entry.reason


@pytest.mark.parametrize(
    ("before", "after", "is_needed"),
    [
        ((1000, 1000), (1499, 1499), False),
        ((1000, 1000), (1500, 1500), True),
        ((1000, 1000), (1501, 1501), True),
        ((1000, 3000), (1500, 3249), False),
        ((1000, 3000), (1500, 3250), True),
        ((1000, 3000), (1500, 2750), False),
        ((0, 3000), (0, 3000), False),
        ((0, 3000), (900, 3900), False),
        ((1, 1), (2, 2), True),
    ],
)
def test_one_more_is_needed_if_the_source_and_all_together_bring_noticeably_more(
    before: tuple[int, int], after: tuple[int, int], is_needed: bool
) -> None:
    work, reason = judged(before, after)
    assert reason is (StoryReason.FASTER if is_needed else StoryReason.NO_FASTER)
    assert work.bundle.is_fewer_next is not is_needed
    assert not any(lane.is_on_trial for lane in work.bundle.lanes)
    # The one that is needed stays, and the next one is tried at once.
    assert work.bundle.width == (3 if is_needed else 1)
    assert (work.scene.state.trial is not None) is is_needed


@pytest.mark.parametrize(
    ("before", "after", "is_needed"),
    [
        ((1499, 1499), (1000, 1000), False),
        ((1500, 1500), (1000, 1000), True),
        ((1500, 3249), (1000, 3000), False),
        ((1500, 3250), (1000, 3000), True),
        ((1000, 1000), (1500, 1500), False),
    ],
)
def test_one_less_is_missed_if_the_source_and_all_together_bring_noticeably_less(
    before: tuple[int, int], after: tuple[int, int], is_needed: bool
) -> None:
    work, reason = judged(before, after, is_fewer=True)
    assert reason is (StoryReason.FASTER if is_needed else StoryReason.NO_FASTER)
    assert work.bundle.is_fewer_next is not is_needed
    assert work.bundle.width == (3 if is_needed else 2)
    assert work.scene.state.trial is None
    assert work.pause_ns == PAUSE_NS
    assert (A in work.scene.step.room) is is_needed


def test_the_trial_that_follows_at_once_compares_with_what_came_last() -> None:
    work, trial = under_way()
    work.scene.state.trials_failed = 3
    trial.link_rate, trial.total_rate = 1000.0, 2000.0
    come(work, 1600, 2700)
    assert work.look() is trial
    assert (trial.link_rate, trial.total_rate) == (1600, 2700)
    assert (trial.is_changed, trial.is_measuring, trial.since_ns) == (True, False, work.scene.now)
    assert work.bundle.tried_ns == work.scene.now
    assert work.scene.state.trials_failed == 0


@pytest.mark.parametrize(("width", "is_lasting"), [(4, True), (5, True), (2, False)])
def test_a_trial_that_won_is_the_last_if_there_may_be_no_more_or_little_is_left(
    width: int, is_lasting: bool
) -> None:
    work, trial = under_way(width=width)
    if not is_lasting:
        work.recovery.swarm.total_rate += 1
    trial.link_rate = trial.total_rate = 1000.0
    come(work, 1600)
    assert work.look() is None
    assert (work.pause_ns, work.bundle.width) == (0, width)


def test_one_less_that_is_not_missed_stays_away_and_the_pause_is_not_doubled() -> None:
    work, trial = under_way(is_fewer=True)
    work.scene.state.trials_failed = 3
    trial.link_rate = trial.total_rate = 1000.0
    come(work, 1000)
    assert work.look() is None
    assert (work.scene.state.trials_failed, work.pause_ns) == (0, PAUSE_NS)


@pytest.mark.parametrize(
    ("trials_failed", "pause_s"), [(0, 10), (1, 20), (4, 160), (5, 320), (6, 320), (40, 320)]
)
def test_pauses_double_while_trials_teach_nothing(trials_failed: int, pause_s: int) -> None:
    work, trial = under_way()
    work.scene.state.trials_failed = trials_failed
    trial.link_rate = trial.total_rate = 1000.0
    come(work, 1000)
    assert work.look() is None
    assert work.pause_ns == pause_s * SECOND
    assert work.scene.state.trials_failed == trials_failed + 1


# The change takes its effect


@pytest.mark.parametrize(
    ("is_on_trial", "has_delivered", "is_settled"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_what_one_more_brings_is_measured_once_it_has_brought_a_range(
    is_on_trial: bool, has_delivered: bool, is_settled: bool
) -> None:
    work, trial = under_way(is_measuring=False)
    last = work.bundle.lanes[-1]
    last.is_on_trial, last.has_delivered = is_on_trial, has_delivered
    trial.owed_here = trial.owed_to_others = 9
    come(work, 3 * MIB)
    assert work.look() is trial
    assert trial.is_measuring is is_settled
    if is_settled:
        assert (trial.owed_here, trial.owed_to_others) == (0, 0)
        assert (trial.link_bytes, trial.total_bytes) == (8 * MIB, 10 * MIB)
        assert trial.since_ns == work.scene.now


@pytest.mark.parametrize(("width", "is_settled"), [(2, True), (1, False), (3, False)])
def test_what_one_less_brings_is_measured_once_it_is_gone(width: int, is_settled: bool) -> None:
    work, trial = under_way(is_fewer=True, is_measuring=False)
    work.bundle.width = width
    assert work.look() is trial
    assert trial.is_measuring is is_settled


def test_a_head_start_is_over_when_the_second_lane_has_brought_a_range() -> None:
    work, trial = under_way(is_measuring=False)
    trial.is_head_start = work.bundle.lanes[-1].has_delivered = True
    assert work.look() is None
    assert (work.pause_ns, work.bundle.width) == (1 * SECOND, 2)
    assert not work.bundle.lanes[-1].is_on_trial


@pytest.mark.parametrize(("later_ns", "is_dropped"), [(-1, False), (0, True), (1, True)])
def test_a_change_without_effect_is_taken_back_after_ten_seconds(
    later_ns: int, is_dropped: bool
) -> None:
    work, trial = under_way(is_measuring=False)
    trial.since_ns = work.scene.now - PAUSE_NS - later_ns
    assert (work.look() is None) is is_dropped


# Taking it back


@pytest.mark.parametrize(
    ("width", "left", "closing", "is_let_go"),
    [(2, 1, 0, True), (2, 1, 1, False), (1, 1, 0, True), (3, 2, 0, False)],
)
def test_the_lane_that_came_last_goes_unless_another_one_is_being_lost(
    width: int, left: int, closing: int, is_let_go: bool
) -> None:
    work, _ = under_way()
    work.bundle.width = width
    first, last = work.bundle.lanes
    first.is_closing = closing > 0
    give_trial_up(work.scene.step, StoryReason.BUSY)
    assert work.bundle.width == left
    assert (last.is_surplus, last.is_on_trial, first.is_surplus) == (is_let_go, False, False)
    assert work.scene.state.trial is None
    assert (work.pause_ns, work.scene.state.trials_failed) == (PAUSE_NS, 1)
    assert [entry.reason for entry in work.recovery.story.entries] == [StoryReason.BUSY]


@pytest.mark.parametrize(("is_fewer", "is_changed"), [(True, False), (False, False)])
def test_what_was_not_changed_is_not_taken_back(is_fewer: bool, is_changed: bool) -> None:
    work, _ = under_way(is_fewer=is_fewer, is_changed=is_changed)
    give_trial_up(work.scene.step, StoryReason.BUSY)
    assert work.bundle.width == 2
    assert not any(lane.is_surplus for lane in work.bundle.lanes)
    assert A not in work.scene.step.room


# A head start


def fast() -> tuple[Work, Lane]:
    work = at_work()
    work.source.link.rate.bytes_per_s = float(OPTIONS.lanes.busy_bytes_per_s)
    return work, work.bundle.lanes[0]


def test_an_only_source_that_is_just_fast_enough_gets_a_second_lane() -> None:
    work, lane = fast()
    begin_with_two(work.scene.step, work.recovery, lane)
    assert work.scene.state.trial == Trial(
        R, A, work.bundle, is_fewer=False, recoveries=1, is_head_start=True, is_changed=True,
        since_ns=work.scene.now,
    )  # fmt: skip
    assert work.bundle.width == 2


def too_slow(work: Work) -> None:
    work.source.link.rate.bytes_per_s -= 1


def works_for_others(work: Work) -> None:
    work.source.link.load_bytes = 1


def two_sources(work: Work) -> None:
    work.recovery.swarm.source_count = 2


def no_source(work: Work) -> None:
    work.recovery.swarm.source_count = 0


def two_lanes(work: Work) -> None:
    work.bundle.width = 2


def no_lane(work: Work) -> None:
    work.bundle.width = 0


@pytest.mark.parametrize(
    "change",
    [
        *UNFIT,
        one_lane_only,
        limited,
        too_slow,
        works_for_others,
        two_sources,
        no_source,
        two_lanes,
        no_lane,
    ],
)
def test_there_is_no_head_start_if_one_thing_is_otherwise(change: Callable[[Work], None]) -> None:
    work, lane = fast()
    change(work)
    width = work.bundle.width
    begin_with_two(work.scene.step, work.recovery, lane)
    assert work.scene.state.trial is None
    assert work.bundle.width == width


def test_there_is_no_head_start_during_a_trial() -> None:
    work, lane = fast()
    other = Trial(RecoveryId("r-9"), B, Bundle(), is_fewer=False, recoveries=1)
    work.scene.state.trial = other
    begin_with_two(work.scene.step, work.recovery, lane)
    assert (work.scene.state.trial, work.bundle.width) == (other, 1)


# More lanes for what comes coded


def coded(*, width: int = 1) -> tuple[Work, Lane]:
    work = at_work(width=width)
    work.bundle.width = work.bundle.coded_width = width
    work.source.link.rate.bytes_per_s = float(OPTIONS.lanes.coded_bytes_per_s) * width
    return work, work.bundle.lanes[0]


def narrowed(work: Work) -> None:
    work.bundle.coded_width = work.bundle.width + 1


def few_processors(work: Work) -> None:
    work.scene.step.options = adjusted(OPTIONS, lanes={"coded_max": work.bundle.width})


def owes_others(work: Work) -> None:
    work.source.link.outstanding_bytes, work.source.link.load_bytes = 30, 11


def express(work: Work) -> None:
    work.bundle.lanes[0].is_express = True


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_source_whose_blocks_come_coded_gets_one_lane_more_at_once(width: int) -> None:
    work, lane = coded(width=width)
    work.source.link.outstanding_bytes, work.source.link.load_bytes = 30, 10
    work.recovery.swarm.source_count = 2
    widen_for_coding(work.scene.step, work.recovery, lane)
    assert work.scene.state.trial == Trial(
        R, A, work.bundle, is_fewer=False, recoveries=1, is_head_start=True, is_changed=True,
        since_ns=work.scene.now,
    )  # fmt: skip
    assert work.bundle.width == work.bundle.coded_width == width + 1


@pytest.mark.parametrize(
    "change",
    [*UNFIT, one_lane_only, limited, too_slow, owes_others, narrowed, few_processors, express],
)
def test_it_gets_none_if_one_thing_is_otherwise(change: Callable[[Work], None]) -> None:
    work, lane = coded(width=2)
    change(work)
    widen_for_coding(work.scene.step, work.recovery, lane)
    assert work.scene.state.trial is None
    assert work.bundle.width == 2


def test_lanes_to_all_peers_take_processors_and_those_of_the_disks_do_not() -> None:
    work, lane = coded(width=2)
    work.recovery.work.bundles[OWN_DISKS] = Bundle(width=2)
    work.recovery.work.bundles[B] = Bundle(width=OPTIONS.lanes.coded_max - 2)
    widen_for_coding(work.scene.step, work.recovery, lane)
    assert work.bundle.width == 2
    work.recovery.work.bundles[B].width -= 1
    widen_for_coding(work.scene.step, work.recovery, lane)
    assert work.bundle.width == 3


def test_it_gets_none_during_a_trial_nor_more_than_any_source_may_have() -> None:
    work, lane = coded(width=OPTIONS.lanes.per_source_max)
    work.scene.step.options = adjusted(OPTIONS, lanes={"coded_max": 64})
    widen_for_coding(work.scene.step, work.recovery, lane)
    assert work.scene.state.trial is None
    work, lane = coded()
    other = Trial(RecoveryId("r-9"), B, Bundle(), is_fewer=False, recoveries=1)
    work.scene.state.trial = other
    widen_for_coding(work.scene.step, work.recovery, lane)
    assert (work.scene.state.trial, work.bundle.width) == (other, 1)
