"""Who holds any of a version, and who recovers it as well."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.options import Options
from ckptd.core.peers.holders import look_for_holders
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Epoch, NodeId
from tests.support.scheduling import A, B, C, R, blocks, further_path, holding, saved, wanted

VERSION, OTHER = saved(8), saved(3)


def holder(node: NodeId, held: BlockSet | None, *, is_live: bool = True) -> Peer:
    return Peer(node, Epoch(1), is_live, {VERSION.digest: holding(VERSION, held)})


@pytest.fixture
def step() -> Step:
    """A recovery of a version that three peers hold: all, a part, and one that is lost."""
    state = State(
        peers={
            A: holder(A, None),
            B: holder(B, blocks((2, 4))),
            C: holder(C, blocks((0, 8)), is_live=False),
        }
    )
    state.recoveries[R] = Recovery(wanted(VERSION), 1, 0, digest=VERSION.digest)
    return Step(state, Options(), Random(1), now=1)


def test_live_peers_that_have_any_of_it_are_counted(step: Step) -> None:
    look_for_holders(step)
    swarm = step.state.recoveries[R].swarm
    assert (swarm.source_count, swarm.is_swarming) == (2, True)


def test_what_those_have_that_recover_it_has_spread_and_complete_ones_do_not_count(
    step: Step,
) -> None:
    look_for_holders(step)
    spread = step.state.recoveries[R].swarm.spread
    assert [block for block in range(8) if block in spread] == [2, 3]


def test_alone_with_complete_sources_nobody_swarms(step: Step) -> None:
    del step.state.peers[B]
    look_for_holders(step)
    swarm = step.state.recoveries[R].swarm
    assert (swarm.source_count, swarm.is_swarming) == (1, False)


def test_holders_of_another_version_or_of_none_that_is_chosen_do_not_count(step: Step) -> None:
    recovery = step.state.recoveries[R]
    recovery.digest = None
    look_for_holders(step)
    assert recovery.swarm.source_count == 0
    recovery.digest = OTHER.digest
    look_for_holders(step)
    assert recovery.swarm.source_count == 0


def test_what_a_node_has_spread_once_however_many_paths_lead_to_it(step: Step) -> None:
    again = holder(B, blocks((2, 4)))
    again.path = further_path(B, "x")
    step.state.add_peer(again)
    look_for_holders(step)
    swarm = step.state.recoveries[R].swarm
    assert swarm.spread.had_by[:2] == [blocks((2, 4)), blocks()]
    assert swarm.source_count == 3
