"""When the scheduler wants to be woken."""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.core.options import Options
from ckptd.core.ranges import lane_deadline
from ckptd.core.stages import Stage
from ckptd.core.state import Recovery, State

_BEYOND_PATIENCE = frozenset({Stage.PLACING, Stage.DISCARDING})
"""Stages in which nothing that peers have is waited for."""


def next_deadline(state: State, options: Options) -> int | None:
    """Return the earliest moment at which something is due though nothing happened."""
    return min(_deadlines(state, options), default=None)


def _deadlines(state: State, options: Options) -> Iterator[int]:
    for lane in state.lanes.values():
        deadline = lane_deadline(state, options, lane)
        if deadline is not None:
            yield deadline
    is_wanting = False
    for recovery in state.recoveries.values():
        is_wanting = is_wanting or (recovery.is_fetching and bool(recovery.unclaimed))
        yield from _recovery_deadlines(recovery, options)
    if is_wanting:
        for peer in state.peers.values():
            if peer.is_live and peer.link.usable_at_ns > state.now_ns:
                yield peer.link.usable_at_ns


def _recovery_deadlines(recovery: Recovery, options: Options) -> Iterator[int]:
    if recovery.retry_at_ns is not None:
        yield recovery.retry_at_ns
    if recovery.awaited is not None or recovery.stage in _BEYOND_PATIENCE:
        return
    patience_ns = recovery.request.patience_ns
    if recovery.starved_since_ns is not None and patience_ns is not None:
        yield recovery.starved_since_ns + patience_ns
    if recovery.stage is Stage.TRANSFERRING and recovery.uncommitted_since_ns is not None:
        yield recovery.uncommitted_since_ns + options.commit_age_ns
