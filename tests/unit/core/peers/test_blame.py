"""What peers say, and what becomes of their reputation."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.effects import CloseLane, ConfirmHolding
from ckptd.core.events import HoldingConfirmed, ManifestArrived, StagingPrepared
from ckptd.core.options import Options
from ckptd.core.peers.blame import forgive, give_second_chances, note_evidence, on_holding_confirmed
from ckptd.core.report.evidence import BadBlock
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Epoch
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
    R2,
    A,
    B,
    C,
    R,
    Script,
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
    assert ConfirmHolding(A, version.digest) in script.arrive(order, 2, rejected=(0, 1))
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
    # It publishes the same bytes again: it may serve every block.
    assert whom(script.tell(holds(A, version))) == [(A, (0, 4))]


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
    other = script.scheduler.inspect().peers[B].link
    other.usable_at_ns = 60 * SECOND
    other.quarantined_until_ns = 60 * SECOND if is_distrusted else 0
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.recovery().refused == ({} if is_distrusted else {A: blocks((0, 1))})


def test_what_an_old_epoch_sent_wrongly_is_not_held_against_the_new_one() -> None:
    script, version = Script(options=NO_COMMITS), saved(4)
    [order] = ranges(script.start(version, A))
    script.tell(holds(A, version, epoch=2))
    assert script.arrive(order, 1, rejected=(0,)) == []
    assert script.view().bad_blocks == 1
    assert whom(script.end_all(RangeOutcome.CLOSED)) == [(A, (0, 2))]


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
        script.scheduler.inspect().peers[A].link.succeeded(script.options)
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
    state.recoveries[R].refused[A] = blocks((0, 2))
    return Step(state, Options(), Random(1), now=100)


def test_a_bad_block_is_on_record_by_its_place_in_its_unit(step: Step) -> None:
    peer, recovery = step.state.peers[A], step.state.recoveries[R]
    note_evidence(step, peer, recovery, blocks((1, 2), (5, 6)), NO_ANSWER)
    about = (100, recovery.checkpoint, VERSION.version, VERSION.digest)
    assert list(peer.evidence.last) == [
        BadBlock(*about, "normal-0", 1, R, NO_ANSWER),
        BadBlock(*about, "normal-1", 3, R, NO_ANSWER),
    ]


@pytest.mark.parametrize(
    ("digest", "left"), [(None, []), (VERSION.digest, [R2]), (OTHER.digest, [R])]
)
def test_bad_blocks_are_forgiven_of_one_version_or_of_all(
    step: Step, digest: Digest | None, left: list[str]
) -> None:
    step.state.recoveries[R2].refused[A] = blocks((0, 1))
    step.state.recoveries[R2].refused[B] = blocks((0, 1))
    forgive(step, A, digest)
    known = step.state.recoveries.values()
    assert [each.id for each in known if A in each.refused] == left
    assert B in step.state.recoveries[R2].refused


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
    note_evidence(step, peer, recovery, blocks((0, 2)))
    peer.questioned[VERSION.digest] = 7
    on_holding_confirmed(step, HoldingConfirmed(A, VERSION.digest, answer))
    assert {bad.answer for bad in peer.evidence.last} == {answer}
    assert [entry.kind for entry in recovery.story.entries] == kinds
    assert not peer.questioned
    assert A in step.room
    is_stale = answer is NOT_HELD
    assert (A not in recovery.refused) is is_stale
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
    other.is_live, other.link.quarantined_until_ns = is_live, until_ns
    other.holdings[VERSION.digest] = holding(VERSION, held)
    if refused:
        recovery.refused[B] = refused
    give_second_chances(step)
    assert recovery.refused.get(A) == left
    assert step.is_room_everywhere is (left != blocks((0, 2)))


def test_what_is_not_wanted_any_more_needs_no_second_chance(step: Step) -> None:
    recovery = step.state.recoveries[R]
    del step.state.peers[B]
    recovery.coverage.unclaimed = blocks((1, 8))
    give_second_chances(step)
    assert recovery.refused == {A: blocks((0, 1))}
    recovery.coverage.unclaimed = blocks((2, 8))
    step.is_room_everywhere = False
    give_second_chances(step)
    assert recovery.refused == {A: blocks((0, 1))}
    assert not step.is_room_everywhere
