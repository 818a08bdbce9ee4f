from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from ckptd.daemon.host.disk_load import DiskCounters, OwnCounters
from ckptd.daemon.keep import save_pace
from ckptd.daemon.keep.save_pace import SavePace
from ckptd.limits import MIB


class Disk:
    """Counts what a test says."""

    def __init__(self) -> None:
        self.all = DiskCounters(0, 0, 0)
        self.own = OwnCounters(0, 0)
        self.is_there = True

    def counted(self, disk: str) -> DiskCounters | None:
        assert disk == "vda"
        return self.all if self.is_there else None


async def at_once(look: Callable[[], object]) -> object:
    """Look here, so that nothing is read or written amid a look."""
    return look()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(save_pace, "_LOOK_S", 0.0)
    monkeypatch.setattr(save_pace, "counted", made.counted)
    monkeypatch.setattr(save_pace, "own_counted", lambda: made.own)
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    return made


@pytest.fixture
def ended() -> threading.Event:
    ended = threading.Event()
    ended.set()  # nothing sleeps
    return ended


async def share_after(pace: SavePace, disk: Disk, *, read_bytes: int, written_bytes: int) -> float:
    """Return the share once something was read and written between two looks."""
    running = asyncio.ensure_future(pace.measure())
    for _ in range(20):
        before = disk.all
        disk.own = OwnCounters(disk.own.read_bytes + read_bytes, 0)
        disk.all = DiskCounters(
            before.read_bytes + read_bytes, before.written_bytes + written_bytes, 0
        )
        pace(read_bytes or MIB)
        await asyncio.sleep(0)  # for one look
    share = pace._share
    running.cancel()
    return share


async def test_a_save_is_read_slower_while_its_job_writes(
    disk: Disk, ended: threading.Event
) -> None:
    pace = SavePace(MIB, "vda", is_busy=lambda: False, ended=ended)
    assert await share_after(pace, disk, read_bytes=MIB, written_bytes=100 * MIB) < 1.0


async def test_its_own_reads_are_nobody_elses(disk: Disk, ended: threading.Event) -> None:
    pace = SavePace(MIB, "vda", is_busy=lambda: False, ended=ended)
    assert await share_after(pace, disk, read_bytes=100 * MIB, written_bytes=0) == 1.0


async def test_what_lies_in_memory_is_read_at_its_rate(disk: Disk, ended: threading.Event) -> None:
    pace = SavePace(MIB, "vda", is_busy=lambda: False, ended=ended)
    assert await share_after(pace, disk, read_bytes=0, written_bytes=100 * MIB) == 1.0


@pytest.mark.parametrize("name", ["vda", None])
async def test_while_bodies_move_it_is_a_quarter(
    disk: Disk, ended: threading.Event, name: str | None
) -> None:
    disk.is_there = False
    pace = SavePace(MIB, name, is_busy=lambda: True, ended=ended)
    assert await share_after(pace, disk, read_bytes=MIB, written_bytes=0) == 0.25


def test_it_breathes_after_each_few_bytes_beside_others_only() -> None:
    waited: list[float] = []

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return True

    ended = Ended()
    SavePace(MIB, "vda", is_busy=lambda: False, ended=ended).breathe(MIB // 4)
    assert waited == []
    SavePace(MIB, "vda", is_busy=lambda: True, ended=ended).breathe(MIB // 4)
    assert waited == [1.0]
