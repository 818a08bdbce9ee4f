from ckptd.model.manifest import check_manifest
from ckptd.sim.script.chaos import FAULTS_END_NS, RECEIVER, SHARES, draw_chaos
from ckptd.sim.script.faults import Trouble

DRAWN = [draw_chaos(seed) for seed in range(200)]


def test_an_honest_source_has_everything() -> None:
    for scenario in DRAWN:
        first, *_, receiver = scenario.nodes
        assert first.bad_share == 0
        assert all(held.blocks is None for held in first.holds)
        assert receiver.name == RECEIVER
        for wish in scenario.wishes:
            check_manifest(wish.version.space.manifest)
            assert wish.version.digest in {held.version.digest for held in first.holds}


def test_everything_is_over_at_a_moment() -> None:
    assert {scenario.quiet_ns for scenario in DRAWN} == {FAULTS_END_NS}
    for scenario in DRAWN:
        assert all(fault.over_ns <= FAULTS_END_NS for fault in scenario.faults)


def test_every_node_is_in_trouble_and_some_scenarios_have_none() -> None:
    shares = set()
    for scenario in DRAWN:
        troubles = [fault for fault in scenario.faults if isinstance(fault, Trouble)]
        assert [fault.node for fault in troubles] == [plan.name for plan in scenario.nodes]
        shares |= {fault.share for fault in troubles}
    assert shares == set(SHARES)


def test_liars_versions_without_blocks_and_raised_urgency_are_drawn() -> None:
    assert any(plan.bad_share for scenario in DRAWN for plan in scenario.nodes)
    assert any(not wish.version.blocks for scenario in DRAWN for wish in scenario.wishes)
    assert {wish.is_background for scenario in DRAWN for wish in scenario.wishes} == {True, False}
    assert {len(scenario.wishes) for scenario in DRAWN} == {1, 2}
