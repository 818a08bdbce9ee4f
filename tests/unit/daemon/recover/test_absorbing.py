"""What a node can take in is what it took in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from msgspec import structs

from ckptd.core.report.learned_rate import LearnedRate
from ckptd.daemon.recover.absorbing import Absorbing, absorbing_of
from ckptd.limits import MIB
from ckptd.model.ids import PathId, RecoveryId
from ckptd.model.words import RateOrigin, Result
from ckptd.store.records.ended import EndedRecovery
from tests.support.stores import ended


def absorbing(
    recoveries: Sequence[EndedRecovery], rates: Mapping[PathId, LearnedRate]
) -> Absorbing:
    recovering = SimpleNamespace(
        book=SimpleNamespace(ended=lambda: recoveries),
        scheduler=SimpleNamespace(learned_rates=lambda now: rates),
        runtime=SimpleNamespace(now=lambda: 0),
    )
    return absorbing_of(cast("Any", recovering))


def recovered(received_mib: int, duration_s: float, **more: object) -> EndedRecovery:
    fields: dict[str, object] = {
        "result": Result.COMPLETE,
        "received_bytes": received_mib * MIB,
        "wasted_bytes": 0,
        "duration_s": duration_s,
    }
    return structs.replace(ended(RecoveryId("r")), **{**fields, **more})


def test_what_a_node_can_take_in_is_what_the_fastest_long_recovery_brought() -> None:
    rates = {
        PathId(name): LearnedRate(rate * MIB, None, 0, RateOrigin.RECOVERY)
        for name, rate in [("node-b", 300), ("node-c", 400)]
    }
    recoveries = [
        recovered(100, 1.0),
        recovered(800, 4.0),
        recovered(63, 0.1),  # too short to say anything
        recovered(1000, 5.0, wasted_bytes=500 * MIB),
        recovered(1000, 1.0, result=Result.FAILED),
    ]
    assert absorbing(recoveries, rates) == Absorbing(3, 200.0 * MIB, "node-c", 400.0 * MIB)
    assert absorbing([], {}) == Absorbing(0, None, "", None)
