from __future__ import annotations

import pytest

from ckptd.daemon.doctor.congestion import judge_congestion, look_at_congestion
from ckptd.limits import MIB
from ckptd.model.words import CheckResult
from ckptd.net.source.congestion import SYSTEM, Congestion, PacedSending


async def test_what_is_in_use_is_named() -> None:
    paced = Congestion(SYSTEM), PacedSending()
    rows = [row async for row in look_at_congestion(lambda: paced)]
    assert [(row.check, row.verdict) for row in rows] == [("congestion", CheckResult.OK)]
    assert judge_congestion("bbr", PacedSending(), is_auto=False).finding == (
        "congestion control: bbr"
    )


@pytest.mark.parametrize(("is_auto", "remedy"), [(False, '"auto"'), (True, "root")])
def test_timers_that_bring_nothing_are_named_with_what_helps(is_auto: bool, remedy: str) -> None:
    row = judge_congestion("bbr", PacedSending("bbr", 3, 2048 * MIB, 150), is_auto=is_auto)
    assert row.verdict is CheckResult.WARN
    assert row.finding.startswith(
        "timers of bbr paced 2 GiB over 3 connections with a round trip of 0.15 ms at most"
    )
    assert remedy in row.remedy
