import pytest

from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName
from ckptd.model.manifest import check_manifest
from ckptd.model.words import Criticality
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion, UnitPlan

UNITS = [
    UnitPlan(Criticality.DEFERRED, 2 * MIB),
    UnitPlan(Criticality.CRITICAL, 3 * MIB - 5),
    UnitPlan(Criticality.NORMAL, 0),
]
VERSION = SavedVersion("llama/a", 100, UNITS, MIB)


def test_a_layout_keeps_the_rules_of_a_manifest() -> None:
    check_manifest(VERSION.space.manifest)


def test_urgent_units_come_first() -> None:
    assert VERSION.classes[Criticality.CRITICAL] == BlockSet([(0, 3)])
    assert VERSION.classes[Criticality.DEFERRED] == BlockSet([(3, 5)])
    assert VERSION.name == "llama/a@100"


def test_the_last_blocks_of_a_unit_may_be_zeros() -> None:
    plans = [UNITS[0]._replace(zero_count=1), UNITS[1]._replace(zero_count=2), UNITS[2]]
    sparse = SavedVersion("llama/a", 100, plans, MIB)
    assert VERSION.zeros == BlockSet()
    assert sparse.zeros == sparse.alike("other").zeros == BlockSet([(1, 3), (4, 5)])
    full = sparse.with_zeros([0] * len(sparse.space.manifest.units))
    assert (full.digest, full.zeros) == (sparse.digest, BlockSet())


@pytest.mark.parametrize(
    ("start", "received", "block"),
    [
        (0, 0, 0),
        (0, MIB - 1, 0),
        (0, MIB, 1),
        (0, 3 * MIB - 6, 2),
        (0, 3 * MIB - 5, 3),
        (2, MIB - 6, 2),
        (2, MIB - 5, 3),
        (0, 5 * MIB - 5, 5),
    ],
)
def test_a_block_counts_once_its_last_byte_is_here(start: int, received: int, block: int) -> None:
    assert VERSION.block_after(start, received) == block


def test_sizes_are_those_of_the_address_space() -> None:
    assert VERSION.run_bytes(0, 5) == VERSION.size_bytes == 5 * MIB - 5
    assert VERSION.set_bytes(BlockSet([(0, 1), (2, 4)])) == 3 * MIB - 5


def test_versions_differ_in_identity() -> None:
    assert VERSION.digest != SavedVersion("llama/a", 200, UNITS, MIB).digest
    assert VERSION.digest != SavedVersion("llama/b", 100, UNITS, MIB).digest
    assert len(VERSION.digest) == 64


def test_other_content_under_the_same_version_looks_alike() -> None:
    other = VERSION.alike("~other")
    assert (other.checkpoint, other.version) == (VERSION.checkpoint, VERSION.version)
    assert other.space.size_bytes == VERSION.space.size_bytes
    assert other.classes == VERSION.classes
    assert len({VERSION.digest, other.digest, VERSION.alike("~third").digest}) == 3


def test_shards_are_joined_with_the_zeros_that_they_have() -> None:
    shards = [
        SavedVersion(
            f"llama/shard-{index}-of-2",
            100,
            [UNITS[1], UNITS[0]._replace(zero_count=1)],
            MIB,
            prefix=f"rank-{index}/",
        )
        for index in range(2)
    ]
    joined = JoinedVersion(CheckpointName("llama"), shards)
    check_manifest(joined.space.manifest)
    assert joined.name == "llama@100"
    assert joined.size_bytes == sum(shard.size_bytes for shard in shards)
    assert joined.digest == JoinedVersion.digest_of(reversed(shards))
    assert joined.classes[Criticality.CRITICAL] == BlockSet([(0, 6)])
    assert joined.zeros == BlockSet([(7, 8), (9, 10)])
    held = {shards[0].digest: shards[0].blocks, shards[1].digest: BlockSet()}
    assert joined.of_members(held.__getitem__) == joined.joint.blocks_of(shards[0].digest)


def test_units_are_put_in_phases_with_the_zeros_that_they_have() -> None:
    units = [
        UnitPlan(Criticality.CRITICAL, MIB),
        UnitPlan(Criticality.NORMAL, 4 * MIB, zero_count=2),
    ]
    plain = SavedVersion("llama/a", 100, units, MIB)
    turned = plain.in_phases([1, 0])
    assert [phase.blocks for phase in turned.space.phases] == [(0, 4), (4, 5)]
    assert (plain.zeros, turned.zeros) == (BlockSet([(3, 5)]), BlockSet([(2, 4)]))
    assert turned.alike("other").space.phases == turned.space.phases
    assert len(plain.space.phases) == 1
