"""A version is chosen once there is something to choose from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    DiscardStaging,
    EndRecovery,
    FetchManifest,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    RecoveryPaused,
    RecoveryRequested,
    RecoveryResumed,
    StagingDiscarded,
    StagingPrepared,
    VersionPlaced,
)
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
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
    ranges,
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
    nobody = f"nobody has {LLAMA}"
    assert script.wait(999) == []
    assert script.wait(1) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.UNKNOWN, f"{nobody}; nothing is known of any checkpoint")
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


class TestThisNodeCounts:
    """What stands on this node's disks is chosen from like what peers hold."""

    def want(self, version: Saved, *own: Holding, is_named: bool = True) -> RecoveryRequested:
        return replace(wanted(version, is_named=is_named), own=own)

    def test_a_named_version_that_is_here_needs_no_peer_and_no_answer_of_one(self) -> None:
        script, version = Script(), saved(2)
        assert script.tell(self.want(version, holding(version))) == [
            choose(version),
            FetchManifest(R, None, version.digest),
        ]
        assert script.tell(ManifestArrived(R, None, version.space)) == [
            PrepareStaging(R, version.digest, version.space)
        ]
        assert script.tell(StagingPrepared(R, version.blocks, version.blocks)) == [
            PlaceVersion(R, BlockSet())
        ]
        [end] = script.tell(VersionPlaced(R))
        assert isinstance(end, EndRecovery)
        assert end.result is Result.COMPLETE
        assert (end.final.local_bytes, end.final.received_bytes) == (2 * MIB, 0)
        assert end.final.resumed_bytes == 0

    def test_for_the_newest_the_peers_are_asked_who_may_have_a_newer_one(self) -> None:
        here, newer = saved(2), saved(2, version=101)
        script = Script()
        assert script.tell(self.want(here, holding(here), is_named=False)) == []
        script.tell(holds(A, newer))
        assert script.tell(DiscoverySettled()) == [choose(newer), FetchManifest(R, A, newer.digest)]

    def test_the_newest_here_counts_when_nobody_can_be_reached(self) -> None:
        old, new, script = saved(2), saved(2, version=101), Script()
        script.tell(self.want(new, holding(old), holding(new), is_named=False))
        assert script.tell(DiscoverySettled()) == [
            choose(new),
            FetchManifest(R, None, new.digest),
        ]

    def test_a_part_here_and_a_part_there_make_a_version_whole(self) -> None:
        script, version = Script(), saved(4)
        half = holding(version, blocks((0, 2)))
        script.tell(holds(A, holding(version, blocks((2, 4)))), DiscoverySettled())
        assert script.tell(self.want(version, half, is_named=False)) == [
            choose(version),
            FetchManifest(R, None, version.digest),
        ]
        script.tell(ManifestArrived(R, None, version.space))
        orders = ranges(script.tell(StagingPrepared(R, blocks((0, 2)), blocks((0, 2)))))
        assert orders
        assert BlockSet(order.blocks for order in orders).issubset(blocks((2, 4)))

    def test_without_its_own_manifest_peers_are_asked(self) -> None:
        script, version = Script(), saved(2)
        script.tell(holds(A, version), self.want(version, holding(version)))
        assert script.tell(ManifestMissed(R, None, is_lie=False)) == [
            FetchManifest(R, A, version.digest)
        ]

    def test_a_version_that_only_this_node_has_and_cannot_describe_is_not_chosen_again(
        self,
    ) -> None:
        script, version = Script(), saved(2)
        script.tell(DiscoverySettled(), self.want(version, holding(version)))
        assert script.tell(ManifestMissed(R, None, is_lie=False)) == []
        assert script.view().stage is Stage.SEEKING
        assert script.view().waiting_for == f"a peer that has version 100 of {LLAMA}"

    def test_an_own_version_without_the_signature_that_is_required_is_refused(self) -> None:
        script, version = Script(), saved(2)
        script.tell(DiscoverySettled(), self.want(version, holding(version)))
        script.tell(ManifestMissed(R, None, is_lie=False, refusal="nobody signed it"))
        ending = script.recovery().ending
        assert ending is not None
        assert (ending.cause, ending.message) == (FailureCause.VERIFICATION, "nobody signed it")
