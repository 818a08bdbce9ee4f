"""How long hashing takes, without the time in which others were hashed first."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckptd.daemon.answer import version_hashing
from ckptd.daemon.answer.version_hashing import VersionHashing
from ckptd.daemon.keep.save_pace import SavePace
from ckptd.limits import MIB
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.roots import Root
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.scanning import PublishOrder
from tests.support.stores import write_files


class Clock:
    """Seconds that go on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(version_hashing, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


async def test_what_is_slept_to_keep_to_a_rate_is_counted_apart(root: Root, clock: Clock) -> None:
    await asyncio.to_thread(write_files, Path(root.path, "v1"), {"a": b"1" * 1000, "b": b"2" * 10})
    read: list[int] = []

    class Pace(SavePace):
        def __call__(self, size_bytes: int) -> None:
            read.append(size_bytes)
            clock.sleep(2.0)

    pace = Pace(MIB, None, is_busy=lambda: False, ended=threading.Event())

    def note(progress: HashingProgress) -> None:
        clock.sleep(0.5)  # that long it takes to hash so far

    order = PublishOrder(
        directory=root.absolute("v1"), checkpoint=CheckpointName("llama"), version=Version(1)
    )
    with ThreadPoolExecutor(1) as threads:
        threads.submit(clock.sleep, 1000.0)  # somebody else's turn
        hashing = VersionHashing(threads, 1, pace)
        await hashing.begin(root, "v1", order, note, lambda: False)
        assert (sum(read), hashing.paced_s) == (1010, 2.0 * len(read))
        assert hashing.took_s == 2.5 * len(read)
        unpaced = VersionHashing(threads, 1)
        await unpaced.begin(root, "v1", order, note, lambda: False)
    assert (unpaced.paced_s, unpaced.took_s) == (0.0, 0.5 * len(read))
