"""What the daemon notices of its own certificate while it runs."""

import asyncio
import time
from pathlib import Path

import pytest

from ckptd.core.events import IdentityJudged
from ckptd.daemon.settings import own_identity
from ckptd.daemon.settings.own_identity import watch_validity
from ckptd.net.connection.identity import Identity
from tests.support.certificates import A, Certificates
from tests.support.serving import until


async def test_a_clock_that_is_set_is_noticed_and_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_identity, "_VALIDITY_LOOK_S", 0.001)
    reported: list[str] = []
    now_s, looks = time.time(), 0

    def wall_clock() -> float:
        nonlocal looks
        looks += 1
        return now_s

    identity = Identity(A, Certificates(tmp_path).files(A), wall_clock=wall_clock)

    def report(event: IdentityJudged) -> None:
        reported.append(event.trouble)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch_validity(identity, report))
        await until(lambda: looks > 5)
        assert reported == []
        now_s -= 7200
        await until(lambda: bool(reported))
        looks = 0
        await until(lambda: looks > 5)
        now_s += 7200
        await until(lambda: len(reported) > 1)
        task.cancel()
    assert reported == ["this node's certificate is not valid yet (is the clock right?)", ""]
