"""What peers have of shards that would be joined."""

from __future__ import annotations

from ckptd.core.jobs.joined_sources import joined_sources
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Version
from ckptd.model.joint import Joint, Member
from tests.support.jobs import JOB, JobScript, all_shards, joint_digest
from tests.support.scheduling import A, B, C

SHARDS = all_shards(2, 4)
JOINT = Joint(JOB, Version(100), [Member(each.digest, each.space.manifest) for each in SHARDS])
DIGEST = joint_digest(each.digest for each in SHARDS)


def test_each_peer_has_the_blocks_of_its_shards() -> None:
    script = JobScript()
    script.tell(script.have(A, SHARDS[0]), script.have(B, *SHARDS), script.have(C))
    found = joined_sources(script.scheduler.inspect(), DIGEST, JOINT, now=script.now)
    everything = BlockSet.full(JOINT.space.block_count)
    assert [each.peer.source.node for each in found] == [A, B]
    assert [each.holding.blocks for each in found] == [
        JOINT.blocks_of(SHARDS[0].digest),
        everything,
    ]
    assert [each.supply.blocks for each in found if each.supply] == [
        each.holding.blocks for each in found
    ]
    assert {each.holding.block_count for each in found} == {JOINT.space.block_count}


def test_nothing_can_be_had_from_who_is_in_quarantine() -> None:
    script = JobScript()
    script.tell(script.have(A, *SHARDS))
    state = script.scheduler.inspect()
    (peer,) = state.peers.values()
    peer.standing.quarantined_until_ns = script.now + 60 * SECOND
    (found,) = joined_sources(state, DIGEST, JOINT, now=script.now)
    assert found.supply is None
