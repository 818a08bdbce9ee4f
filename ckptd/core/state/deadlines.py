"""When the scheduler wants to be woken."""

from __future__ import annotations

from ckptd.core.options import Options
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane
from ckptd.core.state.recovery import Recovery
from ckptd.model.words import Criticality, LocalOrder, Stage


def next_deadline(state: State) -> int | None:
    """Return the earliest moment at which something is due though nothing happened."""
    return _earliest(
        state.lane_alarms.earliest(),
        state.peer_alarms.earliest(),
        state.recovery_alarms.earliest(),
    )


def recovery_deadline(recovery: Recovery, options: Options) -> int | None:
    """Return when a recovery has something to do though nothing happened."""
    deadline_ns = recovery.local.retry_at_ns
    if recovery.local.pending_order is LocalOrder.MANIFEST and not recovery.is_paused:
        deadline_ns = _earliest(deadline_ns, recovery.search.ask_again_at_ns)
    stage = recovery.stage
    if stage is Stage.TRANSFERRING:
        deadline_ns = _earliest(deadline_ns, recovery.placing.retry_at_ns)
    if recovery.request.job is not None:
        deadline_ns = _earliest(deadline_ns, _due_of_joining_ns(recovery))
    if stage is Stage.SEEKING and deadline_ns is None and not recovery.is_paused:
        deadline_ns = recovery.rivalry.late_at_ns
    if stage is Stage.DESCRIBING and not recovery.is_paused:
        deadline_ns = _earliest(deadline_ns, recovery.search.give_way_at_ns)
    if (
        recovery.local.pending_order is not None
        or stage is Stage.PLACING
        or stage is Stage.DISCARDING
    ):
        return deadline_ns  # nothing that peers have is waited for
    if recovery.local.is_staging_lost:  # its lanes will end
        return deadline_ns
    deadline_ns = _earliest(deadline_ns, recovery.given_up_at_ns)
    commit = recovery.commit
    if stage is Stage.TRANSFERRING and commit.since_ns is not None and not commit.is_held_up:
        due_ns = commit.since_ns + commit_age_ns(recovery, options)
        deadline_ns = _earliest(deadline_ns, due_ns)
    return deadline_ns


def _due_of_joining_ns(recovery: Recovery) -> int | None:
    """Return when a recovery of a job looks at its shards again, or may be placed."""
    joining = recovery.joining
    is_near_end = recovery.stage is Stage.TRANSFERRING and not recovery.is_paused
    return _earliest(joining.due_ns, (joining.settles_ns or None) if is_near_end else None)


def commit_age_ns(recovery: Recovery, options: Options) -> int:
    """Return how long verified blocks wait for a commit: not long while others wait for them."""
    return options.commits.age_swarming_ns if recovery.swarm.is_swarming else options.commits.age_ns


def _earliest(*moments_ns: int | None) -> int | None:
    earliest_ns: int | None = None
    for moment_ns in moments_ns:  # several times an event: a generator costs twice as much
        if moment_ns is not None and (earliest_ns is None or moment_ns < earliest_ns):
            earliest_ns = moment_ns
    return earliest_ns


def hedge_after_ns(state: State, lane: Lane, options: Options) -> int | None:
    """Return after what silence of a lane its first range is asked of a second source.

    ``None`` if it is not: the range is not critical, or it is a hedge, or has one.
    """
    first = lane.transfers[0] if lane.transfers else None
    if first is None or first.criticality is not Criticality.CRITICAL or first.is_hedged:
        return None
    if lane.has_body:
        return max(options.hedging.floor_ns, options.hedging.ratio * lane.link.gap_ns)
    usual_ns = state.first_bytes.percentile_ns(options.hedging.percentile)
    if usual_ns is None:
        return None
    return max(options.hedging.floor_ns, options.hedging.ratio * usual_ns)


def lane_patience_ns(lane: Lane, options: Options) -> int:
    """Return how long a lane may deliver nothing."""
    if not lane.transfers:
        return options.lanes.idle_ns
    if lane.has_body:
        return lane.link.silence_timeout_ns(options)
    return lane.link.first_byte_timeout_ns(options)
