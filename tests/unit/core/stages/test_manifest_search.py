"""From whom the manifest is asked while somebody does not answer."""

from __future__ import annotations

import pytest

from ckptd.core.effects import ChooseVersion, FetchManifest, PrepareStaging
from ckptd.core.events import (
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    RecoveryPaused,
    RecoveryResumed,
)
from ckptd.core.report.story import sentence
from ckptd.limits import MS
from ckptd.model.ids import NodeId
from ckptd.model.words import Stage
from tests.support.scheduling import HARMFUL, A, B, R, Saved, Script, holds, saved, wanted

C = NodeId("c")


def asked(version: Saved, source: NodeId) -> FetchManifest:
    return FetchManifest(R, source, version.digest)


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
    assert script.tell(ManifestArrived(R, B, version.space)) == [prepared(version)]
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
    assert script.tell(ManifestArrived(R, A, version.space)) == [prepared(version)]
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
    assert script.wait(60_000) == []
    assert script.tell(ManifestMissed(R, A, is_lie=False)) == []
    for source in others[:2]:
        assert script.tell(ManifestMissed(R, source, is_lie=False)) == []
    assert script.tell(ManifestMissed(R, others[2], is_lie=False)) == [asked(version, others[3])]


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
