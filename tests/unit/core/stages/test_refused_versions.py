"""Versions that could be had and are not taken: rollbacks, and those without the signatures."""

from __future__ import annotations

import pytest

from ckptd.core.effects import ChooseVersion, DiscardStaging, FetchManifest, PrepareStaging
from ckptd.core.events import (
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    PeerLost,
    RecoveryRequested,
    StagingDiscarded,
)
from ckptd.core.stages.version_choice import choose_version, explain_choice
from ckptd.model.ids import PathId, Version
from ckptd.model.words import FailureCause, Result
from tests.support.scheduling import (
    LLAMA,
    A,
    B,
    C,
    R,
    Saved,
    Script,
    blocks,
    ended,
    holding,
    holds,
    resumed,
    saved,
    wanted,
)

UNSIGNED = "manifest for llama/rank-0: is unsigned"
ROLLBACK = (
    f"version 1000 of {LLAMA} was on this node before, and the newest that can be had now is 90. "
    f"To accept that: ckptctl recover {LLAMA}@90"
)


def newest(not_below: int | None = None) -> RecoveryRequested:
    mark = None if not_below is None else Version(not_below)
    return RecoveryRequested(R, LLAMA, not_below=mark)


def choose(version: Saved) -> ChooseVersion:
    return ChooseVersion(R, version.checkpoint, version.version, version.digest)


def refused(source: str = A, *, is_lie: bool = False) -> ManifestMissed:
    return ManifestMissed(R, A if source == A else B, is_lie=is_lie, refusal=UNSIGNED)


def test_of_a_thousand_old_versions_none_is_taken() -> None:
    old = [saved(1, version=number) for number in range(1000)]
    for version in old:
        script = Script()
        script.tell(holds(A, version), DiscoverySettled())
        assert script.tell(newest(1000)) == [DiscardStaging(R)]
    script = Script()
    script.tell(holds(A, *old), DiscoverySettled())
    assert script.tell(newest(1000)) == [DiscardStaging(R)]


def test_an_error_says_what_was_here_what_is_offered_and_how_to_accept_it() -> None:
    script, old = Script(), saved(2, version=90)
    script.tell(holds(A, old), DiscoverySettled(), newest(1000))
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, ROLLBACK)
    ]


@pytest.mark.parametrize("not_below", [None, 0, 99, 100])
def test_the_version_that_was_here_and_newer_ones_are_taken(not_below: int | None) -> None:
    script, version = Script(), saved(2, version=100)
    script.tell(holds(A, version, saved(2, version=90)), DiscoverySettled())
    assert script.tell(newest(not_below)) == [choose(version), FetchManifest(R, A, version.digest)]


def test_an_old_version_that_is_named_is_taken() -> None:
    old = saved(2, version=90)
    mark = Version(1000)
    assert choose_version([holding(old)], LLAMA, Version(90), mark) == (90, old.digest)
    script = Script()
    script.tell(holds(A, old), DiscoverySettled())
    request = RecoveryRequested(R, LLAMA, version=Version(90), not_below=mark)
    assert script.tell(request) == [choose(old), FetchManifest(R, A, old.digest)]


def test_a_newer_version_with_a_hole_does_not_let_an_old_one_through() -> None:
    offers = [holding(saved(4, version=1000), blocks((0, 3))), holding(saved(4, version=90))]
    assert choose_version(offers, LLAMA, None, Version(1000)) is None


def test_nothing_is_refused_while_nothing_is_offered() -> None:
    script = Script()
    assert script.tell(DiscoverySettled(), newest(1000)) == []
    new = saved(2, version=1000)
    assert script.tell(holds(A, new)) == [choose(new), FetchManifest(R, A, new.digest)]


def test_an_explanation_names_the_rollback() -> None:
    explained = explain_choice([holding(saved(2, version=90))], LLAMA, None, Version(1000))
    assert (explained.chosen, explained.why) == (None, ROLLBACK)
    assert [other.why for other in explained.passed_over] == [
        "older than one that was on this node before"
    ]


def test_another_source_is_asked_when_one_has_no_signature() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), wanted(version))
    assert script.tell(refused(A)) == [FetchManifest(R, B, version.digest)]
    assert script.tell(ManifestArrived(R, B, version.space)) == [
        PrepareStaging(R, version.digest, version.space)
    ]
    assert script.view_source(A).trust == 0  # it has the version, if not the signature


def test_a_source_of_forged_signatures_is_blamed() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), wanted(version))
    assert script.tell(refused(A, is_lie=True)) == [FetchManifest(R, B, version.digest)]
    assert script.view_source(A).trust < 0


@pytest.mark.parametrize("is_lie", [False, True])
def test_a_recovery_ends_when_no_source_has_a_signature_that_counts(*, is_lie: bool) -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), wanted(version))
    script.tell(refused(A, is_lie=is_lie))
    assert script.tell(refused(B, is_lie=is_lie)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, UNSIGNED)
    ]


@pytest.mark.parametrize("is_lie", [False, True])
def test_an_unsigned_version_gives_way_to_a_signed_one(*, is_lie: bool) -> None:
    script, signed, invented = Script(), saved(2, version=90), saved(2, version=10**9)
    script.tell(holds(A, invented), holds(B, signed), DiscoverySettled(), wanted(signed))
    assert script.tell(refused(A, is_lie=is_lie)) == [
        choose(signed),
        FetchManifest(R, B, signed.digest),
    ]


def test_an_unsigned_version_does_not_hide_a_rollback() -> None:
    script, old, invented = Script(), saved(2, version=90), saved(2, version=10**9)
    script.tell(holds(A, invented), holds(B, old), DiscoverySettled(), newest(1000))
    assert script.tell(refused(A)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, f"{UNSIGNED}; {ROLLBACK}")
    ]


def test_a_source_that_merely_failed_is_asked_again_before_a_version_is_given_up() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), wanted(version))
    script.tell(refused(A))
    assert script.tell(ManifestMissed(R, B, is_lie=False)) == []
    again = script.wait(5000)
    assert again == [FetchManifest(R, A, version.digest)]
    assert script.tell(refused(A)) == [FetchManifest(R, B, version.digest)]
    assert script.tell(refused(B)) == [DiscardStaging(R)]


def test_an_interrupted_recovery_ends_rather_than_take_another_version() -> None:
    script, version = Script(), saved(2, version=90)
    script.tell(holds(A, version, saved(2, version=100)), DiscoverySettled(), resumed(version))
    assert script.tell(ManifestMissed(R, None, is_lie=False, refusal=UNSIGNED)) == [
        FetchManifest(R, A, version.digest)
    ]
    assert script.tell(refused(A)) == [DiscardStaging(R)]


def test_a_holder_that_is_gone_for_a_moment_is_waited_for_as_before() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    assert script.tell(PeerLost(A), ManifestMissed(R, A, is_lie=False)) == []
    assert script.wait(60_000) == []


@pytest.mark.parametrize("is_lie", [False, True])
def test_who_comes_later_is_asked_though_others_had_it_without_signatures(*, is_lie: bool) -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(C, saved(2, version=90)), PeerLost(PathId(C)))
    script.tell(DiscoverySettled(), wanted(version))
    script.tell(refused(A, is_lie=is_lie))
    assert script.view().digest is None, "nobody has it as it must be"
    effects = script.tell(holds(B, version))
    assert effects == [choose(version), FetchManifest(R, B, version.digest)]
