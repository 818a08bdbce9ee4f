from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckptd.core.report.views import PhaseSnapshot, RecoverySnapshot
from ckptd.daemon.host.supervision import (
    DISK_HANGS_NS,
    feed_watchdog,
    more_time,
    reloading,
    status_text,
)
from ckptd.daemon.host.systemd import Notifier
from ckptd.limits import MIB, SECOND
from ckptd.model.words import Stage

INTERVAL_NS = 4 * SECOND
TICK_NS = SECOND


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(manager: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(1024))
        except BlockingIOError:
            return messages


class _Over(Exception):
    """The script has no more ticks."""


async def signs(
    manager: socket.socket, lates_ns: list[int], disk_calls_ns: list[int] | None = None
) -> list[int]:
    """Return how many signs of life followed each tick, by how late the loop was at it."""
    now = 0
    lates = iter(lates_ns)
    calls = iter(disk_calls_ns or [0] * len(lates_ns))
    counts: list[int] = []

    async def sleep(duration_s: float) -> None:
        nonlocal now
        assert duration_s * SECOND == TICK_NS
        if now:
            counts.append(len(heard(manager)))
        late_ns = next(lates, None)
        if late_ns is None:
            raise _Over
        now += TICK_NS + late_ns

    with pytest.raises(_Over):
        await feed_watchdog(
            Notifier(manager.getsockname(), watchdog_ns=INTERVAL_NS),
            lambda: next(calls),
            clock=lambda: now,
            sleep=sleep,
        )
    return counts


async def test_a_loop_that_is_on_time_gives_signs_of_life(manager: socket.socket) -> None:
    assert await signs(manager, [0, INTERVAL_NS // 10, INTERVAL_NS // 2]) == [1, 1, 1]


async def test_none_is_given_after_a_tick_that_was_late_by_more_than_half_the_interval(
    manager: socket.socket,
) -> None:
    assert await signs(manager, [0, INTERVAL_NS // 2 + 1, 0]) == [1, 0, 1]


async def test_a_disk_that_hangs_for_a_minute_is_waited_for(manager: socket.socket) -> None:
    """Fault D12: the watchdog is fed."""
    assert await signs(manager, [0, 0], [60 * SECOND, DISK_HANGS_NS]) == [1, 1]


async def test_none_is_given_while_a_thread_does_not_come_back_from_the_disk(
    manager: socket.socket,
) -> None:
    calls_ns = [DISK_HANGS_NS, DISK_HANGS_NS + 1, 3 * DISK_HANGS_NS, 0]
    assert await signs(manager, [0, 0, 0, 0], calls_ns) == [1, 0, 0, 1]


async def test_a_manager_without_a_watchdog_gets_no_signs() -> None:
    await feed_watchdog(Notifier("/nowhere"), lambda: 0)  # returns at once


async def test_more_time_is_asked_for_again_and_again_while_it_is_needed(
    manager: socket.socket,
) -> None:
    loop = asyncio.get_running_loop()
    with more_time(Notifier(manager.getsockname()), every_s=0.001):
        for _ in range(3):
            assert await loop.sock_recv(manager, 1024) == b"EXTEND_TIMEOUT_USEC=30000000"
    heard(manager)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await loop.sock_recv(manager, 1024)


def test_a_reload_is_told_with_its_moment_and_its_end(manager: socket.socket) -> None:
    with reloading(Notifier(manager.getsockname())):
        (begun,) = heard(manager)
    fields = dict(line.split(b"=") for line in begun.splitlines())
    assert fields.keys() == {b"RELOADING", b"MONOTONIC_USEC"}
    assert int(fields[b"MONOTONIC_USEC"]) > 0
    assert heard(manager) == [b"READY=1"]


def recovery(*phases: PhaseSnapshot, waiting_for: str = "") -> tuple[RecoverySnapshot]:
    facts: dict[str, Any] = dict.fromkeys(RecoverySnapshot.__slots__, 0)
    facts |= {"checkpoint": "llama", "stage": Stage.TRANSFERRING, "wasted_bytes": {}}
    facts |= {"units_total": 9, "units_done": 3, "total_bytes": 8 * MIB, "verified_bytes": 2 * MIB}
    facts |= {"eta_ns": 4 * SECOND, "waiting_for": waiting_for, "phases": phases}
    return (RecoverySnapshot(**facts),)


def test_the_status_says_how_far_each_phase_is() -> None:
    core = PhaseSnapshot(0, "core", 1, MIB, 0, durable_ns=SECOND, placed_ns=2 * SECOND)
    serving = PhaseSnapshot(1, "serving", 1, MIB, 0, durable_ns=3 * SECOND, placed_ns=None)
    rest = PhaseSnapshot(2, "rest", 7, 6 * MIB, 5 * MIB, durable_ns=None, placed_ns=None)
    assert status_text(recovery(core, serving, rest)) == (
        "recovering llama: 3/9 units, 6 MiB left, ETA 4.0s, "
        "core placed, serving here, rest 5 MiB left"
    )
    assert status_text(recovery(rest, waiting_for="a")) == (
        "recovering llama: 3/9 units, 6 MiB left, ETA 4.0s, waiting for a"
    )
    assert status_text(()) == "serving; no recovery under way"
