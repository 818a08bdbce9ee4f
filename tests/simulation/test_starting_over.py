"""Any number of liars beside one complete source, whatever they say to be asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import pytest

from ckptd.core import scheduler
from ckptd.core.events import HoldingsArrived
from ckptd.core.options import Options, TrustOptions
from ckptd.core.peers import claims
from ckptd.core.state.step import NodeHandler, Step
from ckptd.limits import MS
from ckptd.model.ids import Origin
from ckptd.model.words import Confirmation
from ckptd.sim.cases.starting_over import RUSES, starting_over
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.node.source_side import Ruse

_on_holdings_arrived = claims.on_holdings_arrived


@pytest.mark.parametrize("bad_share", [1.0, 0.3])
@pytest.mark.parametrize("ruse", RUSES, ids=str)
def test_liars_of_one_kind_cost_a_few_blocks_each(ruse: Ruse, bad_share: float) -> None:
    starting_over(1, ruses=(ruse,) * 3, bad_share=bad_share).hold()


@pytest.mark.parametrize("bad_share", [1.0, 0.3])
def test_many_liars_of_all_kinds_cost_a_few_blocks_each(bad_share: float) -> None:
    starting_over(2, ruses=RUSES * 3, bad_share=bad_share).hold()


def _of_this_epoch(event: HoldingsArrived) -> Origin:
    return Origin(f"{event.origin} {event.epoch}")


def _of_the_stated_id(event: HoldingsArrived) -> Origin:
    return Origin(event.node)


@pytest.mark.parametrize(
    ("origin", "ruse"),
    [
        (_of_this_epoch, Ruse(epoch_ns=250 * MS)),
        (_of_the_stated_id, Ruse(states=RUSES[-1].states)),
    ],
)
def test_blame_that_the_blamed_can_reset_bounds_nothing(
    origin: Callable[[HoldingsArrived], Origin], ruse: Ruse
) -> None:
    def arrive(step: Step, event: HoldingsArrived) -> None:
        _on_holdings_arrived(step, replace(event, origin=origin(event)))

    handlers = {**scheduler._HANDLERS, HoldingsArrived: NodeHandler(HoldingsArrived, arrive)}
    case = starting_over(1, ruses=(ruse,) * 3)
    with (
        mock.patch("ckptd.core.scheduler._HANDLERS", handlers),
        mock.patch("ckptd.sim.cluster.Cluster._checks", return_value=[]),
        pytest.raises(AssertionError, match=r"blocks|honest|quarantine of s0"),
    ):
        case.hold()


def test_excuses_without_a_limit_on_strikes_bound_nothing() -> None:
    case = starting_over(1, ruses=(Ruse(Confirmation.NOT_HELD, epoch_ns=100 * MS),) * 3)
    trust = TrustOptions(strikes_max=10**6, excused_units_max=10**6)
    options = NodeOptions(Options(trust=trust))
    case.hold()
    case = replace(case, scenario=replace(case.scenario, options=options))
    with (
        mock.patch("ckptd.sim.cluster.Cluster._checks", return_value=[]),
        pytest.raises(AssertionError, match="blocks beyond"),
    ):
        case.hold()
