"""What this node's lanes of a recovery do with their time, as far as it may bind the recovery."""

from __future__ import annotations

from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.daemon.recover.recoveries import OpenRecovery


def local_load(opened: OpenRecovery, *, shaper_share: float, loop_lag_ns: int) -> LocalLoad:
    """Return what the lanes of a recovery do with their time.

    Args:
        opened: The recovery.
        shaper_share: For how much of the time a lane of its class waited for a limit, 0 to 1.
        loop_lag_ns: How late the event loop was at worst.
    """
    if opened.staging is None:
        return LocalLoad(shaper_share=shaper_share, loop_lag_ns=loop_lag_ns)
    disk_share, cpu_share = opened.staging.lane_times.shares()
    is_disk_awaited = opened.staging.held.waiting > 0
    return LocalLoad(disk_share, cpu_share, is_disk_awaited, shaper_share, loop_lag_ns)
