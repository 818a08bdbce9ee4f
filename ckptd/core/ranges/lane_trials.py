"""How many lanes lead to a source: another number is tried, and kept if it is worth it.

One connection does not fill a path on which every connection is limited: by a shaper, by a
window that is small for so long a way, by one processor at the source. This node cannot know,
so it is tried: one lane more at one source at a time, for about a second. It stays if the
source delivers noticeably more and all sources together do as well; a lane that only takes from
others, here or at the source, does not pay. Now and then one less is tried in the same way, since
a second of luck should not leave a lane behind. Nothing is cut off: a lane that goes gets no more
work.

An only source that is fast gets a second lane at once, and one whose blocks come coded further ones
until all processors decode; it is tried later whether that pays.

While others recover the same version, or the source works for others as well, nothing is tried:
a node that opens more lanes would get a greater part of the same.

Source: a controller that tries and keeps what raised its goodput, after Dong et al., *PCC* (NSDI
2015); several connections to one source as in aria2 and GridFTP.
"""

from __future__ import annotations

from ckptd.core.explain.narration import report_trial
from ckptd.core.options import Options
from ckptd.core.state.eligibility import may_be_asked, servable
from ckptd.core.state.lane import Bundle, Lane, Trial
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MS, SECOND
from ckptd.model.ids import OWN_DISKS, PathId
from ckptd.model.words import CloseReason, StoryReason

_LOOK_EVERY_NS = 250 * MS
"""A source to try is looked for this often: it costs a look at every lane."""

_SAMPLE_EVERY_NS = 10 * MS
"""A trial is looked at this often: it costs a look at its lanes, and it lasts a second."""

_GAIN_OF_ALL_SHARE = 0.5
"""All sources together must win this share of what the one wins; noise is a part of both."""

_OWED_ELSEWHERE_SHARE = 1 / 3
"""A source works for others as well if it owes them so much of what it owes here, on average.
What it says is a little late: alone with four lanes it seems to owe others up to a quarter."""

_RANGES_LEFT_MIN = 8
"""A trial is not begun unless a source has so many ranges left: two for each lane."""


def try_lanes(step: Step) -> None:
    """Go on with the trial that is under way, or begin one."""
    trial = step.state.trial
    if trial is None:
        if step.now >= step.state.next_trial_ns and _may_widen(step.options):
            step.state.next_trial_ns = step.now + _LOOK_EVERY_NS
            _begin(step)
        return
    if step.now < trial.look_at_ns:
        return
    trial.look_at_ns = step.now + _SAMPLE_EVERY_NS
    recovery = step.state.recoveries.get(trial.recovery)
    if recovery is None or recovery.work.bundles.get(trial.source) is not trial.bundle:
        _end(step, step.options.lanes.trial_ns)
        return
    since_ns = step.now - trial.since_ns
    is_same = len(step.state.recoveries) == trial.recoveries
    if not is_same or not _is_fit(step, recovery, trial.source, trial.bundle):
        _drop(step, trial)
    elif trial.is_measuring:
        link = step.state.source(trial.source).link
        trial.owed_to_others += link.load_bytes
        trial.owed_here += link.outstanding_bytes
        if since_ns >= step.options.lanes.trial_ns:
            _take_stock(step, trial, recovery)
    elif _is_settled(trial):
        if trial.is_head_start:
            _keep(step, trial)
        else:
            _measure(step, trial)
    elif since_ns >= step.options.lanes.trial_pause_ns:
        _drop(step, trial)


def begin_with_two(step: Step, recovery: Recovery, lane: Lane) -> None:
    """Open a second lane to an only source whose first one just brought its first range fast.

    One lane is one thread, which hashes and writes what it takes: from some rate on it is a
    processor of this node that limits, and a recovery of seconds is over before a trial.
    """
    bundle = recovery.work.bundles[lane.source]
    options, link = step.options, lane.link
    if (
        step.state.trial is None
        and _may_widen(options)
        and (recovery.swarm.source_count == 1 or lane.source == OWN_DISKS)
        and bundle.width == 1
        and not lane.is_express
        and link.rate.bytes_per_s >= options.lanes.busy_bytes_per_s
        and not link.load_bytes
        and _is_fit(step, recovery, lane.source, bundle)
    ):
        _begin_at_once(step, recovery, lane.source, bundle)


