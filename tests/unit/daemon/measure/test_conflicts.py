"""Versions with several contents are counted, and each is said once."""

from __future__ import annotations

import pytest

from ckptd.core.peers.conflicts import Said
from ckptd.daemon.measure import conflicts
from ckptd.daemon.measure.conflicts import ConflictWatch
from tests.support.scheduling import A, B, holding, saved

ONE, OTHER = saved(1, version=7), saved(2, version=7)


async def test_a_conflict_is_said_when_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Said] = []
    lines: list[tuple[str, dict[str, object]]] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            lines.append((event, fields))

    monkeypatch.setattr(conflicts, "_log", Log())
    watch = ConflictWatch(A, lambda: said[-1])
    assert watch.conflicts.count == 0
    for held in ([ONE], [OTHER], [OTHER], [ONE], [OTHER]):
        said.append([(A, [holding(ONE)]), (B, [holding(each) for each in held])])
        found = await watch.look()
        assert found == watch.conflicts
        assert found.count == (held == [OTHER])
    assert [event for event, _ in lines] == ["version.conflict"] * 2
    assert lines[0][1] == {
        "checkpoint": "llama/rank-0",
        "version": 7,
        "contents": "; ".join(sorted([f"{ONE.digest[:12]} at a", f"{OTHER.digest[:12]} at b"])),
    }
