from random import Random

from ckptd.limits import MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import Confirmation, Criticality, RangeOutcome
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion, UnitPlan
from ckptd.sim.world.mishaps import Mishaps

VERSION = SavedVersion("llama/a", 100, [UnitPlan(Criticality.NORMAL, 20 * MIB)], MIB)
PART = BlockSet([(0, 10)])
ASKED = BlockSet.single(3)


def serving(blocks: BlockSet = PART) -> Server:
    server = Server(NodeId("s"), Random(0), Mishaps(Random(0)))
    server.hold(VERSION, blocks)
    return server


def test_it_serves_what_it_holds_and_says_so() -> None:
    server = serving()
    assert server.claims() == (VERSION.holding(PART),)
    assert server.answer(VERSION.digest, BlockRun(5, 10)) is None
    assert server.answer(VERSION.digest, BlockRun(5, 11)) is RangeOutcome.NOT_HELD
    assert server.confirm(VERSION.digest, ASKED) == (Confirmation.HELD, None)


def test_what_is_lost_is_claimed_until_it_is_noticed() -> None:
    server = serving()
    server.lose(VERSION.digest)
    assert server.claims() == (VERSION.holding(PART),)
    assert server.answer(VERSION.digest, BlockRun(0, 1)) is RangeOutcome.NOT_HELD
    assert server.confirm(VERSION.digest, ASKED) == (Confirmation.NOT_HELD, None)
    assert server.claims() == ()


def test_overwritten_files_are_sent_wrongly_until_somebody_asks() -> None:
    server = serving()
    server.overwrite(VERSION.digest)
    assert server.good_blocks(VERSION.digest) == BlockSet()
    assert server.bad_among(VERSION.digest, 3, 5) == (3, 4)
    assert server.confirm(VERSION.digest, ASKED) == (Confirmation.NOT_HELD, None)
    assert server.answer(VERSION.digest, BlockRun(0, 1)) is RangeOutcome.NOT_HELD


def test_a_liar_stands_by_its_bad_blocks() -> None:
    server = serving()
    server.bad_share = 0.5
    bad = server.bad_among(VERSION.digest, 0, 1000)
    assert 400 < len(bad) < 600
    assert server.confirm(VERSION.digest, ASKED) == (Confirmation.HELD, None)


def test_bad_memory_lies_like_a_liar() -> None:
    server = serving()
    server.memory_bad_share = 1.0
    assert server.bad_among(VERSION.digest, 0, 2) == (0, 1)


def test_whoever_announces_is_told_of_every_change() -> None:
    server = serving()
    changes: list[int] = []
    server.on_changed = lambda: changes.append(len(server.claims()))
    server.hold(VERSION, VERSION.blocks)
    server.disclaim(VERSION.digest)
    assert changes == [1, 0]


def test_rot_is_sent_until_somebody_asks_about_it_and_takes_its_unit_alone() -> None:
    units = [UnitPlan(Criticality.NORMAL, 4 * MIB), UnitPlan(Criticality.NORMAL, 4 * MIB)]
    version = SavedVersion("llama/a", 100, units, MIB)
    server = Server(NodeId("s"), Random(0), Mishaps(Random(0)))
    server.hold(version, version.blocks)
    server.rot(version.digest, BlockSet([(1, 2), (6, 7)]))
    assert server.good_blocks(version.digest) == version.blocks - BlockSet([(1, 2), (6, 7)])
    assert server.bad_among(version.digest, 0, 8) == (1, 6)
    assert server.bad_among(version.digest, 2, 6) == ()
    assert server.confirm(version.digest, BlockSet.single(0)) == (Confirmation.HELD, None)
    wrong = BlockSet.single(1)
    assert server.confirm(version.digest, BlockSet([(0, 2)])) == (Confirmation.NOT_HELD, wrong)
    assert server.claims() == (version.holding(BlockSet([(4, 8)])),)
    assert server.answer(version.digest, BlockRun(0, 1)) is RangeOutcome.NOT_HELD


def test_who_asks_for_what_was_joined_gets_the_shards_that_are_here() -> None:
    plan = [UnitPlan(Criticality.NORMAL, 4 * MIB)]
    shards = [
        SavedVersion(f"llama/shard-{at}-of-2", 100, plan, MIB, prefix=f"{at}/") for at in range(2)
    ]
    joined = JoinedVersion(CheckpointName("llama"), shards)
    server = Server(NodeId("s"), Random(0), Mishaps(Random(0)))
    server.joints = {joined.digest: joined}
    server.hold(shards[1], shards[1].blocks)
    assert server.good_blocks(joined.digest) == BlockSet([(4, 8)])
    assert server.answer(joined.digest, BlockRun(4, 8)) is None
    assert server.answer(joined.digest, BlockRun(0, 4)) is RangeOutcome.NOT_HELD
    server.rot(shards[1].digest, BlockSet([(1, 2)]))
    assert server.bad_among(joined.digest, 4, 8) == (5,)
    assert server.confirm(joined.digest, BlockSet([(4, 5)])) == (Confirmation.HELD, None)
    denied = (Confirmation.NOT_HELD, BlockSet([(5, 6)]))
    assert server.confirm(joined.digest, BlockSet([(5, 6)])) == denied
    server.hold(joined, BlockSet([(0, 3)]))
    assert [held.digest for held in server.claims()] == [shards[1].digest, shards[0].digest]
    assert server.good_blocks(shards[0].digest) == BlockSet([(0, 3)])
