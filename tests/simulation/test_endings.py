"""How a simulated recovery ends of which nobody has everything, with all checkers watching."""

from __future__ import annotations

import pytest

from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.words import Criticality, FailureCause, Result
from ckptd.sim.cluster import Cluster
from ckptd.sim.world.layouts import SavedVersion, UnitPlan
from tests.support.simulation import R0, R, two_sources

CRITICAL, NORMAL, DEFERRED = Criticality


def version(*, is_optional: bool = False) -> SavedVersion:
    """Lay out three units of four blocks."""
    units = [
        UnitPlan(CRITICAL, 4 * MIB),
        UnitPlan(NORMAL, 4 * MIB),
        UnitPlan(DEFERRED, 4 * MIB, is_optional=is_optional),
    ]
    return SavedVersion("llama/a", 100, units, MIB)


@pytest.mark.parametrize("patience_s", [None, 2, 20])
@pytest.mark.parametrize(
    ("is_optional", "held", "allow_partial", "result", "cause"),
    [
        (False, (0, 11), False, Result.FAILED, FailureCause.REQUIRED_MISSING),
        (False, (0, 11), True, Result.PARTIAL, None),
        (True, (0, 11), False, Result.COMPLETE, None),
        (True, (0, 8), True, Result.COMPLETE, None),
        (True, (0, 7), False, Result.FAILED, FailureCause.REQUIRED_MISSING),
        (True, (1, 12), True, Result.FAILED, FailureCause.CRITICAL_MISSING),
        (False, (0, 3), True, Result.FAILED, FailureCause.CRITICAL_MISSING),
    ],
)
def test_what_is_missing_decides_how_it_ends(
    patience_s: int | None,
    is_optional: bool,
    held: tuple[int, int],
    allow_partial: bool,
    result: Result,
    cause: FailureCause | None,
) -> None:
    scenario = two_sources(
        version(is_optional=is_optional),
        held=BlockSet([held]),
        patience_ns=None if patience_s is None else patience_s * SECOND,
        allow_partial=allow_partial,
    )
    cluster = Cluster(scenario)
    cluster.run()
    if patience_s is None and result is not Result.COMPLETE:
        assert R0 not in cluster.nodes[R].ends, "it waits for somebody who has the rest"
        return
    _, end = cluster.nodes[R].ends[R0]
    assert (end.result, end.cause) == (result, cause)
