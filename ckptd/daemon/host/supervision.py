"""What the service manager hears while the daemon lives: signs of life, progress, patience."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NoReturn

from ckptd.core.report.views import PhaseSnapshot, RecoverySnapshot
from ckptd.daemon.host.systemd import Notifier
from ckptd.limits import SECOND
from ckptd.model.quantities import format_duration, format_size
from ckptd.observe.logs import get_logger

STATUS_INTERVAL_S: Final = 1.0
"""How often progress of recoveries is reported to the service manager, at most."""

_PHASES_MIN: Final = 2
_PHASES_SHOWN: Final = 4
"""``systemctl status`` has one line."""

_TICKS: Final = 4
"""Signs of life in each interval of the watchdog. ``sd_watchdog_enabled(3)`` asks for two; so
one that is withheld is not the end."""

DISK_HANGS_NS: Final = 90 * SECOND
"""A disk call that takes longer makes no progress. Disks hang for a minute and come back: Linux
tries a SCSI command again for 30 s and more, an NFS server fails over in about as long. Being
restarted for that would cost what was not journaled yet, and the new process would wait for the
same disk."""

_EXTENSION_EVERY_S: Final = 10.0
_EXTENSION_NS: Final = 30 * SECOND
"""Well within the 90 s that a service manager waits by default, and room for two that are late."""

_log = get_logger()


async def report_status(
    notifier: Notifier, snapshots: Callable[[], tuple[RecoverySnapshot, ...]]
) -> NoReturn:
    """Say what the daemon is doing whenever that changes, until cancelled."""
    reported = ""
    while True:
        text = status_text(snapshots())
        if text != reported:
            notifier.status(text)
            reported = text
        await asyncio.sleep(STATUS_INTERVAL_S)


async def feed_watchdog(
    notifier: Notifier,
    longest_disk_call_ns: Callable[[], int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Give signs of life from the event loop until cancelled, if the manager wants any.

    None is given when the loop comes back late by more than half the interval, nor while a
    thread has been in one disk call for longer than :data:`HANGS_NS`: a sign from a daemon that
    moves nothing would hide exactly that.

    Args:
        notifier: Tells the manager.
        longest_disk_call_ns: How long a thread has been in the disk.
        clock: The moment in nanoseconds.
        sleep: Sleeps for seconds on the event loop.
    """
    interval_ns = notifier.watchdog_ns
    tick_ns = interval_ns // _TICKS
    withheld = ""
    while interval_ns:
        start = clock()
        await sleep(tick_ns / SECOND)
        why = ""
        if clock() - start - tick_ns > interval_ns // 2:
            why = "the event loop was late"
        elif longest_disk_call_ns() > DISK_HANGS_NS:
            why = "a thread does not come back from the disk"
        if not why:
            notifier.alive()
        elif why != withheld:
            _log.error("watchdog.withheld", why=why)
        withheld = why


@contextlib.contextmanager
def more_time(notifier: Notifier, *, every_s: float = _EXTENSION_EVERY_S) -> Iterator[None]:
    """Ask for more time again and again while the context lasts and the event loop lives."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def ask() -> None:
        nonlocal timer
        notifier.extend_timeout(_EXTENSION_NS)
        timer = loop.call_later(every_s, ask)

    timer = loop.call_later(every_s, ask)
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def reloading(notifier: Notifier) -> Iterator[None]:
    """Tell that the configuration is being read while the context lasts."""
    notifier.reloading()
    try:
        yield
    finally:
        notifier.ready()


def status_text(active: tuple[RecoverySnapshot, ...]) -> str:
    """Say in one line what the daemon does, for ``systemctl status``."""
    if not active:
        return "serving; no recovery under way"
    first = active[0]
    left = format_size(first.total_bytes - first.verified_bytes)
    eta = "" if first.eta_ns is None else f", ETA {format_duration(first.eta_ns / SECOND)}"
    waiting = f", waiting for {first.waiting_for}" if first.waiting_for else ""
    others = f" (and {len(active) - 1} more)" if len(active) > 1 else ""
    return (
        f"recovering {first.checkpoint}: {first.units_done}/{first.units_total} units, "
        f"{left} left{eta}{_phases_text(first.phases)}{waiting}{others}"
    )


def _phases_text(phases: Sequence[PhaseSnapshot]) -> str:
    """Say how far the phases of a recovery are; empty if there is one."""
    if len(phases) < _PHASES_MIN:
        return ""
    said = []
    for phase in phases[:_PHASES_SHOWN]:
        how = f"{format_size(phase.left_bytes)} left"
        if phase.placed_ns is not None:
            how = "placed"
        elif phase.durable_ns is not None:
            how = "here"
        said.append(f"{phase.name} {how}")
    return f", {', '.join(said)}"
