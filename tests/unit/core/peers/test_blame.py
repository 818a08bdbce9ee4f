"""What peers say, and what becomes of their reputation."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ckptd.core.effects import CloseLane, ConfirmHolding, FetchRange
from ckptd.core.events import (
    HoldingConfirmed,
    HoldingsArrived,
    ManifestArrived,
    PeerLost,
    StagingPrepared,
)
from ckptd.core.options import Options
from ckptd.core.peers.blame import (
    accuse,
    give_second_chances,
    note_evidence,
    on_holding_confirmed,
)
from ckptd.core.report.evidence import BadBlock
from ckptd.core.report.story import sentence
from ckptd.core.state.doubts import Doubts
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, Origin, PathId
from ckptd.model.words import (
    CloseReason,
    Confirmation,
    RangeOutcome,
    SourceState,
    Stage,
    StoryKind,
)
from tests.support.scheduling import (
    NO_COMMITS,
    OF_A,
    OF_B,
    R2,
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
    ranges,
    saved,
    wanted,
    whom,
)

_, HELD, NOT_HELD, NO_ANSWER = Confirmation


def test_a_source_that_stands_by_bad_blocks_is_blamed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    asked = ConfirmHolding(A, version.digest, blocks((0, 2)))
    assert asked in script.arrive(order, 2, rejected=(0, 1))
    assert script.view_source(A).trust == 0, "nothing is sure yet"
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).trust == -2 * script.options.trust.per_bad_block


def test_a_source_whose_files_changed_is_not_blamed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 2, rejected=(0, 1))
    assert script.tell(HoldingConfirmed(A, version.digest, NOT_HELD)) == []
    script.end_all(RangeOutcome.NOT_HELD)
    assert script.view_source(A).trust == 0
    assert script.view_source(A).versions == 0
    # It publishes the same bytes again: once it has shown so, it may serve every block.
    [proof] = ranges(script.tell(holds(A, version)))
    assert proof.blocks == BlockRun(0, 1)
    [order] = ranges(script.deliver(proof))
    assert order.blocks == BlockRun(1, 5)


def test_a_source_that_does_not_answer_for_its_blocks_rests_and_is_not_blamed() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end_all(RangeOutcome.DELIVERED)
    assert script.tell(HoldingConfirmed(A, version.digest, NO_ANSWER)) == []
    assert script.view_source(A).trust == 0
    assert script.view_source(A).state is SourceState.BACKING_OFF
    [order] = ranges(script.wait(250))
    assert 0 in range(*order.blocks), "nobody else has it"


def test_seven_points_below_zero_are_a_minute_of_quarantine_doubled_each_time() -> None:
    script, version = Script(options=NO_COMMITS), saved(128)
    [order] = ranges(script.start(version, A))
    for minutes in (1, 2, 4):
        script.arrive(order, rejected=tuple(range(*order.blocks)))
        script.end_all(RangeOutcome.DELIVERED)
        assert script.view_source(A).trust >= -7
        script.tell(HoldingConfirmed(A, version.digest, HELD))
        assert script.view_source(A).state is SourceState.DISTRUSTED
        close = CloseLane(script.lane(A).id, A, CloseReason.IDLE)
        assert script.wait(minutes * 60_000 - 1) == [close]
        [order] = ranges(script.wait(1))


def test_a_block_that_was_bad_for_one_recovery_may_be_asked_for_by_another() -> None:
    script, version = Script(options=NO_COMMITS), saved(2)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end(order)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(wanted(version, R2), ManifestArrived(R2, A, version.space))
    assert whom(script.tell(StagingPrepared(R2, BlockSet()))) == [(A, (0, 1))]


@pytest.mark.parametrize("is_distrusted", [True, False])
def test_a_second_chance_is_given_where_every_other_source_is_in_quarantine(
    is_distrusted: bool,
) -> None:
    script, version = Script(options=NO_COMMITS), saved(2)
    script.tell(holds(B, version))
    other = script.scheduler.inspect().peers[B]
    other.link.usable_at_ns = 60 * SECOND
    other.standing.quarantined_until_ns = 60 * SECOND if is_distrusted else 0
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.recovery().refused == ({} if is_distrusted else {OF_A: blocks((0, 1))})


def test_what_an_old_epoch_sent_wrongly_the_new_one_has_to_prove_and_costs_no_trust() -> None:
    script, version = Script(options=NO_COMMITS), saved(4)
    [order] = ranges(script.start(version, A))
    script.tell(holds(A, version, epoch=2))
    assert script.arrive(order, 1, rejected=(0,)) == []
    assert script.view().bad_blocks == 1
    assert whom(script.end_all(RangeOutcome.CLOSED)) == [(A, (0, 1))]
    assert script.view_source(A).trust == 0


def test_an_answer_for_an_old_epoch_settles_nothing_about_the_new_one() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0, 1, 2, 3))
    script.tell(holds(A, version, epoch=2))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).trust == 0


def test_one_bad_block_of_a_critical_unit_is_enough_for_quarantine() -> None:
    script, version = Script(options=NO_COMMITS), saved(64, critical=[8])
    [order] = ranges(script.start(version, A))
    for _ in range(3):
        script.scheduler.inspect().peers[A].standing.vouch(script.options)
    script.arrive(order, rejected=(order.blocks.start,))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).state is SourceState.DISTRUSTED


# By records

VERSION, OTHER = saved(2, 6), saved(5)


@pytest.fixture
def step() -> Step:
    """At 100; A and B have a version of which A sent blocks 0 and 1 wrongly; C has nothing."""
    state = State(peers={node: Peer(node, Epoch(1)) for node in (A, B, C)})
    for recovery, version in ((R, VERSION), (R2, OTHER)):
        described = Described.of(version.version, version.digest, version.space)
        made = Recovery(
            wanted(version, recovery),
            1,
            0,
            stage=Stage.TRANSFERRING,
            digest=version.digest,
            described=described,
        )
        made.coverage.unclaimed = version.blocks
        state.recoveries[recovery] = made
    for node in (A, B):
        state.peers[node].holdings[VERSION.digest] = holding(VERSION)
    state.recoveries[R].refused[OF_A] = blocks((0, 2))
    return Step(state, Options(), Random(1), now=100)


def test_a_bad_block_is_on_record_by_its_place_in_its_unit(step: Step) -> None:
    peer, recovery = step.state.peers[A], step.state.recoveries[R]
    note_evidence(step, peer.standing, recovery, blocks((1, 2), (5, 6)), NO_ANSWER)
    about = (100, recovery.checkpoint, VERSION.version, VERSION.digest)
    assert list(peer.standing.evidence.last) == [
        BadBlock(*about, "normal-0", 1, R, NO_ANSWER),
        BadBlock(*about, "normal-1", 3, R, NO_ANSWER),
    ]


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (HELD, [StoryKind.QUARANTINE]),
        (NOT_HELD, [StoryKind.WITHDRAWN]),
        (NO_ANSWER, [StoryKind.BACK_OFF]),
    ],
)
def test_an_answer_is_on_record_in_the_story_and_has_its_consequence(
    step: Step, answer: Confirmation, kinds: list[StoryKind]
) -> None:
    peer, recovery = step.state.peers[A], step.state.recoveries[R]
    peer.standing.trust = -3
    accuse(step, peer, recovery, blocks((0, 2)), is_proof=False)
    on_holding_confirmed(step, HoldingConfirmed(A, VERSION.digest, answer))
    assert {bad.answer for bad in peer.standing.evidence.last} == {answer}
    assert [entry.kind for entry in recovery.story.entries] == kinds
    assert not peer.standing.questioned
    assert A in step.room
    is_stale = answer is NOT_HELD
    assert (OF_A in recovery.refused) is (answer is HELD)
    assert (VERSION.digest not in peer.holdings) is is_stale
    assert recovery.swarm.source_count == (1 if is_stale else 0)
    assert (A in step.state.peer_alarms) is not is_stale


def test_what_nobody_asked_is_not_listened_to(step: Step) -> None:
    for source in (A, B):
        on_holding_confirmed(step, HoldingConfirmed(source, VERSION.digest, NOT_HELD))
    del step.state.peers[C]
    on_holding_confirmed(step, HoldingConfirmed(C, VERSION.digest, NOT_HELD))
    assert not step.room
    assert VERSION.digest in step.state.peers[A].holdings


@pytest.mark.parametrize(
    ("is_live", "until_ns", "held", "refused", "left"),
    [
        (True, 100, None, blocks(), blocks((0, 2))),
        (True, 101, None, blocks(), None),
        (False, 0, None, blocks(), None),
        (False, 101, None, blocks(), None),
        (True, 0, blocks((0, 1)), blocks(), blocks((0, 1))),
        (True, 0, None, blocks((1, 8)), blocks((0, 1))),
        (True, 0, blocks((4, 8)), blocks(), None),
    ],
)
def test_a_second_chance_is_given_where_no_other_source_is_left(
    step: Step,
    is_live: bool,
    until_ns: int,
    held: BlockSet | None,
    refused: BlockSet,
    left: BlockSet | None,
) -> None:
    other, recovery = step.state.peers[B], step.state.recoveries[R]
    other.is_live, other.standing.quarantined_until_ns = is_live, until_ns
    other.holdings[VERSION.digest] = holding(VERSION, held)
    if refused:
        recovery.refused[OF_B] = refused
    give_second_chances(step)
    assert recovery.refused.get(OF_A) == left
    assert step.is_room_everywhere is (left != blocks((0, 2)))


def test_what_is_not_wanted_any_more_needs_no_second_chance(step: Step) -> None:
    recovery = step.state.recoveries[R]
    del step.state.peers[B]
    recovery.coverage.unclaimed = blocks((1, 8))
    give_second_chances(step)
    assert recovery.refused == {OF_A: blocks((0, 1))}
    recovery.coverage.unclaimed = blocks((2, 8))
    step.is_room_everywhere = False
    give_second_chances(step)
    assert recovery.refused == {OF_A: blocks((0, 1))}
    assert not step.is_room_everywhere


# A denial excuses a unit once


def _bad_block_denied(script: Script, version: Saved, *, block: int = 1) -> None:
    """Let A send one block of the first range wrongly, and say that its unit is not right."""
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(block,))
    script.end_all(RangeOutcome.DELIVERED)
    bad = BlockSet.single(block)
    script.tell(HoldingConfirmed(A, version.digest, NOT_HELD, bad))


def test_a_denial_takes_the_unit_from_the_offer_and_nothing_else() -> None:
    script, version = Script(options=NO_COMMITS), saved(4, 8)
    _bad_block_denied(script, version)
    assert script.scheduler.inspect().peers[A].holdings[version.digest].blocks == blocks((4, 12))
    while script.in_flight:
        [order] = script.in_flight
        assert order.blocks.start >= 4, "a suspect unit is not asked for"
        script.deliver(order)
    assert script.recovery().coverage.verified == version.blocks - blocks((1, 2))
    assert script.view_source(A).trust >= 0
    assert script.view().waiting_for == "a peer that has the missing 1 MiB"
    told = [sentence(entry) for entry in script.recovery().story.entries]
    assert "a does not hold all that it said of the version" in told


def test_a_unit_that_is_claimed_again_begins_with_the_block_that_was_bad_alone() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    _bad_block_denied(script, version)
    assert whom(script.tell(holds(A, version))) == [(A, (1, 2))]
    [proof] = script.in_flight
    assert script.arrive(proof) == [], "nothing beside it"
    assert whom(script.end(proof)) == [(A, (4, 8))], "trusted as before"
    assert script.view_source(A).trust >= 0


@pytest.mark.parametrize("answer", [HELD, NOT_HELD, NO_ANSWER])
def test_a_second_bad_block_of_an_excused_unit_is_blame_whatever_the_source_says(
    answer: Confirmation,
) -> None:
    script, version = Script(options=NO_COMMITS), saved(8)
    _bad_block_denied(script, version)
    [proof] = ranges(script.tell(holds(A, version)))
    script.arrive(proof, rejected=(1,))
    script.end(proof)
    trust = script.view_source(A).trust
    script.tell(HoldingConfirmed(A, version.digest, answer))
    cost = 2 * script.options.trust.per_bad_block
    assert script.view_source(A).trust == trust - cost, "the excused one counts as well"


def test_a_unit_that_was_right_again_and_is_bad_later_has_no_second_excuse() -> None:
    script, version = Script(options=NO_COMMITS), saved(8)
    _bad_block_denied(script, version)
    [proof] = ranges(script.tell(holds(A, version)))
    order = ranges(script.deliver(proof))[0]
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end_all(RangeOutcome.DELIVERED)
    trust = script.view_source(A).trust
    script.tell(HoldingConfirmed(A, version.digest, NOT_HELD))
    assert script.view_source(A).trust < trust


def test_bad_blocks_of_ranges_that_were_under_way_are_excused_by_the_same_denial() -> None:
    script, version = Script(options=NO_COMMITS), saved(4, 4)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, rejected=(0,))
    script.tell(HoldingConfirmed(A, version.digest, NOT_HELD, blocks((0, 1))))
    script.arrive(order, rejected=(2,))
    script.end_all(RangeOutcome.DELIVERED)
    trust = script.view_source(A).trust
    script.tell(HoldingConfirmed(A, version.digest, NOT_HELD, blocks((2, 3))))
    assert script.view_source(A).trust == trust


@pytest.mark.parametrize("answer", [HELD, NOT_HELD, NO_ANSWER])
def test_what_was_under_way_when_a_source_was_blamed_for_its_unit_is_not_excused(
    answer: Confirmation,
) -> None:
    script, version = Script(options=NO_COMMITS), saved(8)
    _bad_block_denied(script, version)
    [proof] = ranges(script.tell(holds(A, version)))
    order = ranges(script.deliver(proof))[0]
    assert len(order.blocks) >= 2
    first, last = order.blocks.start, order.blocks.end - 1
    script.arrive(order, first + 1, rejected=(first,))
    script.tell(HoldingConfirmed(A, version.digest, answer))
    script.tell(holds(A, version))
    asked = script.arrive(order, rejected=(last,))
    assert ConfirmHolding(A, version.digest, BlockSet.single(last)) in asked
    assert last in script.recovery().refused[OF_A]


def test_who_was_wrong_and_has_another_copy_is_asked_for_a_block_of_it_at_once() -> None:
    script, version = Script(options=NO_COMMITS), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(2,))
    script.end_all(RangeOutcome.DELIVERED)
    trust = script.view_source(A).trust
    again = script.tell(HoldingConfirmed(A, version.digest, HELD, blocks((2, 3))))
    assert whom(again) == [(A, (2, 3))]
    assert script.view_source(A).trust == trust


def test_bad_blocks_that_the_source_finds_right_are_blame_though_others_are_denied() -> None:
    script, version = Script(options=NO_COMMITS), saved(2, 2, 4)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0, 3))
    script.end_all(RangeOutcome.DELIVERED)
    trust = script.view_source(A).trust
    script.tell(HoldingConfirmed(A, version.digest, NOT_HELD, blocks((0, 1))))
    assert script.view_source(A).trust == trust - script.options.trust.per_bad_block


def test_no_answer_excuses_once_and_a_second_time_it_is_blame() -> None:
    script, version = Script(options=NO_COMMITS), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(1,))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, NO_ANSWER))
    [proof] = ranges(script.wait(250))
    assert proof.blocks == BlockRun(1, 2)
    script.arrive(proof, rejected=(1,))
    script.end(proof)
    trust = script.view_source(A).trust
    script.tell(HoldingConfirmed(A, version.digest, NO_ANSWER))
    assert script.view_source(A).trust == trust - 2 * script.options.trust.per_bad_block


def test_both_honest_holders_of_a_rotted_block_stay_in_use_and_a_third_brings_it() -> None:
    script, version = Script(options=NO_COMMITS), saved(1, 8, critical=[2])
    script.tell(holds(B, version))
    script.start(version, A)
    while script.in_flight:
        order = script.in_flight[0]
        bad = {0} & set(range(*order.blocks))
        script.arrive(order, rejected=tuple(bad))
        script.end(order)
        if bad:
            denied = HoldingConfirmed(order.source, version.digest, NOT_HELD, blocks((0, 1)))
            script.tell(denied)
    assert script.recovery().coverage.verified == version.blocks - blocks((0, 1))
    for node in (A, B):
        assert script.view_source(node).state is SourceState.IDLE
        assert script.scheduler.inspect().peers[node].standing.evidence.bad_block_count == 1
    assert whom(script.tell(holds(C, version))) == [(C, (0, 1))]


def test_a_source_with_many_bad_units_is_asked_last_and_never_blamed() -> None:
    script, version = Script(options=NO_COMMITS), saved(1, 1, 1, 1, 8)
    [order] = ranges(script.start(version, A))
    assert order.blocks == BlockRun(0, 4)
    script.tell(holds(B, version))
    script.arrive(order, rejected=(0, 1, 2, 3))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, NOT_HELD, blocks((0, 4))))
    assert script.recovery().refused[OF_A] == version.blocks
    while script.in_flight:
        for order in script.in_flight:
            assert order.source == B
            script.deliver(order)
    assert script.view_source(A).state is SourceState.IDLE


def test_only_so_many_blocks_are_named_in_a_question_and_the_rest_in_the_next() -> None:
    units = [1] * 20
    options = adjusted(NO_COMMITS, ranges={"bytes_first": 20 * MIB})
    script, version = Script(options=options), saved(*units)
    [order] = ranges(script.start(version, A))
    [asked] = script.arrive(order, rejected=tuple(range(20)))
    assert asked == ConfirmHolding(A, version.digest, blocks((0, 16)))
    script.end_all(RangeOutcome.DELIVERED)
    again = script.tell(HoldingConfirmed(A, version.digest, NOT_HELD, blocks((0, 16))))
    assert again == [ConfirmHolding(A, version.digest, blocks((16, 20)))]


def test_of_old_versions_nothing_is_remembered(step: Step) -> None:
    peer, recovery = step.state.peers[A], step.state.recoveries[R]
    for index in range(70):
        digest = saved(1, version=1000 + index).digest
        peer.standing.doubts[digest] = Doubts()
    accuse(step, peer, recovery, blocks((0, 1)), is_proof=False)
    assert len(peer.standing.doubts) == step.options.trust.doubted_versions_max
    assert VERSION.digest in peer.standing.doubts


# Whoever is blamed cannot start over


def _strike(script: Script, order: FetchRange) -> None:
    """Let the first block of a range come wrongly; the lane ends with it."""
    script.arrive(order, order.blocks.start + 1, rejected=(order.blocks.start,))
    script.end(order, RangeOutcome.SPOILED)


@pytest.mark.parametrize("has_new_epochs", [False, True])
@pytest.mark.parametrize("answer", [HELD, NOT_HELD, NO_ANSWER])
def test_a_source_of_bad_blocks_has_four_strikes_of_a_version_whatever_it_says(
    answer: Confirmation, *, has_new_epochs: bool
) -> None:
    script, version = Script(options=NO_COMMITS), saved(*[4] * 64)
    script.start(version, A, B)
    strikes, epoch = 0, 1
    for _ in range(400):
        if script.recovery().coverage.verified == version.blocks:
            break
        for order in script.in_flight:
            if order.source == A:
                strikes += 1
                _strike(script, order)
            else:
                script.deliver(order, after_ms=20)
        if has_new_epochs:
            epoch += 1
        if version.digest in script.scheduler.inspect().standings[OF_A].questioned:
            script.tell(HoldingConfirmed(A, version.digest, answer))
        script.tell(holds(A, version, epoch=epoch), after_ms=20)
        script.wait(300)
    assert script.recovery().coverage.verified == version.blocks
    assert 1 <= strikes <= 4
    standing = script.scheduler.inspect().standings[OF_A]
    assert standing.quarantines or standing.evidence.bad_block_count == strikes
    assert script.scheduler.inspect().standings[OF_B].is_clean


def test_four_strikes_in_one_recovery_are_remembered_in_the_next_one() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    script.start(version, A, B)
    script.scheduler.inspect().standings[OF_A].doubts[version.digest] = Doubts(strikes=4)
    script.start(version, recovery=R2)
    assert script.recovery(R2).refused == {OF_A: version.blocks}


def test_another_id_at_the_same_address_is_the_same_origin() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    blamed = HoldingsArrived(A, Epoch(1), (holding(version),), A, Origin("evil:1"))
    [order] = ranges(script.start(version, blamed))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).state is SourceState.DISTRUSTED
    renamed = replace(blamed, node=C, path=C)
    assert ranges(script.tell(PeerLost(A), renamed)) == []
    assert script.view_source(C).state is SourceState.DISTRUSTED


def test_who_states_the_id_of_an_honest_node_is_blamed_under_its_own_address() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    framing = HoldingsArrived(A, Epoch(1), (holding(version),), A, Origin("evil:1"))
    [order] = ranges(script.start(version, framing))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    honest = replace(framing, origin=Origin("honest:1"))
    [close] = script.tell(PeerLost(A), honest)
    assert isinstance(close, CloseLane), "nothing more is taken from who answered there before"
    assert script.view_source(A).trust == 0
    assert script.view_source(A).state is not SourceState.DISTRUSTED
    assert [each.source for each in ranges(script.end_all(RangeOutcome.CLOSED))] == [A]
    standings = script.scheduler.inspect().standings
    assert standings[Origin("honest:1")].is_clean
    assert standings[Origin("evil:1")].quarantines == 1


def test_paths_of_one_origin_are_blamed_together() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    first = HoldingsArrived(A, Epoch(1), (holding(version),), A, Origin(A))
    second = replace(first, path=PathId("a via 10.0.0.1:7070"))
    script.start(version, first, second)
    for order in script.in_flight:
        _strike(script, order)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert {peer.standing.trust for peer in script.scheduler.inspect().peers.values()} == {-4}


def test_what_was_under_way_when_all_sources_were_refused_is_asked_for_again() -> None:
    """It comes back after the answer, when nobody is refused any more for anything else."""
    script, version = Script(options=NO_COMMITS), saved(16)
    [first] = ranges(script.start(version, A))
    [second] = ranges(script.arrive(first, 1))
    script.scheduler.inspect().standing_of(OF_A).doubts[version.digest] = Doubts(strikes=3)
    script.arrive(first, 2, rejected=(1,))
    script.end(first, RangeOutcome.SPOILED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.recovery().refused[OF_A].meets(BlockSet.of_run(second.blocks))
    script.end(second, RangeOutcome.CLOSED)
    assert (
        not script.recovery().refused.get(OF_A, BlockSet()).meets(version.blocks - blocks((0, 1)))
    )
    for _ in version.blocks:
        for order in script.in_flight:
            script.deliver(order)
        script.wait(300)
    assert script.recovery().coverage.verified == version.blocks
