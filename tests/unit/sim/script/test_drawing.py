from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import check_manifest
from ckptd.sim.script.chaos import draw_chaos
from ckptd.sim.script.drawing import DRAWN_BLOCKS_MAX, NODES_MAX, draw_scenario
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.job_drawing import draw_jobs
from ckptd.sim.script.requests import Cancel
from ckptd.sim.script.scenario import Scenario

DRAWN = [draw_scenario(seed) for seed in range(300)]


def spelled(scenario: Scenario) -> str:
    """Spell what has a spelling: all but the versions."""
    wishes = [(wish.node, wish.version.name, wish.at_ns) for wish in scenario.wishes]
    nodes = [(plan.name, plan.egress_bytes_per_s, plan.bad_share) for plan in scenario.nodes]
    return repr((nodes, wishes, scenario.faults, scenario.jitter))


def test_equal_seeds_draw_equal_scenarios() -> None:
    assert spelled(draw_scenario(7)) == spelled(draw_scenario(7))
    assert spelled(draw_scenario(7)) != spelled(draw_scenario(8))


def test_drawn_scenarios_make_sense() -> None:
    for scenario in DRAWN:
        assert 2 <= len(scenario.nodes) <= NODES_MAX
        assert scenario.wishes
        holders = {plan.name for plan in scenario.nodes if plan.holds}
        for wish in scenario.wishes:
            check_manifest(wish.version.space.manifest)
            assert 0 < wish.version.space.block_count <= DRAWN_BLOCKS_MAX
            assert wish.node not in holders


def test_most_scenarios_can_be_completed_and_some_cannot() -> None:
    def has_everything(scenario: Scenario) -> bool:
        held = {wish.version.digest: BlockSet() for wish in scenario.wishes}
        for plan in scenario.nodes:
            for known in plan.holds:
                blocks = known.version.blocks if known.blocks is None else known.blocks
                held[known.version.digest] = held.get(known.version.digest, BlockSet()) | blocks
        return all(held[wish.version.digest] == wish.version.blocks for wish in scenario.wishes)

    share = sum(map(has_everything, DRAWN)) / len(DRAWN)
    assert 0.85 < share < 1


def test_every_kind_of_fault_is_drawn() -> None:
    def kinds(fault: type[Fault]) -> set[type[Fault]]:
        return {fault} | {kind for child in fault.__subclasses__() for kind in kinds(child)}

    others = [draw(seed) for draw in (draw_chaos, draw_jobs) for seed in range(100)]
    drawn = {type(fault) for scenario in (*DRAWN, *others) for fault in scenario.faults}
    # Dataclasses with slots are made twice; only the last of a name counts.
    missing = {kind.__name__ for kind in kinds(Fault)} - {kind.__name__ for kind in drawn}
    assert missing == {"Fault"}


def test_faults_are_over_when_the_scenario_says_so() -> None:
    for scenario in DRAWN:
        for fault in scenario.faults:
            assert fault.at_ns <= scenario.quiet_ns
            if fault.for_ns is not None and not isinstance(fault, Cancel):
                assert fault.at_ns + fault.for_ns <= scenario.quiet_ns


def test_some_clusters_have_zeros_at_the_ends_of_units() -> None:
    drawn = draw_scenario(13)
    versions = {wish.version for wish in drawn.wishes}
    assert any(version.zeros for version in versions)
    for version in versions:
        zeros = {version.space.unit_of(block) for block in version.zeros}
        assert all(version.space.manifest.units[unit].block_count > 1 for unit in zeros)
