"""What comes of joining manifests, and when it is forgotten."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.effects import ENDS, JoinManifests
from ckptd.core.events import (
    JoinRefused,
    ManifestsJoined,
    PeerLost,
    RecoveryCancelled,
    StagingDiscarded,
)
from ckptd.core.jobs.joined import HANDLERS
from ckptd.core.options import JobOptions
from ckptd.core.peers.conflicts import find_conflicts
from ckptd.limits import GIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.words import FailureCause, Stage
from tests.support.jobs import JOB, JobScript, all_shards, ends, joined, joint_digest
from tests.support.scheduling import A, B, R, blocks, holding, holds

TWO = all_shards(2)
J = joint_digest(each.digest for each in TWO)


def joined_at(script: JobScript, node: str) -> Holding | None:
    return script.scheduler.inspect().peers[node].holdings.get(J)  # type: ignore[index]


def test_an_order_to_join_ends_with_what_came_of_it() -> None:
    assert ENDS[JoinManifests] == {ManifestsJoined, JoinRefused}
    assert {handler.event for handler in HANDLERS} == ENDS[JoinManifests]


def test_peers_have_of_it_what_they_have_of_the_shards_now_and_later() -> None:
    script = JobScript()
    script.begin(script.have(A, *TWO), holds(B, holding(TWO[1], blocks((1, 2)))))
    assert script.joint is not None
    at_a, at_b = joined_at(script, A), joined_at(script, B)
    assert at_a is not None
    assert at_a.is_complete
    assert at_b is not None
    assert at_b.blocks == script.joint.from_member(TWO[1].digest, blocks((1, 2)))
    script.tell(holds(B, holding(TWO[1])))
    at_b = joined_at(script, B)
    assert at_b is not None
    assert at_b.blocks == script.joint.blocks_of(TWO[1].digest)
    script.tell(holds(B))
    assert joined_at(script, B) is None
    script.tell(PeerLost(A), script.have(A, TWO[0]))
    at_a = joined_at(script, A)
    assert at_a is not None
    assert at_a.blocks == script.joint.blocks_of(TWO[0].digest)


def test_nobody_is_shown_to_hold_it_under_its_own_digest() -> None:
    script = JobScript()
    script.begin(script.have(A, *TWO))
    digests = {each.digest for each in TWO}
    [(_, said)] = script.scheduler.said(now=script.now)
    assert {each.digest for each in said} == digests
    view = script.scheduler.peer(A, now=script.now)
    assert view is not None
    assert {each.digest for each in view.holdings} == digests
    assert view.source.versions == 2
    assert not script.scheduler.contents(JOB, None, now=script.now)
    assert not find_conflicts(script.scheduler.said(now=script.now), own=B).count


def test_of_what_is_joined_only_the_units_are_staged_that_are_wanted() -> None:
    script = JobScript()
    usual = script.joining

    def choosing(order: JoinManifests) -> ManifestsJoined | JoinRefused:
        event = usual(order)
        assert isinstance(event, ManifestsJoined)
        return replace(event, chosen=blocks((0, 1)))

    script.joining = choosing
    script.begin(script.have(A, *TWO))
    recovery = script.scheduler.inspect().recoveries[R]
    everything = BlockSet.full(recovery.content.space.block_count)
    assert recovery.coverage.unchosen == everything - blocks((0, 1))


def test_what_cannot_be_chosen_of_what_is_joined_ends_the_recovery() -> None:
    script = JobScript()
    usual = script.joining

    def misfit(order: JoinManifests) -> ManifestsJoined | JoinRefused:
        event = usual(order)
        assert isinstance(event, ManifestsJoined)
        return replace(event, misfit="no unit is called so")

    script.joining = misfit
    [end] = ends([*script.begin(script.have(A, *TWO)), *script.tell(StagingDiscarded(R))])
    assert (end.cause, end.message) == (FailureCause.UNKNOWN, "no unit is called so")


def test_what_comes_after_the_end_is_passed_by() -> None:
    script = JobScript()
    orders: list[JoinManifests] = []
    usual = script.joining

    def late(order: JoinManifests) -> ManifestsJoined | JoinRefused:
        orders.append(order)
        script.tell(RecoveryCancelled(R))
        event = usual(order)
        assert isinstance(event, ManifestsJoined | JoinRefused)
        return event

    script.joining = late
    script.begin(script.have(A, *TWO))
    assert not script.scheduler.inspect().recoveries
    assert not script.scheduler.inspect().joints
    script.tell(joined(orders[0], script.shards), StagingDiscarded(R))


def test_it_is_forgotten_with_its_recovery() -> None:
    script = JobScript()
    script.begin(script.have(A, *TWO))
    assert list(script.scheduler.inspect().joints) == [J]
    script.prepare()
    assert script.view().stage is Stage.TRANSFERRING
    script.tell(RecoveryCancelled(R))
    for order in script.in_flight:
        script.end(order)
    script.wake()
    assert not script.scheduler.inspect().recoveries
    assert not script.scheduler.inspect().joints
    assert joined_at(script, A) is None
    assert not ends([])


def test_it_is_predicted_to_be_placed_no_sooner_than_it_may_be() -> None:
    script = JobScript()
    script.tell(script.have(A, *TWO))
    script.scheduler.inspect().peers[A].link.rate.bytes_per_s = 1.0 * GIB
    script.begin()
    script.prepare()
    assert script.recovery().tally.predicted_ns == JobOptions().settle_ns


def test_sources_that_have_other_shards_are_no_receivers_and_give_theirs_in_order() -> None:
    """Else each shard is begun in its middle, and what is left of it comes in pieces of a block."""
    shards = all_shards(2, 64)
    script = JobScript()
    script.begin(script.have(A, shards[0]), script.have(B, shards[1]))
    script.prepare()
    swarm = script.recovery().swarm
    assert not swarm.is_swarming
    asked: dict[str, list[tuple[int, int]]] = {A: [], B: []}
    while script.in_flight:
        order = script.in_flight[0]
        asked[order.source].append((order.blocks.start, order.blocks.end))
        script.deliver(order, after_ms=10)
    for runs in asked.values():
        assert runs == sorted(runs)
    script.tell(holds(B, holding(shards[1], blocks((0, 8)))))
    assert swarm.is_swarming
