"""A version is chosen once there is something to choose from."""

from __future__ import annotations

import pytest

from ckptd.core.effects import ChooseVersion, DiscardStaging, FetchManifest
from ckptd.core.events import (
    DiscoverySettled,
    RecoveryPaused,
    RecoveryRequested,
    RecoveryResumed,
    StagingDiscarded,
)
from ckptd.model.ids import Version
from ckptd.model.words import FailureCause, Result, Stage, StoryKind
from tests.support.scheduling import (
    LLAMA,
    A,
    B,
    R,
    Saved,
    Script,
    blocks,
    bring_to,
    ended,
    holding,
    holds,
    saved,
    wanted,
)


def choose(version: Saved) -> ChooseVersion:
    return ChooseVersion(R, version.checkpoint, version.version, version.digest)


def test_the_newest_version_is_chosen_only_when_every_peer_was_heard() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old))
    assert script.tell(wanted(old)) == []
    assert script.tell(holds(B, new)) == []
    assert script.tell(DiscoverySettled()) == [choose(new), FetchManifest(R, B, new.digest)]


def test_a_named_version_is_chosen_as_soon_as_somebody_has_some_of_it() -> None:
    script, version = Script(), saved(2)
    assert script.tell(wanted(version, is_named=True)) == []
    assert script.tell(holds(A, holding(version, blocks((1, 2))))) == [
        choose(version),
        FetchManifest(R, A, version.digest),
    ]


def test_a_version_that_appears_later_is_waited_for() -> None:
    script, version = Script(), saved(2)
    assert script.tell(DiscoverySettled(), wanted(version)) == []
    assert script.wait(3_600_000) == []
    assert script.tell(holds(A, version)) == [choose(version), FetchManifest(R, A, version.digest)]


def test_a_version_that_never_appears_is_given_up_when_patience_ends() -> None:
    script, version = Script(), saved(2)
    script.tell(wanted(version, patience_ms=1000))
    assert script.wait(60_000) == []  # nobody was asked yet, so it is not known to be missing
    script.tell(DiscoverySettled())
    assert script.wait(999) == []
    assert script.wait(1) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.CRITICAL_MISSING, f"nobody has {LLAMA}")
    ]


def test_a_pause_before_a_version_is_chosen_puts_that_off() -> None:
    script, version = bring_to(Stage.SEEKING)
    script.tell(RecoveryPaused(R))
    assert script.tell(holds(A, version)) == []
    assert script.view().waiting_for == "an operator to resume it"
    assert script.tell(RecoveryResumed(R)) == [
        choose(version),
        FetchManifest(R, A, version.digest),
    ]


def test_the_choice_of_a_version_is_in_the_story() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    [entry] = script.recovery().story.entries
    assert (entry.kind, script.recovery().story.choice is not None) == (
        StoryKind.VERSION_CHOSEN,
        True,
    )


@pytest.mark.parametrize(
    ("is_settled", "is_older", "is_failed"),
    [(True, True, True), (False, True, False), (True, False, False)],
)
def test_a_rollback_is_refused_once_every_peer_was_heard(
    is_settled: bool, is_older: bool, is_failed: bool
) -> None:
    script, version = Script(), saved(2)
    script.tell(*[holds(A, version)] * is_older, *[DiscoverySettled()] * is_settled)
    script.tell(RecoveryRequested(R, version.checkpoint, not_below=Version(101)))
    ending = script.recovery().ending
    assert (ending is not None) is is_failed
    if ending is not None:
        assert ending.cause is FailureCause.VERIFICATION