def widen_for_coding(step: Step, recovery: Recovery, lane: Lane) -> None:
    """Open one lane more to a source whose blocks come coded, where those are what takes the time.

    A lane is a thread at both ends, so several code and decode as fast as there are processors; a
    link that is full of plain blocks is far from full of these. Once a trial showed that one less
    brings as much, only trials say how many there are.
    """
    bundle = recovery.work.bundles[lane.source]
    options, link = step.options, lane.link
    owed_max = link.outstanding_bytes * _OWED_ELSEWHERE_SHARE
    if (
        step.state.trial is None
        and _may_widen(options)
        and bundle.coded_width <= bundle.width < options.lanes.per_source_max
        and _lane_count(step) < options.lanes.coded_max
        and not lane.is_express
        and link.rate.bytes_per_s >= options.lanes.coded_bytes_per_s * bundle.width
        and link.load_bytes <= owed_max
        and _is_fit(step, recovery, lane.source, bundle)
    ):
        bundle.coded_width = bundle.width + 1
        _begin_at_once(step, recovery, lane.source, bundle)


def _lane_count(step: Step) -> int:
    """Return how many lanes to peers there are to be while there is work."""
    return sum(
        bundle.width
        for recovery in step.state.recoveries.values()
        for source, bundle in recovery.work.bundles.items()
        if source != OWN_DISKS
    )


def _begin_at_once(step: Step, recovery: Recovery, source: PathId, bundle: Bundle) -> None:
    trial = step.state.trial = Trial(
        recovery.id,
        source,
        bundle,
        is_fewer=False,
        recoveries=len(step.state.recoveries),
        is_head_start=True,
    )
    _change(step, trial)


def give_trial_up(step: Step, reason: StoryReason) -> None:
    """End a trial whose lane failed: the source works, but not on one lane more."""
    trial = step.state.trial
    assert trial is not None, "a lane is on trial, but no trial is under way"
    report_trial(step, trial, reason)
    _undo(step, trial)
    _end_without_change(step)


def _may_widen(options: Options) -> bool:
    """Return whether there may be several lanes to a source, and no limit makes them useless."""
    return options.lanes.per_source_max > 1 and options.ranges.in_flight_bytes_max is None


def _begin(step: Step) -> None:
    """Begin a trial at the source where the last one was longest ago."""
    found: tuple[Recovery, PathId, Bundle] | None = None
    for recovery in step.state.recoveries.values():
        if not recovery.is_fetching or not _lasts(step, recovery):
            continue
        for path, bundle in recovery.work.bundles.items():
            is_later = found is not None and found[2].tried_ns <= bundle.tried_ns
            if not is_later and _may_try(step, recovery, path, bundle):
                found = recovery, path, bundle
    if found is None:
        return
    recovery, path, bundle = found
    is_widest = bundle.width == step.options.lanes.per_source_max
    is_fewer = bundle.width > 1 and (bundle.is_fewer_next or is_widest)
    bundle.tried_ns = step.now
    recoveries = len(step.state.recoveries)
    trial = step.state.trial = Trial(recovery.id, path, bundle, is_fewer, recoveries)
    _measure(step, trial)


def _lasts(step: Step, recovery: Recovery) -> bool:
    """Return whether a recovery lasts long enough for a trial to pay."""
    space = recovery.content.space
    left_bytes = space.size_bytes * len(recovery.coverage.unclaimed) // space.block_count
    lasting_bytes = recovery.swarm.total_rate * step.options.lanes.trial_left_ns / SECOND
    return 0 < lasting_bytes <= left_bytes


def _may_try(step: Step, recovery: Recovery, path: PathId, bundle: Bundle) -> bool:
    """Return whether a source does all it can on the lanes there are, and has work for more."""
    if (
        step.now - bundle.busy_since_ns < step.options.lanes.trial_ns
        or not bundle.active_count == len(bundle.lanes) == bundle.usual_count == bundle.width
        or not _is_fit(step, recovery, path, bundle)
    ):
        return False
    peer = step.state.source(path)
    left_bytes = recovery.content.space.set_bytes(servable(recovery, peer))
    return left_bytes >= _RANGES_LEFT_MIN * peer.link.range_bytes(step.options)


def _is_fit(step: Step, recovery: Recovery, path: PathId, bundle: Bundle) -> bool:
    """Return whether what comes from a source says something about its lanes at the moment."""
    peer = step.state.source(path)
    return (
        recovery.is_fetching
        and not recovery.is_background
        and not recovery.swarm.is_swarming
        and not recovery.work.is_held_up
        and not peer.link.failures
        and may_be_asked(recovery, peer, now=step.now)
        and not any(lane.is_closing for lane in bundle.lanes)
    )


def _is_settled(trial: Trial) -> bool:
    """Return whether a change has its effect: the new lane brought a range, or the old is gone."""
    bundle = trial.bundle
    if trial.is_fewer:
        return bundle.usual_count == bundle.width
    return bundle.lanes[-1].is_on_trial and bundle.lanes[-1].has_delivered


