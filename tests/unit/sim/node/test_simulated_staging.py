from random import Random

from ckptd.core.events import RecoveryRequested
from ckptd.limits import COPIED_PER_FETCHED, MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.words import Criticality
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.world.disk import Disk
from ckptd.sim.world.layouts import SavedVersion, UnitPlan
from ckptd.sim.world.mishaps import Mishaps
from ckptd.sim.world.virtual_time import World

VERSION = SavedVersion("llama/a", 100, [UnitPlan(Criticality.NORMAL, 100 * MIB)], MIB)


def opened(committed: BlockSet | None = None) -> SimulatedStaging:
    request = RecoveryRequested(RecoveryId("r-1"), VERSION.checkpoint)
    staging = SimulatedStaging(request, Disk(World(0), MIB))
    staging.version = VERSION
    staging.committed = committed or BlockSet()
    staging.open()
    return staging


def test_a_block_counts_once_and_a_bad_one_never() -> None:
    staging = opened(BlockSet([(0, 2)]))
    staging.take(BlockRun(1, 5), (3,))
    staging.take(BlockRun(3, 5), ())
    assert staging.uncommitted_bytes == 3 * MIB


def test_what_is_copied_counts_less() -> None:
    staging = opened()
    staging.take(BlockRun(0, COPIED_PER_FETCHED), (), is_copied=True)
    assert staging.uncommitted_bytes == MIB
    staging.commit(BlockSet([(0, COPIED_PER_FETCHED)]))
    assert staging.uncommitted_bytes == 0


def test_a_commit_makes_room() -> None:
    staging = opened()
    fullness: list[bool] = []
    for block in (47, 48):
        staging.take(BlockRun(0, block), ())
        fullness.append(staging.is_full)
    staging.commit(BlockSet([(0, 8)]))
    fullness.append(staging.is_full)
    assert fullness == [False, True, False]
    assert staging.uncommitted_bytes == 40 * MIB


def test_what_was_not_committed_is_lost_when_it_is_opened_again() -> None:
    staging = opened()
    staging.take(BlockRun(0, 4), ())
    staging.commit(BlockSet([(0, 2)]))
    staging.open()
    staging.take(BlockRun(0, 4), ())
    assert staging.uncommitted_bytes == 2 * MIB


def test_a_sweep_takes_about_half_of_what_was_committed() -> None:
    staging = opened(BlockSet([(0, 8)]))
    before = staging.committed
    removed = staging.sweep(Mishaps(Random(7)))
    assert removed | staging.committed == before
    assert removed
    assert staging.committed
    assert not removed & staging.committed
