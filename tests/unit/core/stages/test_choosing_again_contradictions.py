"""Contents whose manifests contradict themselves: nobody can recover them."""

from __future__ import annotations

from ckptd.core.effects import ChooseVersion, DiscardStaging, Effect, PlaceVersion
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    ManifestArrived,
    ManifestRefused,
    PlacementFailed,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
)
from ckptd.core.report.story import sentence
from ckptd.core.state.knowledge import REFUSED_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.words import FailureCause, Result, Stage
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    B,
    R,
    Script,
    ended,
    holds,
    saved,
    wanted,
)

NEW, OLD = saved(4, version=100), saved(4, version=90)
CONTRADICTION = Refusal(
    "contradictory_manifest",
    "manifest: contradicts itself",
    is_retryable=False,
    is_verification=True,
    is_contradiction=True,
)


def chosen(effects: list[Effect]) -> list[Digest]:
    return [each.digest for each in effects if isinstance(each, ChooseVersion)]


def placing(script: Script) -> None:
    """Bring the recovery of the new version, which A has, to its last step."""
    script.tell(holds(A, NEW), DiscoverySettled(), wanted(NEW))
    script.tell(ManifestArrived(R, A, NEW.space))
    script.tell(StagingPrepared(R, BlockSet()))
    while script.in_flight:
        script.deliver(script.in_flight[0])
    assert script.tell(BlocksCommitted(R))[-1] == PlaceVersion(R, BlockSet())


def test_it_gives_way_to_another_one_and_is_not_chosen_again() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(holds(B, OLD))
    placing(script)
    assert chosen(script.tell(PlacementFailed(R, CONTRADICTION))) == [OLD.digest]
    assert script.view().stage is Stage.DESCRIBING
    told = [sentence(entry) for entry in script.recovery().story.entries]
    assert "version 100 given up for another: manifest: contradicts itself" in told
    script.tell(ManifestArrived(R, B, OLD.space))
    assert chosen(script.tell(wanted(NEW, R2))) == [OLD.digest], "that is remembered"
    for node in (A, B):
        assert script.view_source(node).trust >= 0, "who passed it on is not to blame"


def test_without_another_one_a_recovery_fails_and_so_does_the_next_at_once() -> None:
    script = Script(options=NO_COMMITS)
    placing(script)
    effects = script.tell(PlacementFailed(R, CONTRADICTION))
    assert effects[-1] == DiscardStaging(R)
    why = "manifest: contradicts itself"
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, why)
    ]
    script.tell(wanted(NEW, R2, is_named=True))
    assert script.tell(StagingDiscarded(R2)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, why, recovery=R2)
    ]


def test_one_that_shows_in_the_manifest_gives_way_before_anything_travels() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(holds(B, OLD), holds(A, NEW), DiscoverySettled(), wanted(NEW))
    effects = script.tell(ManifestRefused(R, A, CONTRADICTION))
    assert chosen(effects) == [OLD.digest]


def test_one_that_shows_where_it_stands_already_gives_way() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(holds(B, OLD), holds(A, NEW), DiscoverySettled(), wanted(NEW))
    script.tell(ManifestArrived(R, A, NEW.space))
    assert chosen(script.tell(StagingRefused(R, CONTRADICTION))) == [OLD.digest]


def test_one_that_shows_where_it_stands_already_is_refused() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(holds(A, NEW), DiscoverySettled(), wanted(NEW))
    script.tell(ManifestArrived(R, A, NEW.space))
    script.tell(StagingRefused(R, CONTRADICTION))
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, "manifest: contradicts itself")
    ]


def test_what_the_disk_changed_says_nothing_of_the_content() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(holds(B, OLD))
    placing(script)
    changed = Refusal("verification_failed", "changed", is_retryable=False, is_verification=True)
    assert chosen(script.tell(PlacementFailed(R, changed))) == []
    assert not script.scheduler.inspect().refused_contents


def test_not_more_are_remembered_than_bounded() -> None:
    state = Script().scheduler.inspect()
    for index in range(REFUSED_MAX + 1):
        state.note_refused(Digest(f"{index:064x}"), "contradicts itself")
    assert len(state.refused_contents) == REFUSED_MAX
    assert Digest("0" * 64) not in state.refused_contents