def _measure(step: Step, trial: Trial) -> None:
    trial.is_measuring, trial.since_ns = True, step.now
    trial.owed_to_others = trial.owed_here = 0
    trial.link_bytes, trial.total_bytes = trial.bundle.received_bytes, _total_bytes(step)


def _total_bytes(step: Step) -> int:
    return sum(
        recovery.tally.received_bytes + recovery.tally.source_bytes.get(OWN_DISKS, 0)
        for recovery in step.state.recoveries.values()
    )


def _take_stock(step: Step, trial: Trial, recovery: Recovery) -> None:
    """Work out what came in the time of a measurement, and draw the conclusion."""
    if trial.owed_to_others > trial.owed_here * _OWED_ELSEWHERE_SHARE:
        _drop(step, trial)
        return
    per_s = SECOND / (step.now - trial.since_ns)
    link_rate = (trial.bundle.received_bytes - trial.link_bytes) * per_s
    total_rate = (_total_bytes(step) - trial.total_bytes) * per_s
    if not trial.is_changed:
        trial.link_rate, trial.total_rate = link_rate, total_rate
        _change(step, trial)
        return
    sign = -1 if trial.is_fewer else 1
    without = link_rate if trial.is_fewer else trial.link_rate
    won = sign * (link_rate - trial.link_rate)
    won_total = sign * (total_rate - trial.total_rate)
    is_needed = won >= without * (step.options.lanes.trial_gain - 1) > 0 and (
        won_total >= won * _GAIN_OF_ALL_SHARE
    )
    report_trial(step, trial, StoryReason.FASTER if is_needed else StoryReason.NO_FASTER, link_rate)
    trial.bundle.is_fewer_next = not is_needed
    trial.bundle.lanes[-1].is_on_trial = False
    if is_needed == trial.is_fewer:
        _undo(step, trial)
        _end_without_change(step)
        return
    step.state.trials_failed = 0
    is_widest = trial.bundle.width >= step.options.lanes.per_source_max
    if trial.is_fewer or is_widest or not _lasts(step, recovery):
        _end(step, step.options.lanes.trial_pause_ns if trial.is_fewer else 0)
        return
    trial.link_rate, trial.total_rate = link_rate, total_rate
    trial.bundle.tried_ns = step.now
    _change(step, trial)


def _keep(step: Step, trial: Trial) -> None:
    """End a head start: the new lane works. Whether it pays is for later trials."""
    trial.bundle.lanes[-1].is_on_trial = False
    _end(step, step.options.lanes.trial_ns)


def _change(step: Step, trial: Trial) -> None:
    """Go over to the number of lanes that is tried."""
    trial.is_changed, trial.is_measuring, trial.since_ns = True, False, step.now
    if trial.is_fewer:
        trial.bundle.width -= 1
        _let_go(step, trial.bundle.lanes[-1])
    else:
        trial.bundle.width += 1  # it is opened when the next range is ordered
        step.note_room(trial.source)


def _undo(step: Step, trial: Trial) -> None:
    """Go back to the number of lanes that there was."""
    bundle = trial.bundle
    if trial.is_fewer and trial.is_changed:
        bundle.width += 1
        step.note_room(trial.source)
    elif trial.is_changed:
        bundle.width = max(bundle.width - 1, 1)
        bundle.lanes[-1].is_on_trial = False
        # If another one is being lost meanwhile, the new one stays in its place.
        if sum(not lane.is_closing for lane in bundle.lanes) > bundle.width:
            _let_go(step, bundle.lanes[-1])


def _let_go(step: Step, lane: Lane) -> None:
    """Give a lane no more work, and close it once it has none."""
    lane.is_surplus = True
    if not lane.transfers:
        step.close_lane(lane, CloseReason.SURPLUS)


def _drop(step: Step, trial: Trial) -> None:
    """End a trial that can teach nothing any more."""
    _undo(step, trial)
    options = step.options
    _end(step, options.lanes.trial_pause_ns if trial.is_changed else options.lanes.trial_ns)


def _end_without_change(step: Step) -> None:
    """End a trial that taught that the number of lanes was right; the next one can wait."""
    options = step.options
    pause_ns = options.lanes.trial_pause_ns << min(step.state.trials_failed, 10)
    step.state.trials_failed += 1
    _end(step, min(pause_ns, options.lanes.trial_pause_max_ns))


def _end(step: Step, pause_ns: int) -> None:
    step.state.trial = None
    step.state.next_trial_ns = step.now + pause_ns
