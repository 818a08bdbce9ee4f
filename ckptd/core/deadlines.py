"""When the scheduler wants to be woken."""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.core.options import Options
from ckptd.core.stages import LocalOrder, Stage
from ckptd.core.state import Recovery, State

_BEYOND_PATIENCE = frozenset({Stage.PLACING, Stage.DISCARDING})
"""Stages in which nothing that peers have is waited for."""


def next_deadline(state: State) -> int | None:
    """Return the earliest moment at which something is due though nothing happened."""
    moments = (
        state.lane_alarms.earliest(),
        state.peer_alarms.earliest(),
        state.recovery_alarms.earliest(),
    )
    return min((moment for moment in moments if moment is not None), default=None)


def recovery_deadline(recovery: Recovery, options: Options) -> int | None:
    """Return when a recovery has something to do though nothing happened."""
    return min(_deadlines(recovery, options), default=None)


def _deadlines(recovery: Recovery, options: Options) -> Iterator[int]:
    if recovery.retry_at_ns is not None:
        yield recovery.retry_at_ns
    is_asking = recovery.awaited is LocalOrder.MANIFEST and not recovery.is_paused
    if is_asking and recovery.ask_again_at_ns is not None:
        yield recovery.ask_again_at_ns
    if recovery.awaited is not None or recovery.stage in _BEYOND_PATIENCE:
        return
    if recovery.is_staging_lost:  # its lanes will end
        return
    patience_ns = recovery.request.patience_ns
    if recovery.starved_since_ns is not None and patience_ns is not None:
        yield recovery.starved_since_ns + patience_ns
    if recovery.stage is Stage.TRANSFERRING and recovery.uncommitted_since_ns is not None:
        yield recovery.uncommitted_since_ns + commit_age_ns(recovery, options)


def commit_age_ns(recovery: Recovery, options: Options) -> int:
    """Return how long verified blocks wait for a commit: not long while others wait for them."""
    return options.commit_age_swarming_ns if recovery.is_swarming else options.commit_age_ns
