"""From whom the manifest is asked while somebody does not answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import ChooseVersion, DropManifest, FetchManifest, PrepareStaging
from ckptd.core.events import (
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    RecoveryPaused,
    RecoveryRequested,
    RecoveryResumed,
)
from ckptd.core.report.story import sentence
from ckptd.core.stages.manifest_search import (
    ask,
    describe,
    on_manifest_arrived,
    on_manifest_missed,
    on_manifest_refused,
)
from ckptd.core.state.peer import Peer
from ckptd.core.state.step import Step
from ckptd.limits import MS
from ckptd.model.ids import CheckpointName, Epoch, NodeId, Origin, Version
from ckptd.model.words import FailureCause, LocalOrder, Stage, StoryKind, StoryReason
from tests.support.scenes import TRANSFERRED, kinds, known, the
from tests.support.scheduling import (
    HARMFUL,
    A,
    B,
    R,
    Saved,
    Script,
    adjusted,
    holding,
    holds,
    saved,
    wanted,
)

C = NodeId("c")


def asked(version: Saved, source: NodeId) -> FetchManifest:
    return FetchManifest(R, source, version.digest)


def dropped(version: Saved, source: NodeId) -> DropManifest:
    return DropManifest(R, source, version.digest)


def begun(version: Saved, *sources: NodeId) -> Script:
    """Bring a recovery so far that A is asked for the manifest."""
    script = Script()
    script.tell(*(holds(source, version) for source in sources), DiscoverySettled())
    assert script.tell(wanted(version))[-1] == asked(version, A)
    return script


def prepared(version: Saved) -> PrepareStaging:
    return PrepareStaging(R, version.digest, version.space)


def test_while_a_source_is_silent_another_one_is_asked_for_the_manifest() -> None:
    version = saved(8)
    script = begun(version, A, B)
    assert script.wait(499) == []
    assert script.wait(1) == [asked(version, B)]
    assert script.tell(ManifestArrived(R, B, version.space)) == [
        dropped(version, A),
        prepared(version),
    ]
    (*_, told) = script.recovery().story.entries
    assert sentence(told) == "a has not sent the manifest yet: b was asked as well"


@pytest.mark.parametrize(
    "late",
    [
        ManifestArrived(R, A, saved(8).space),
        ManifestMissed(R, A, is_lie=False),
        ManifestRefused(R, A, HARMFUL),
    ],
)
def test_an_answer_that_comes_too_late_changes_nothing(
    late: ManifestArrived | ManifestMissed | ManifestRefused,
) -> None:
    version = saved(8)
    script = begun(version, A, B)
    script.wait(500)
    script.tell(ManifestArrived(R, B, version.space))
    assert script.tell(late) == []
    assert script.view().stage is Stage.PREPARING


def test_the_first_one_may_still_win() -> None:
    version = saved(8)
    script = begun(version, A, B)
    script.wait(500)
    assert script.tell(ManifestArrived(R, A, version.space)) == [
        dropped(version, B),
        prepared(version),
    ]
    assert script.tell(ManifestMissed(R, B, is_lie=True)) == []
    assert script.view_source(B).trust < 0  # a lie is one however late it comes


def test_a_source_that_is_far_away_has_longer() -> None:
    version = saved(8)
    script = Script()
    script.tell(holds(A, version), holds(B, version), DiscoverySettled())
    for peer in script.scheduler.inspect().peers.values():
        peer.link.latency_ns = 300 * MS
    script.tell(wanted(version))
    assert script.wait(1199) == []
    assert script.wait(1) == [asked(version, B)]


def test_one_after_another_is_asked_but_never_more_than_four_at_once() -> None:
    version = saved(8)
    others = [NodeId(f"n{number}") for number in range(5)]
    script = begun(version, A, *others)
    assert script.wait(500) == [asked(version, others[0])]
    assert script.wait(1000) == [asked(version, others[1]), asked(version, others[2])]
    assert script.wait(499) == []
    assert script.wait(1) == [dropped(version, A), asked(version, others[3])]
    assert script.tell(ManifestMissed(R, A, is_lie=False)) == []
    assert script.view_source(A).state == "idle", "it is not to blame for that"
    for source in others[:3]:
        assert script.tell(ManifestMissed(R, source, is_lie=False)) == []
    assert script.tell(ManifestMissed(R, others[3], is_lie=False)) == [asked(version, others[4])]


def test_in_the_place_of_one_that_drips_the_next_is_asked_after_twice_the_time_each() -> None:
    version = saved(8)
    others = [NodeId(f"n{number}") for number in range(9)]
    script = begun(version, A, *others)
    script.wait(1500)
    moments: list[int] = []
    while len(moments) < 5:
        effects = script.wake_at_deadline()
        if any(isinstance(effect, FetchManifest) for effect in effects):
            moments.append(script.now_ms)
            [gone] = [each.source for each in effects if isinstance(each, DropManifest)]
            script.tell(ManifestMissed(R, gone, is_lie=False))
    assert moments == [2000, 3000, 5000, 9000, 17000]
    assert len(script.recovery().search.asked) == 4
    assert script.tell(ManifestArrived(R, others[7], version.space))[-1] == prepared(version)


def test_a_holder_that_appears_while_the_only_one_is_silent_is_asked() -> None:
    version = saved(8)
    script = begun(version, A)
    assert script.wait(10_000) == []
    script.tell(holds(B, version))
    assert script.wait(500) == [asked(version, B)]


def test_nobody_is_asked_while_the_recovery_is_paused() -> None:
    version = saved(8)
    script = begun(version, A, B)
    script.tell(RecoveryPaused(R))
    assert script.wait(60_000) == []
    assert script.tell(RecoveryResumed(R)) == [asked(version, B)]


def test_an_answer_about_a_version_that_was_given_up_is_not_held_against_its_source() -> None:
    old, new = saved(8, version=90), saved(8, version=100)
    script = Script()
    script.tell(holds(A, new), holds(B, old, new), DiscoverySettled())
    assert script.tell(wanted(new))[-1] == asked(new, A)
    assert script.wait(500) == [asked(new, B)]
    script.tell(ManifestMissed(R, B, is_lie=False, refusal="nobody signed it"))
    script.tell(holds(A))  # it does not claim to have it any more
    script.tell(holds(B, old, new))
    effects = script.tell(ManifestMissed(R, A, is_lie=False))
    assert [type(effect) for effect in effects] == [ChooseVersion, FetchManifest]
    assert effects[-1] == asked(old, B)


def test_a_late_manifest_of_another_version_is_no_lie() -> None:
    old, new = saved(8, version=90), saved(8, version=100)
    script = Script()
    script.tell(holds(A, new), holds(B, old), DiscoverySettled())
    assert script.tell(wanted(new))[-1] == asked(new, A)
    recovery = script.recovery()
    recovery.search.asked[C] = old.digest  # asked when that one had been chosen
    script.tell(holds(C, new))
    script.tell(ManifestArrived(R, C, old.space))
    assert script.view_source(C).trust == 0
    assert script.tell(ManifestArrived(R, A, new.space)) == [prepared(new)]


# By records


def describing(request: RecoveryRequested | None = None) -> Step:
    """Ask A for the manifest of a version that A and B have."""
    step = known(request)
    step.state.peers[B] = Peer(B, Epoch(1), holdings={TRANSFERRED.digest: holding(TRANSFERRED)})
    the(step).stage, the(step).described = Stage.DESCRIBING, None
    the(step).search.asked[A] = TRANSFERRED.digest
    the(step).local.pending_order = LocalOrder.MANIFEST
    return step


def unasked(request: RecoveryRequested | None = None) -> Step:
    """Ask nobody yet."""
    step = describing(request)
    the(step).search.asked.clear()
    the(step).local.pending_order = None
    return step


@pytest.mark.parametrize(
    ("is_lie", "refusal", "failures", "is_kept", "trust", "reason"),
    [
        (False, "", 1, True, 0, StoryReason.NO_MANIFEST),
        (True, "", 1, False, -2, StoryReason.WRONG_MANIFEST),
        (False, "unsigned", 0, True, 0, None),
        (True, "unsigned", 1, True, -2, StoryReason.WRONG_MANIFEST),
    ],
)
def test_a_manifest_that_did_not_come_is_held_against_its_source_if_that_is_to_blame(
    is_lie: bool,
    refusal: str,
    failures: int,
    is_kept: bool,
    trust: int,
    reason: StoryReason | None,
) -> None:
    step = describing()
    peer = step.state.peers[A]
    on_manifest_missed(step, the(step), ManifestMissed(R, A, is_lie, refusal))
    assert (peer.link.failures, peer.standing.trust) == (failures, trust)
    assert (TRANSFERRED.digest in peer.holdings) is is_kept
    assert the(step).swarm.source_count == (0 if is_kept else 1), "counted where it changed"
    assert [entry.reason for entry in the(step).story.entries] == [reason] * (reason is not None)
    assert (A in step.state.peer_alarms) is bool(failures)
    assert the(step).search.tried == {A}
    assert the(step).search.unsigned_by == ({A} if refusal else set())
    assert the(step).local.pending_order is None


def test_a_manifest_that_a_forgotten_peer_missed_is_held_against_nobody() -> None:
    for refusal in ("", "unsigned"):
        step = describing()
        del step.state.peers[A]
        on_manifest_missed(step, the(step), ManifestMissed(R, A, is_lie=True, refusal=refusal))
        assert kinds(step) == []


def test_a_manifest_of_another_version_is_a_lie() -> None:
    step = describing()
    on_manifest_arrived(step, the(step), ManifestArrived(R, A, saved(8, version=7).space))
    assert the(step).stage is Stage.DESCRIBING
    assert kinds(step) == [StoryKind.BACK_OFF]
    assert TRANSFERRED.digest not in step.state.peers[A].holdings


def test_a_manifest_that_would_do_harm_excludes_its_content_and_costs_who_offered_it() -> None:
    step = describing()
    on_manifest_refused(step, the(step), ManifestRefused(R, A, HARMFUL))
    assert the(step).stage is Stage.SEEKING
    assert the(step).ending is None
    assert step.state.refused_contents == {TRANSFERRED.digest: HARMFUL.message}
    assert step.state.peers[A].standing.trust == -2
    assert step.state.peers[B].standing.trust == 0
    assert kinds(step) == [StoryKind.BACK_OFF, StoryKind.GIVEN_UP]


def test_a_manifest_of_a_newer_ckptd_costs_nothing() -> None:
    step = describing()
    newer = replace(HARMFUL, is_junk=False)
    on_manifest_refused(step, the(step), ManifestRefused(R, A, newer))
    assert step.state.peers[A].standing.trust == 0
    assert the(step).search.claimants[Origin(A)].unsuited == {TRANSFERRED.digest}


def test_a_late_answer_does_not_end_what_is_waited_for_by_then() -> None:
    step = describing()
    the(step).stage, the(step).local.pending_order = Stage.PREPARING, LocalOrder.STAGING
    on_manifest_missed(step, the(step), ManifestMissed(R, A, is_lie=False))
    assert the(step).local.pending_order is LocalOrder.STAGING


def test_while_no_holder_is_live_a_version_is_not_given_up() -> None:
    step = unasked()
    for peer in step.state.peers.values():
        peer.is_live = False
    assert not describe(step, the(step))
    assert the(step).ending is None
    assert the(step).starved_since_ns == step.now
    step.state.peers.clear()
    assert describe(step, the(step))
    assert the(step).stage is Stage.SEEKING


def test_an_interrupted_recovery_does_not_give_its_version_up() -> None:
    request = RecoveryRequested(
        R, TRANSFERRED.checkpoint, TRANSFERRED.version, TRANSFERRED.digest, patience_ns=5
    )
    step = unasked(request)
    step.state.peers.clear()
    assert not describe(step, the(step))
    assert the(step).ending is None
    step.now += 5
    assert not describe(step, the(step))
    ending = the(step).ending
    assert ending is not None
    assert ending.cause is FailureCause.REQUIRED_MISSING


@pytest.mark.parametrize(
    ("floor_ns", "latency_ns", "expected_ns"),
    [(-100, None, 0), (0, None, 0), (9, 2, 9), (9, 3, 12), (-100, 1, 4)],
)
def test_another_one_is_asked_after_four_latencies_or_the_least_silence(
    floor_ns: int, latency_ns: int | None, expected_ns: int
) -> None:
    step = unasked()
    step.options = adjusted(step.options, silence={"floor_ns": floor_ns})
    step.state.peers[A].link.latency_ns = latency_ns
    ask(step, the(step), step.state.peers[A])
    assert the(step).search.ask_again_at_ns == step.now + expected_ns


def test_who_was_asked_last_is_told_as_late() -> None:
    step = describing()
    step.state.peers[C] = Peer(C, Epoch(1), holdings={TRANSFERRED.digest: holding(TRANSFERRED)})
    for other in (B, C):
        the(step).search.ask_again_at_ns = step.now
        describe(step, the(step))
        assert step.effects[-1] == asked(TRANSFERRED, other)
    told = [(entry.source, entry.other) for entry in the(step).story.entries]
    assert told == [(A, B), (B, C)]


@pytest.mark.parametrize("what", ["lost", "version", "checkpoint"])
def test_only_who_is_there_and_has_just_this_version_is_asked(what: str) -> None:
    step = unasked()
    first = step.state.peers[A]
    if what == "lost":
        first.is_live = False
    elif what == "version":
        first.holdings[TRANSFERRED.digest] = replace(holding(TRANSFERRED), version=Version(7))
    else:
        other = CheckpointName("other")
        first.holdings[TRANSFERRED.digest] = replace(holding(TRANSFERRED), checkpoint=other)
    describe(step, the(step))
    assert step.effects == [asked(TRANSFERRED, B)]
