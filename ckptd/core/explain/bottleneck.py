"""What binds a recovery: the one thing that would have to be faster for it to be faster.

Inferred from what can be seen from this node alone, in the order of how sure it is:

* nobody may be asked for what is missing: no source; who may has work of another recovery: the
  sources;
* its lanes wait for a permit, because an operator set a limit: the shaper;
* this node works on what has come already, or its lanes wait for the disk: the disk, or that of
  the state directory if what they wait for is durable but for the journal;
* its lanes compute rather than wait for bytes: the processor;
* one source, or sources that all serve others as well, or less than came here at best: the sources;
* else what comes is what came at best, from several sources: the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckptd.core.state.eligibility import holders, may_be_asked
from ckptd.core.state.knowledge import State
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MS
from ckptd.model.words import Bottleneck, LocalOrder, Stage

DISK_SHARE: Final = 0.3
"""Lanes that wait for the disk this share of their time could be faster with a faster one."""

CPU_SHARE: Final = 0.8
"""Lanes that compute for this share of their time have hardly anything to wait for."""

SHAPER_SHARE: Final = 0.2
"""Somebody waits for a limit this share of the time even if it is little below what would come."""

RECORDING_NS: Final = 250 * MS
"""The journal takes a few milliseconds; a disk that needs so long for it is busy."""

LAG_NS: Final = 500 * MS
"""An event loop that was this late kept lanes waiting: they have orders for half a second."""

BEST_SHARE: Final = 0.8
"""What comes is as much as ever when it is this share of the best: rates sway by a fifth."""


@dataclass(frozen=True, slots=True)
class LocalLoad:
    """What this node's lanes of a recovery did with their time lately.

    Attributes:
        disk_share: Waited for a write or for a commit, from 0 to 1.
        cpu_share: Received, hashed and wrote, or waited for a processor to do so.
        is_disk_awaited: A lane waits for a commit at this moment.
        shaper_share: For how much of the time a lane waited for a limit, from 0 to 1.
        loop_lag_ns: How late the event loop was at worst.
    """

    disk_share: float = 0.0
    cpu_share: float = 0.0
    is_disk_awaited: bool = False
    shaper_share: float = 0.0
    loop_lag_ns: int = 0


def find_bottleneck(
    state: State, recovery: Recovery, load: LocalLoad, *, now: int
) -> Bottleneck | None:
    """Say what binds a recovery; ``None`` if nothing is to be hurried.

    Args:
        state: What is known.
        recovery: Which one.
        load: What its lanes did lately.
        now: The moment.
    """
    if recovery.is_paused or recovery.stage is Stage.DISCARDING or _is_held(recovery):
        bottleneck = None
    elif recovery.stage is Stage.SEEKING:
        bottleneck = Bottleneck.NO_SOURCE
    elif recovery.stage is Stage.DESCRIBING:
        attempt = recovery.joining.attempt
        is_asked = recovery.local.pending_order is LocalOrder.MANIFEST or (
            attempt is not None and bool(attempt.late_ns)
        )
        bottleneck = Bottleneck.SOURCE if is_asked else Bottleneck.NO_SOURCE
    elif recovery.stage is not Stage.TRANSFERRING or recovery.local.retry_at_ns is not None:
        bottleneck = Bottleneck.DISK
    elif recovery.work.transfer_count:
        bottleneck = _of_transfers(state, recovery, load, now=now)
    elif wanted := recovery.to_order:
        able = holders(recovery, state.sources(), wanted)
        is_queued = any(may_be_asked(recovery, peer, now=now) for peer in able)
        bottleneck = Bottleneck.SOURCE if is_queued else Bottleneck.NO_SOURCE
    elif recovery.coverage.unclaimed:
        bottleneck = None  # on demand, and nobody reads
    else:
        bottleneck = _which_disk(recovery, now=now)
    return bottleneck


def _is_held(recovery: Recovery) -> bool:
    """Tell whether a phase waits for what is in its way, and nothing else is left to do.

    Then somebody has to make way for it, and nothing that is faster helps.
    """
    is_still = recovery.local.pending_order is None and not recovery.work.transfer_count
    return bool(recovery.placing.obstacle) and is_still and not recovery.to_order


def _which_disk(recovery: Recovery, *, now: int) -> Bottleneck:
    """Say which disk is waited for: a commit whose blocks are durable waits for the journal."""
    durable_ns = recovery.commit.durable_ns
    if recovery.local.pending_order is not LocalOrder.COMMIT or durable_ns is None:
        return Bottleneck.DISK
    return Bottleneck.STATE_DISK if now - durable_ns >= RECORDING_NS else Bottleneck.DISK


def _of_transfers(state: State, recovery: Recovery, load: LocalLoad, *, now: int) -> Bottleneck:
    """Say what binds a recovery that has ranges in flight."""
    if load.shaper_share >= SHAPER_SHARE:
        return Bottleneck.SHAPER
    if recovery.work.is_held_up or load.is_disk_awaited or load.disk_share >= DISK_SHARE:
        return _which_disk(recovery, now=now)
    if load.cpu_share >= CPU_SHARE or load.loop_lag_ns >= LAG_NS:
        return Bottleneck.CPU
    usable = [
        peer
        for peer in state.sources()
        if recovery.digest in peer.holdings and may_be_asked(recovery, peer, now=now)
    ]
    active = [lane for lane in recovery.work.lanes.values() if lane.transfers]
    if len(usable) <= 1 or all(lane.link.load_bytes for lane in active):
        return Bottleneck.SOURCE
    others = [known.tally.rate for known in state.recoveries.values() if known.work.transfer_count]
    best = max([state.best_rate, *(rate.best_bytes_per_s for rate in others)])
    is_as_ever = sum(rate.bytes_per_s for rate in others) >= BEST_SHARE * best
    return Bottleneck.NETWORK if is_as_ever else Bottleneck.SOURCE
