"""Phases and urgency: what goes first, as what it is asked, and what is hedged.

Each cell of the table in docs/policy.md names its test here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import pytest

from ckptd.core.effects import FetchRange
from ckptd.core.events import (
    BlocksCommitted,
    ChoiceWidened,
    DiscoverySettled,
    ManifestArrived,
    PeerLost,
    RangeNeeded,
    RangeProgressed,
    RecoveryPromoted,
    RestWanted,
    StagingPrepared,
    StagingWidened,
    UnitsPrioritized,
)
from ckptd.core.options import Options
from ckptd.core.ranges.hedging import find_hedge, find_race, find_straggler
from ckptd.core.ranges.needing import on_range_needed
from ckptd.core.ranges.phases import bytes_left, settle_phase
from ckptd.core.ranges.picker import is_detour
from ckptd.core.state.deadlines import hedge_after_ns
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, NeedId, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.words import Criticality, RangeOutcome
from tests.support.scenes import Scene
from tests.support.scheduling import (
    NO_COMMITS,
    A,
    B,
    C,
    R,
    Saved,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    phased,
    ranges,
    wanted,
)

CRITICAL, NORMAL, DEFERRED = Criticality

TWO = phased(
    {CRITICAL: [4], NORMAL: [4], DEFERRED: [8]}, {CRITICAL: [4], NORMAL: [4], DEFERRED: [8]}
)
"""Blocks 0-3, 4-7 and 8-15 of the first phase, 16-19, 20-23 and 24-31 of the second one."""
FIRST, SECOND = blocks((0, 16)), blocks((16, 32))

SMALL = adjusted(NO_COMMITS, ranges={"bytes_first": 4 * MIB, "bytes_min": 4 * MIB})
"""Ranges of four blocks."""


def run_through(script: Script) -> list[FetchRange]:
    """Let all come that is asked for, one after the other; return it in the order of the orders."""
    course = list(script.in_flight)
    for order in course:
        course += ranges(script.deliver(order, after_ms=1))
    return course


def spans(orders: Sequence[FetchRange]) -> list[tuple[int, int]]:
    return [(order.blocks.start, order.blocks.end) for order in orders]


def ascends(orders: Sequence[FetchRange]) -> bool:
    starts = [order.blocks.start for order in orders]
    return starts == sorted(starts)


# Order


def test_deferred_units_of_a_phase_go_before_critical_ones_of_the_next() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A)
    assert ascends(run_through(script))


def test_of_several_sources_none_begins_a_phase_before_the_last_one_is_ordered() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A, B, C)
    course = run_through(script)
    first = [order.blocks.start < 16 for order in course]
    assert first == sorted(first, reverse=True)


def test_a_phase_begins_while_the_last_ranges_of_the_one_before_are_on_their_way() -> None:
    """A source is never idle for want of a phase."""
    script = Script(options=SMALL)
    script.start(TWO, A, verified=blocks((0, 12)))
    [last] = script.in_flight
    assert spans([last]) == [(12, 16)]
    [next_one] = ranges(script.tell(holds(B, TWO)))
    assert (next_one.source, next_one.blocks.start) == (B, 16)


def test_what_only_later_phases_have_does_not_wait_for_what_nobody_has() -> None:
    script = Script(options=SMALL)
    script.start(TWO, holds(A, holding(TWO, blocks((0, 4), (16, 32)))))
    course = run_through(script)
    first = [order.blocks.start < 16 for order in course]
    assert first == sorted(first, reverse=True)
    assert BlockSet(spans(course)) == blocks((0, 4), (16, 32))


def test_what_comes_back_of_an_earlier_phase_goes_first_again() -> None:
    script = Script(options=SMALL)
    script.start(TWO, holds(A, holding(TWO, SECOND)))
    [later] = script.in_flight
    script.tell(holds(A, TWO))
    [earlier] = ranges(script.deliver(later, after_ms=1))
    assert earlier.blocks.start == 0


# As what it is asked for


def test_nothing_of_a_later_phase_is_asked_for_as_more_urgent_than_what_is_missing() -> None:
    """Else a source that queues by class would send it before the deferred units of this one."""
    script = Script(options=SMALL)
    script.start(TWO, holds(A, holding(TWO, FIRST)), holds(B, holding(TWO, SECOND)))
    asked = {order.source: order for order in script.in_flight}
    assert asked[A].criticality is CRITICAL
    assert asked[B].blocks.start in blocks((16, 20))
    assert asked[B].criticality is DEFERRED


def test_critical_units_of_a_later_phase_are_asked_for_as_normal_at_most() -> None:
    version = phased({CRITICAL: [8]}, {CRITICAL: [8]})
    script = Script(options=SMALL)
    script.start(
        version,
        holds(A, holding(version, blocks((0, 8)))),
        holds(B, holding(version, blocks((8, 16)))),
    )
    asked = {order.source: order.criticality for order in script.in_flight}
    assert asked == {A: CRITICAL, B: NORMAL}


def test_once_its_phase_is_under_way_they_are_critical() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A, verified=blocks((0, 12)))
    script.tell(holds(B, TWO))
    last, begun = script.in_flight
    assert begun.criticality is DEFERRED
    more = ranges(script.deliver(last, after_ms=1))
    assert script.lane(B).transfers[0].criticality is CRITICAL, "sources go on as they were asked"
    assert [order.criticality for order in more] == [NORMAL]  # no critical ones are left
    assert more[0].blocks.start == 20


def test_units_that_are_less_urgent_are_asked_for_as_they_are() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A)
    asked = {order.blocks.start: order.criticality for order in run_through(script)}
    assert asked == {
        0: CRITICAL, 4: NORMAL, 8: DEFERRED, 12: DEFERRED,
        16: CRITICAL, 20: NORMAL, 24: DEFERRED, 28: DEFERRED,
    }  # fmt: skip


def test_a_phase_that_nobody_has_is_not_under_way() -> None:
    script = Script(options=SMALL)
    script.start(TWO, holds(A, holding(TWO, SECOND)))
    assert [order.criticality for order in script.in_flight] == [CRITICAL]


def test_a_phase_whose_holders_are_lost_is_not_under_way_any_more() -> None:
    script = Script(options=SMALL)
    script.start(TWO, holds(A, holding(TWO, FIRST)), holds(B, holding(TWO, SECOND)))
    later = next(order for order in script.in_flight if order.source == B)
    script.tell(PeerLost(A))
    assert script.recovery().phasing.position == 0, "what it was asked for may still come"
    script.end(script.in_flight[0], RangeOutcome.DISCONNECTED, after_ms=200)
    assert script.recovery().phasing.position == 1
    assert script.recovery().criticality_of(later.blocks.start) is CRITICAL
    script.tell(holds(A, holding(TWO, FIRST)), after_ms=200)
    assert script.recovery().phasing.position == 0
    assert script.recovery().criticality_of(later.blocks.start) is DEFERRED


def test_a_version_of_one_phase_is_asked_for_as_ever() -> None:
    version = phased({CRITICAL: [4], NORMAL: [4]})
    script = Script(options=SMALL)
    script.start(version, A)
    assert not script.recovery().phasing.has_several
    assert [order.criticality for order in run_through(script)] == [CRITICAL, NORMAL]


# Hedged, raced for


class Late(NamedTuple):
    """A owes a range of which a block is here, and is late; B could bring it."""

    scene: Scene
    recovery: Recovery
    lane: Lane

    @property
    def is_hedged(self) -> bool:
        options = self.scene.step.options
        return (
            hedge_after_ns(self.scene.state, self.lane, options) is not None
            and find_hedge(self.scene.step, self.lane) is not None
        )

    @property
    def is_raced_for(self) -> bool:
        step = self.scene.step
        return find_race(step, self.recovery, self.scene.state.peers[B]) is not None


def late(run: tuple[int, int], *, position: int, prioritized: BlockSet | None = None) -> Late:
    """Let a range be late while one of the phases is under way."""
    scene = Scene(options=adjusted(Options(), hedging={"share": 0.9, "redundancy": 2}))
    recovery = scene.recovery(TWO, unclaimed=blocks())
    recovery.phasing.has_several, recovery.phasing.position = True, position
    recovery.phasing.end = (16, 32)[position]
    recovery.coverage.prioritized = prioritized or blocks()
    urgent = recovery.criticality_of(run[0])
    lane = scene.lane(recovery, scene.peer(A, TWO, rate=MIB), run, criticality=urgent)
    scene.peer(B, TWO, rate=MIB)
    return Late(scene, recovery, lane)


def test_critical_units_of_the_phase_under_way_are_hedged() -> None:
    assert late((0, 4), position=0).is_hedged
    assert late((16, 20), position=1).is_hedged


def test_critical_units_of_a_later_phase_are_not_hedged() -> None:
    assert not late((16, 20), position=0).is_hedged
    assert not late((4, 8), position=0).is_hedged


def test_nobody_races_for_critical_units_of_a_later_phase() -> None:
    assert not late((16, 20), position=0).is_raced_for


def test_sources_race_for_critical_units_of_the_phase_under_way() -> None:
    assert late((0, 4), position=0).is_raced_for
    assert late((16, 20), position=1).is_raced_for


# Stragglers


class Straggling(NamedTuple):
    """A owes a block of the phase under way, slowly; B is quick and would go on."""

    scene: Scene
    recovery: Recovery
    thief: Peer

    def found(self, next_block: int) -> tuple[int, int] | None:
        found = find_straggler(self.scene.step, self.recovery, self.thief, next_block)
        return None if found is None else found[1]


def straggling(run: tuple[int, int], *, slow_rate: float = MIB / 2) -> Straggling:
    scene = Scene(options=adjusted(Options(), hedging={"share": 0.5}))
    recovery = scene.recovery(TWO, unclaimed=SECOND)
    recovery.phasing.has_several, recovery.phasing.end = True, 16
    scene.lane(recovery, scene.peer(A, TWO, rate=slow_rate), run)
    return Straggling(scene, recovery, scene.peer(B, TWO, rate=100 * MIB))


def test_before_a_source_leaves_a_phase_it_brings_what_would_hold_that_up() -> None:
    scene = straggling((15, 16))
    assert scene.found(16) == (15, 16)
    assert scene.found(20) == (15, 16)
    assert scene.found(4) is None, "it has work in this phase"


def test_before_it_leaves_the_critical_units_of_the_phase_it_brings_one_of_those() -> None:
    scene = straggling((2, 3))
    assert scene.found(4) == scene.found(16) == (2, 3)
    assert scene.found(1) is None, "it has critical work"


def test_what_comes_soon_is_no_straggler_nor_what_nobody_knows() -> None:
    assert straggling((15, 16), slow_rate=40 * MIB).found(16) is None
    assert straggling((15, 16), slow_rate=0.0).found(16) is None


def test_what_is_of_a_later_phase_is_no_straggler() -> None:
    assert straggling((17, 18)).found(20) is None


def test_stragglers_spend_the_budget_of_hedges_and_none_is_asked_for_a_third_time() -> None:
    scene = straggling((15, 16))
    scene.recovery.duplicates.hedged_bytes = 16 * MIB
    assert scene.found(16) is None
    scene.recovery.duplicates.hedged_bytes = 0
    [lane] = scene.recovery.work.lanes.values()
    lane.transfers[0].is_hedged = True
    assert scene.found(16) is None


def test_in_the_background_nothing_is_a_straggler() -> None:
    scene = straggling((15, 16))
    scene.recovery.request = replace(scene.recovery.request, is_background=True)
    assert scene.found(16) is None


def test_a_straggler_is_asked_for_before_the_next_phase() -> None:
    version = phased({NORMAL: [2]}, {NORMAL: [2000]})
    script = Script(options=adjusted(SMALL, hedging={"share": 0.5}, ranges={"bytes_first": MIB}))
    script.start(version, A, B)
    slow, quick = script.in_flight[:2]
    script.tell(RangeProgressed(slow.transfer, 1000, slow.blocks.start), after_ms=100)
    more = ranges(script.deliver(quick))
    assert (slow.blocks, more[0].source, more[0].blocks) == ((0, 1), B, (0, 1))
    assert script.recovery().duplicates.hedged_bytes == MIB


# In the background


def test_in_the_background_phases_go_in_order_all_as_deferred_and_nothing_is_hedged() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A, is_background=True)
    course = run_through(script)
    assert ascends(course)
    assert {order.criticality for order in course} == {DEFERRED}


def test_a_promoted_recovery_is_as_urgent_as_the_phase_under_way_makes_it() -> None:
    script = Script(options=SMALL)
    script.start(
        TWO, holds(A, holding(TWO, FIRST)), holds(B, holding(TWO, SECOND)), is_background=True
    )
    script.tell(RecoveryPromoted(R))
    assert script.lane(A).transfers[0].criticality is CRITICAL
    assert script.lane(B).transfers[0].criticality is DEFERRED


# Prioritized, needed, read ahead


def test_prioritized_units_of_a_later_phase_go_before_an_earlier_one() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A)
    [begun] = script.in_flight
    script.tell(UnitsPrioritized(R, blocks((24, 32))))
    course = run_through(script)
    assert spans(course)[:3] == [(0, 4), (24, 28), (28, 32)]
    assert begun is course[0]
    assert {order.criticality for order in course[1:3]} == {CRITICAL}


def test_prioritized_units_of_a_later_phase_are_hedged() -> None:
    assert late((24, 28), position=0, prioritized=blocks((24, 32))).is_hedged
    assert not late((24, 28), position=0).is_hedged


def test_what_must_be_visible_before_a_prioritized_unit_goes_with_it() -> None:
    version = phased(
        {NORMAL: [4, 4]},
        {NORMAL: [8, 4], DEFERRED: [4]},
        after={"1-deferred-0": ["1-normal-1"], "1-normal-1": ["0-normal-1"]},
    )
    script = Script(options=SMALL)
    script.start(version, A)
    script.tell(UnitsPrioritized(R, blocks((20, 24))))
    assert spans(run_through(script)) == [(0, 4), (4, 8), (16, 20), (20, 24), (8, 12), (12, 16)]


def need(unit: int, start: int = 0, end: int = 4 * MIB, reader: str = "") -> RangeNeeded:
    return RangeNeeded(R, NeedId(1), reader, unit, start, end)


def test_a_needed_range_of_a_later_phase_goes_before_an_earlier_one() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A)
    [express] = ranges(script.tell(need(5)))
    assert (express.blocks.start, express.criticality) == (24, CRITICAL)


def test_a_needed_range_of_a_later_phase_is_hedged() -> None:
    found = late((24, 28), position=0)
    on_range_needed(found.scene.step, found.recovery, need(5))
    assert found.is_hedged


def test_what_must_be_visible_before_a_needed_unit_comes_next() -> None:
    version = phased({NORMAL: [8, 4]}, {NORMAL: [4]}, after={"1-normal-0": ["0-normal-1"]})
    script = Script(options=SMALL)
    script.start(version, A)
    [begun] = script.in_flight
    [express] = ranges(script.tell(need(2)))
    assert spans([begun, express]) == [(0, 4), (12, 16)]
    script.deliver(express, after_ms=1)
    assert spans(ranges(script.deliver(begun, after_ms=1))) == [(8, 12)]


def test_what_is_fetched_ahead_waits_for_critical_units_of_the_phase_under_way_alone() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A, verified=blocks((0, 4)))
    [begun] = script.in_flight
    script.tell(need(5, 0, MIB, reader="r"))
    while express := [each for each in script.in_flight if each.criticality is CRITICAL]:
        script.deliver(express[0], after_ms=1)
    recovery = script.recovery()
    recovery.coverage.ahead = blocks((26, 28))
    assert recovery.most_urgent(recovery.coverage.unclaimed) == blocks((26, 28))
    assert begun.blocks.start == 4


# On demand, choices


def on_demand(version: Saved, *held: BlockSet) -> Script:
    script = Script(options=SMALL)
    for node, has in zip((A, B), held, strict=False):
        script.tell(holds(node, holding(version, has)))
    request = wanted(version, is_named=True)
    script.tell(DiscoverySettled(), type(request)(R, request.checkpoint, is_on_demand=True))
    [asked] = script.recovery().search.asked
    script.tell(ManifestArrived(R, asked, version.space))
    script.tell(StagingPrepared(R, BlockSet()))
    return script


def test_on_demand_no_phase_is_fetched_by_itself() -> None:
    script = on_demand(TWO, TWO.blocks)
    assert not script.in_flight
    [order] = ranges(script.tell(need(5)))
    assert (order.blocks.start, order.criticality) == (24, CRITICAL)


def test_when_the_rest_is_wanted_phases_go_in_order() -> None:
    script = on_demand(TWO, TWO.blocks)
    script.tell(RestWanted(R))
    assert ascends(run_through(script))


def test_a_phase_of_which_nothing_is_wanted_is_not_waited_for() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A, chosen=SECOND)
    [first] = script.in_flight
    assert (first.blocks.start, first.criticality) == (16, CRITICAL)


def test_what_is_wanted_in_addition_of_an_earlier_phase_goes_first() -> None:
    script = Script(options=SMALL)
    script.start(TWO, A, chosen=SECOND)
    script.tell(ChoiceWidened(R, FIRST))
    script.tell(StagingWidened(R, FIRST, BlockSet()))
    assert script.recovery().phasing.position == 0
    assert spans(run_through(script))[:2] == [(16, 20), (0, 4)]


# The phase under way


@pytest.mark.parametrize(
    ("verified", "held", "position"),
    [
        (blocks(), TWO.blocks, 0),
        (blocks((0, 15)), TWO.blocks, 0),
        (FIRST, TWO.blocks, 1),
        (blocks(), SECOND, 1),
        (TWO.blocks, TWO.blocks, 1),
        (blocks(), blocks(), 0),
        (FIRST, FIRST, 1),
    ],
    ids=range(7),
)
def test_under_way_is_the_first_of_which_something_lacks_that_somebody_has(
    verified: BlockSet, held: BlockSet, position: int
) -> None:
    scene = Scene()
    recovery = scene.recovery(TWO, unclaimed=TWO.blocks - verified)
    recovery.coverage.verified = recovery.coverage.committed = verified
    recovery.phasing.has_several = True
    if held:
        scene.peer(A, TWO).holdings = {TWO.digest: holding(TWO, held)}
    settle_phase(scene.step, recovery)
    assert recovery.phasing.position == position
    assert recovery.phasing.end == (16, 32)[position]


def test_a_detour_is_one_for_the_end_of_its_phase_whatever_comes_behind_it() -> None:
    """A slow source with the last block of a phase would hold it up, however long the rest is."""
    version = phased({NORMAL: [8]}, {NORMAL: [4000]})
    scene = Scene(options=Options())
    recovery = scene.recovery(version, unclaimed=version.blocks - blocks((0, 7)))
    recovery.phasing.has_several = True
    slow, quick = scene.peer(A, version, rate=MIB / 2), scene.peer(B, version, rate=100 * MIB)
    recovery.swarm.total_rate = 100.5 * MIB
    run = (7, 8)
    assert bytes_left(recovery, 7) == (MIB, 0)
    assert bytes_left(recovery, 8) == (4001 * MIB, 0)
    blocks_of = type(recovery.content.class_of(0))
    assert is_detour(
        recovery, slow, blocks_of(*run), [slow, quick], scene.step.options, now=scene.now
    )
    assert not is_detour(
        recovery, slow, blocks_of(8, 9), [slow, quick], scene.step.options, now=scene.now
    )


def test_what_is_verified_of_a_phase_is_committed_at_once() -> None:
    script = Script()
    script.start(phased({NORMAL: [2]}, {NORMAL: [2]}), A)
    while script.in_flight[0].blocks.start < 2:
        assert not script.recovery().commit.committing
        script.deliver(script.in_flight[0], after_ms=1)
    assert script.recovery().commit.committing == blocks((0, 2))
    script.tell(BlocksCommitted(R))
    assert script.view().phases[0].durable_ns is not None


def test_two_recoveries_wait_for_each_other_by_what_is_urgent_now() -> None:
    """What is critical of a later phase does not make another recovery's normal units wait."""
    script = Script(options=SMALL)
    script.start(TWO, holds(A, holding(TWO, SECOND)), holds(B, holding(TWO, FIRST)))
    recovery = script.recovery()
    assert recovery.precedence_of(recovery.criticality_of(16)) == (False, DEFERRED)


# Shards


def test_shards_of_a_job_are_joined_phase_by_phase() -> None:
    """Each shard has its own first phase; of all together that of each goes first."""
    members = [
        Member(each.digest, msgspec.structs.replace(each.space.manifest, checkpoint=name))
        for name, each in (
            (f"llama/shard-{index}-of-2", phased(*phases, prefix=f"{index}/"))
            for index, phases in enumerate(
                (({NORMAL: [4]}, {CRITICAL: [4]}), ({NORMAL: [4]}, {CRITICAL: [4]}))
            )
        )
    ]
    joint = Joint(CheckpointName("llama"), Version(100), members)
    assert [(phase.name, phase.blocks) for phase in joint.space.phases] == [
        ("phase-0", (0, 8)),
        ("phase-1", (8, 16)),
    ]
    joined = Saved(joint.space, Digest("ab" * 32))
    script = Script(options=SMALL)
    script.start(joined, A)
    course = run_through(script)
    assert ascends(course)
    assert [order.criticality for order in course] == [NORMAL, NORMAL, CRITICAL, CRITICAL]
