"""Nobody can complete what was chosen: another content is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    DiscardStaging,
    Effect,
    EndRecovery,
    ExamineRival,
    FetchManifest,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    PeerLost,
    RecoveryPaused,
    RecoveryRequested,
    StagingDiscarded,
    StagingPrepared,
)
from ckptd.core.report.story import sentence
from ckptd.core.stages import choosing_again
from ckptd.core.stages.choosing_again import (
    explain_rollback_to_others,
    has_alternative,
    is_beyond_completion,
)
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.phasing import Phasing
from ckptd.core.state.step import Step
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Epoch, Version
from ckptd.model.milestones import CRITICAL
from ckptd.model.words import CloseReason, FailureCause, RangeOutcome, Result, Stage, WasteReason
from tests.support.scenes import TRANSFERRED, Scene, known, the
from tests.support.scheduling import (
    LLAMA,
    OF_A,
    A,
    B,
    C,
    R,
    Saved,
    Script,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    wanted,
)

NEW, OLD = saved(8, version=100), saved(8, version=90)
OTHER = saved(9, version=100)


def chosen(effects: list[Effect]) -> list[Digest]:
    return [each.digest for each in effects if isinstance(each, ChooseVersion)]


def transferring(
    *, request: RecoveryRequested | None = None, other: Saved = OLD, verified: int = 0
) -> Script:
    """Transfer the newest version, which A has, while B has another; some blocks are here."""
    script = Script()
    script.tell(holds(A, NEW), DiscoverySettled(), request or wanted(NEW))
    script.tell(holds(B, other), ManifestArrived(R, A, NEW.space))
    [order] = ranges(script.tell(StagingPrepared(R, BlockSet())))
    if verified:
        script.arrive(order, verified)
    return script


def withdraw(script: Script, *, after_ms: int = 0) -> list[Effect]:
    """Let A say that it does not hold the version any more, as it answers when asked for it."""
    script.now_ms += after_ms
    return script.end_all(RangeOutcome.NOT_HELD)


def test_what_was_not_begun_gives_way_at_once() -> None:
    script = transferring()
    effects = withdraw(script)
    assert chosen(effects) == [OLD.digest]
    assert effects[-1] == FetchManifest(R, B, OLD.digest)
    assert script.view().stage is Stage.DESCRIBING
    effects = script.tell(ManifestArrived(R, B, OLD.space))
    assert effects == [PrepareStaging(R, OLD.digest, OLD.space)]
    [order] = ranges(script.tell(StagingPrepared(R, BlockSet())))
    assert (order.source, order.digest) == (B, OLD.digest)


@pytest.mark.parametrize("not_below", [None, NEW.version])
def test_what_was_here_only_in_the_books_gives_way_at_once(not_below: Version | None) -> None:
    script = Script()
    script.tell(holds(B, OLD), DiscoverySettled())
    script.tell(replace(wanted(NEW), own=(holding(NEW),), not_below=not_below))
    script.tell(ManifestArrived(R, None, NEW.space))
    effects = script.tell(StagingPrepared(R, BlockSet()))
    if not_below is None:
        assert chosen(effects) == [OLD.digest]
    else:  # there is nothing to wait for: a person has to accept the older one
        assert chosen(effects) == []
        [end] = (each for each in script.tell(StagingDiscarded(R)) if isinstance(each, EndRecovery))
        assert end.result is Result.FAILED
        assert "was on this node before" in end.message


def test_the_story_says_what_was_given_up() -> None:
    script = transferring()
    withdraw(script)
    told = [sentence(entry) for entry in script.recovery().story.entries]
    assert "version 100 given up for another: nobody has all of it" in told


def test_a_holder_that_is_lost_for_a_moment_is_waited_for() -> None:
    script = transferring()
    script.tell(PeerLost(A))
    assert chosen(script.end_all(RangeOutcome.DISCONNECTED)) == []
    assert script.wait(3_600_000) == []
    assert ranges(script.tell(holds(A, NEW)))


def test_a_holder_that_stays_lost_is_waited_for_until_patience_ends() -> None:
    script = transferring(request=wanted(NEW, patience_ms=1000))
    script.tell(PeerLost(A))
    script.end_all(RangeOutcome.DISCONNECTED)
    assert chosen(script.wait(999)) == []
    assert chosen(script.wait(1)) == [OLD.digest]


def test_without_another_one_it_is_waited_for() -> None:
    script = transferring(other=saved(8, version=90, checkpoint="another"))
    assert chosen(withdraw(script)) == []
    assert script.view().stage is Stage.TRANSFERRING
    assert chosen(script.tell(holds(B, holding(OLD, blocks((0, 7)))))) == []
    assert chosen(script.tell(holds(C, holding(OLD, blocks((7, 8)))))) == [OLD.digest]


def test_a_named_version_does_not_give_way_to_another_version() -> None:
    script = transferring(request=wanted(NEW, is_named=True))
    assert chosen(withdraw(script)) == []
    assert chosen(script.tell(holds(C, OTHER))) == [OTHER.digest]


def test_never_to_one_that_is_older_than_what_was_here() -> None:
    request = replace(wanted(NEW), not_below=NEW.version)
    script = transferring(request=request)
    assert withdraw(script)[-1] == DiscardStaging(R)
    ending = script.recovery().ending
    assert ending is not None
    assert ending.cause is FailureCause.VERIFICATION
    assert ending.message.startswith("version 100 of llama/rank-0 was on this node before")


def test_a_newer_one_is_no_way_back() -> None:
    request = replace(wanted(NEW), not_below=NEW.version)
    script = transferring(request=request, other=saved(3, version=101))
    assert len(chosen(withdraw(script))) == 1


@pytest.mark.parametrize("change", ["digest", "node"])
def test_never_to_one_that_was_not_asked_for(change: str) -> None:
    request = wanted(NEW)
    if change == "digest":
        request = replace(request, digest_prefix=NEW.digest[:8])
    else:
        request = replace(request, from_node=A)
    script = transferring(request=request)
    assert chosen(withdraw(script)) == []


def test_of_two_other_contents_none_is_guessed() -> None:
    script = transferring()
    script.tell(holds(C, saved(3, version=90)))
    assert chosen(withdraw(script)) == []
    assert script.view().stage is Stage.TRANSFERRING


def test_of_two_other_contents_the_one_this_node_had_may_be_taken() -> None:
    script = transferring(request=replace(wanted(NEW), had=frozenset({OLD.digest})))
    other = saved(3, version=90)
    script.tell(holds(C, other))
    effects = withdraw(script)
    assert [effect.digest for effect in effects if isinstance(effect, ExamineRival)]
    assert script.view().stage is Stage.SEEKING


def test_what_was_begun_is_waited_for_until_patience_ends() -> None:
    script = transferring(request=wanted(NEW, patience_ms=5000), verified=2)
    effects = withdraw(script, after_ms=2000)
    assert chosen(effects) == []
    script.tell(BlocksCommitted(R))
    assert chosen(script.wait(4999)) == []
    assert chosen(script.wait(1)) == [OLD.digest]
    view = script.view()
    assert (view.verified_bytes, view.resumed_bytes, view.received_bytes) == (0, 0, 2 * MIB)
    assert view.wasted_bytes == {WasteReason.GIVEN_UP: 2 * MIB}


def test_what_is_not_durable_yet_is_made_so_before_it_is_left() -> None:
    script = transferring(request=wanted(NEW, patience_ms=0), verified=2)
    effects = withdraw(script)
    assert chosen(effects) == []
    assert script.recovery().commit.committing == blocks((0, 2))
    assert chosen(script.tell(BlocksCommitted(R))) == [OLD.digest]


def test_what_was_begun_without_a_limit_of_patience_is_waited_for() -> None:
    script = transferring(verified=2)
    withdraw(script, after_ms=2000)
    script.tell(BlocksCommitted(R))
    assert chosen(script.wait(3_600_000)) == []
    assert ranges(script.tell(holds(A, NEW)))


def test_a_paused_recovery_chooses_nothing() -> None:
    script = transferring()
    script.tell(RecoveryPaused(R))
    assert chosen(script.end_all(RangeOutcome.CLOSED) + script.tell(holds(A))) == []


def test_a_holder_in_quarantine_completes_nothing() -> None:
    script = transferring()
    script.scheduler.inspect().peers[A].standing.quarantined_until_ns = 10**12
    assert chosen(script.end_all(RangeOutcome.DISCONNECTED)) == [OLD.digest]


def interrupted(*, is_named: bool) -> Script:
    """Go on with a version that nobody claims any more."""
    script = Script()
    script.tell(holds(B, OLD), DiscoverySettled())
    request = RecoveryRequested(R, LLAMA, NEW.version, NEW.digest, patience_ns=10**9)
    script.tell(replace(request, is_named=is_named))
    return script


def test_an_interrupted_recovery_gives_way_when_patience_ends() -> None:
    script = interrupted(is_named=False)
    assert chosen(script.tell(ManifestMissed(R, None, is_lie=False))) == []
    assert chosen(script.wait(999)) == []
    assert chosen(script.wait(1)) == [OLD.digest]
    # What it chose then is no more bound than what any recovery chooses.
    script.tell(holds(B), holds(C, saved(3, version=91)))
    script.tell(ManifestMissed(R, B, is_lie=False))
    assert script.recovery().version == 91


def test_an_interrupted_recovery_of_a_named_version_keeps_to_it() -> None:
    script = interrupted(is_named=True)
    script.tell(ManifestMissed(R, None, is_lie=False))
    script.wait(1000)
    ending = script.recovery().ending
    assert ending is not None
    assert (ending.result, ending.cause) == (Result.FAILED, FailureCause.REQUIRED_MISSING)


# By records


def test_nothing_is_beyond_completion_before_every_peer_was_heard() -> None:
    step = known()
    the(step).coverage.unclaimed = TRANSFERRED.blocks
    assert not is_beyond_completion(step, the(step))
    step.state.peers.clear()
    assert is_beyond_completion(step, the(step))
    step.state.is_settled = False
    assert not is_beyond_completion(step, the(step))


def test_a_block_that_its_only_holder_sent_wrongly_cannot_be_had() -> None:
    step = known()
    the(step).coverage.unclaimed = TRANSFERRED.blocks
    the(step).refused[OF_A] = blocks((3, 4))
    assert is_beyond_completion(step, the(step))
    the(step).coverage.unclaimed = blocks((0, 3))
    assert not is_beyond_completion(step, the(step))


def test_what_was_chosen_is_no_alternative_to_itself() -> None:
    assert not has_alternative(known(), the(known()))


def test_all_that_was_known_of_what_is_given_up_is_forgotten() -> None:
    step = known()
    recovery = the(step)
    recovery.coverage.verified = recovery.coverage.committed = blocks((0, 3))
    recovery.coverage.unclaimed = blocks((3, 8))
    recovery.tally.resumed_bytes, recovery.tally.local_bytes = MIB, MIB
    recovery.phasing.reached[CRITICAL] = recovery.tally.predicted_ns = 5
    recovery.tally.predicted_critical_ns = the(step).starved_since_ns = 5
    recovery.refused[OF_A] = blocks((3, 4))
    recovery.search.tried.add(A)
    recovery.search.unsigned_by.add(A)
    recovery.local.staging_losses = 2
    choosing_again.choose_again(step, recovery)
    assert recovery.stage is Stage.SEEKING
    assert (recovery.version, recovery.digest, recovery.described) == (None, None, None)
    assert not recovery.coverage.verified | recovery.coverage.unclaimed
    assert recovery.tally.waste.by_reason == {WasteReason.GIVEN_UP: MIB}
    tally = recovery.tally
    assert (tally.resumed_bytes, tally.local_bytes) == (0, 0)
    assert (tally.predicted_ns, tally.predicted_critical_ns) == (None, None)
    assert recovery.phasing == Phasing()
    assert the(step).starved_since_ns is None
    assert not recovery.refused
    assert not recovery.search.tried | recovery.search.unsigned_by
    assert recovery.local.staging_losses == 0
    assert recovery.swarm.source_count == 0


def offering(*versions: Saved, not_below: int | None = None, had: Saved | None = None) -> Step:
    """Let B offer other versions than the one that is transferred."""
    step = known()
    step.state.peers[B] = Peer(
        B, Epoch(1), holdings={each.digest: holding(each) for each in versions}
    )
    the(step).request = replace(
        the(step).request,
        not_below=None if not_below is None else Version(not_below),
        had=frozenset({had.digest} if had else ()),
    )
    return step


def test_of_several_alternatives_just_one_must_have_been_here() -> None:
    one, two, three = (saved(size, version=90) for size in (1, 2, 3))
    for had in (None, one):
        step = offering(one, two, three, had=had)
        assert has_alternative(step, the(step)) is (had is not None)
    step = offering(one, two)
    the(step).request = replace(the(step).request, own=(holding(one),))
    assert has_alternative(step, the(step))
    the(step).request = replace(the(step).request, copied=frozenset({one.digest}))
    assert not has_alternative(step, the(step))
    the(step).request = replace(
        the(step).request, had=frozenset({one.digest, two.digest}), copied=frozenset()
    )
    assert not has_alternative(step, the(step))


def test_a_way_back_is_explained_where_nothing_else_is_left() -> None:
    step = offering(OLD, not_below=100)
    message = explain_rollback_to_others(step, the(step))
    assert "the newest that can be had now is 90" in message
    step = offering(OLD)
    assert explain_rollback_to_others(step, the(step)) == ""
    step = offering(OLD, saved(1, version=101), not_below=100)
    assert explain_rollback_to_others(step, the(step)) == ""
    step = offering(not_below=100)
    assert explain_rollback_to_others(step, the(step)) == ""
    step = offering(OLD, not_below=100)
    the(step).request = replace(the(step).request, version=Version(100))
    assert explain_rollback_to_others(step, the(step)) == ""


def test_lanes_without_work_are_closed_when_another_content_is_chosen() -> None:
    scene = Scene()
    recovery, peer = scene.recovery(NEW), scene.peer(A, NEW)
    lane = scene.lane(recovery, peer)
    choosing_again.choose_again(scene.step, recovery)
    assert CloseLane(lane.id, A, CloseReason.NOT_WANTED) in scene.step.effects
    assert not recovery.work.lanes


def test_what_is_given_up_says_what_nobody_has_now() -> None:
    scene = Scene()
    recovery, peer = scene.recovery(NEW), scene.peer(A, NEW, has=blocks((0, 5)))
    choosing_again.choose_again(scene.step, recovery)
    assert recovery.story.entries[-1].numbers["missing"] == 3
    scene = Scene()
    recovery, peer = scene.recovery(NEW), scene.peer(A, NEW, has=blocks((0, 5)))
    peer.is_live = False
    choosing_again.choose_again(scene.step, recovery)
    assert recovery.story.entries[-1].numbers["missing"] == 8
