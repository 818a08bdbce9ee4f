"""A limit that is too small is said before the kernel kills somebody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor import memory as module
from ckptd.daemon.doctor.memory import OWN_BYTES, judge_memory, look_at_memory
from ckptd.daemon.host.memory_limits import MemoryLimit
from ckptd.limits import GIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import CheckResult
from ckptd.store.files.roots import Root

BUFFERS_BYTES = 256 * MIB
NEEDED_BYTES = OWN_BYTES + BUFFERS_BYTES
LARGEST = Holding(
    checkpoint=CheckpointName("llama/rank-3"),
    version=Version(1200),
    digest=Digest("ab" * 32),
    size_bytes=10 * GIB,
    block_count=10_240,
    blocks=BlockSet.full(10_240),
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    opened = Root.open("data", str(tmp_path))
    yield opened
    opened.close()


def judged(
    root: Root, limit: MemoryLimit | None, *, largest: Holding | None = LARGEST
) -> list[CheckRow]:
    return list(judge_memory(limit, BUFFERS_BYTES, [root], largest))


def in_memory(monkeypatch: pytest.MonkeyPatch, *, is_so: bool) -> None:
    monkeypatch.setattr(Root, "is_in_memory", lambda root: is_so)


def test_no_limit_is_fine(root: Root) -> None:
    (row,) = judged(root, None)
    assert (row.verdict, row.finding) == (
        CheckResult.OK,
        "has no limit but that of the machine",
    )


@pytest.mark.parametrize(
    ("limit_bytes", "verdict"),
    [(NEEDED_BYTES, CheckResult.OK), (NEEDED_BYTES - 1, CheckResult.WARN)],
)
def test_a_limit_below_what_a_daemon_may_need_is_warned_of(
    root: Root, monkeypatch: pytest.MonkeyPatch, limit_bytes: int, verdict: CheckResult
) -> None:
    in_memory(monkeypatch, is_so=False)
    (row,) = judged(root, MemoryLimit(limit_bytes, 0, "/ckptd.service"))
    assert row.verdict is verdict
    assert "cgroup /ckptd.service" in row.finding
    assert ("MemoryMax" in row.remedy) is (verdict is CheckResult.WARN)


@pytest.mark.parametrize(
    ("left_bytes", "is_so", "largest", "fails"),
    [
        (10 * GIB - 1, True, LARGEST, True),
        (10 * GIB, True, LARGEST, False),
        (0, False, LARGEST, False),
        (0, True, None, False),
    ],
)
def test_a_recovery_into_memory_that_would_be_killed_is_a_failure(
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
    left_bytes: int,
    is_so: bool,
    largest: Holding | None,
    fails: bool,
) -> None:
    in_memory(monkeypatch, is_so=is_so)
    _, *rows = judged(root, MemoryLimit(20 * GIB, left_bytes, "/a"), largest=largest)
    assert [row.verdict for row in rows] == [CheckResult.FAIL] * fails
    if fails:
        (row,) = rows
        assert row.subject == "root data"
        assert "a recovery of llama/rank-3@1200 (10 GiB) would be killed" in row.finding


async def test_the_limit_is_asked_for_whenever_somebody_looks(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory(monkeypatch, is_so=True)
    limits = [None, MemoryLimit(GIB, GIB, "/a")]
    monkeypatch.setattr(module, "memory_limit", lambda: limits.pop(0))
    for expected in ([CheckResult.OK], [CheckResult.OK, CheckResult.FAIL]):
        rows = [row async for row in look_at_memory(BUFFERS_BYTES, [root], lambda: [LARGEST])]
        assert [row.verdict for row in rows] == expected
