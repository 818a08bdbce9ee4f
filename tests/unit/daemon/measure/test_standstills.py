"""What stands still is said once, and when it goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from structlog.testing import capture_logs

from ckptd.daemon.measure.standstills import Standstills


def recovery(name: str, waiting_for: str = "", *, is_idle: bool = False) -> SimpleNamespace:
    return SimpleNamespace(recovery=name, waiting_for=waiting_for, is_idle=is_idle)


def test_each_standstill_and_its_end_is_said_once() -> None:
    now: list[SimpleNamespace] = []
    standstills = Standstills(lambda: cast("Any", now))

    def said(*recoveries: SimpleNamespace) -> list[tuple[str, str]]:
        now[:] = recoveries
        with capture_logs() as lines:
            standstills.look()
        return [(line["event"], line["recovery"]) for line in lines]

    assert said(recovery("a"), recovery("b", "a peer")) == [("recovery.waiting", "b")]
    assert said(recovery("a"), recovery("b", "another peer")) == []
    assert said(recovery("a", "nobody", is_idle=True), recovery("b")) == [("recovery.moving", "b")]
    assert said(recovery("b", "a peer")) == [("recovery.waiting", "b")]
    assert said() == [], "one that ended did not go on"
    assert said(recovery("b")) == []
