"""What a wrong manifest costs."""

from __future__ import annotations

import pytest

from ckptd.core.stages.manifest_faults import blame_for_content, blame_for_manifest
from ckptd.core.state.record.search import Claimant
from ckptd.model.ids import Origin
from ckptd.model.words import StoryKind, StoryReason
from tests.support.scenes import TRANSFERRED, kinds, known, the
from tests.support.scheduling import A

DIGEST = TRANSFERRED.digest


@pytest.mark.parametrize(
    ("is_lie", "is_kept", "trust", "is_held", "reason"),
    [
        (False, False, 0, True, StoryReason.NO_MANIFEST),
        (True, False, -2, False, StoryReason.WRONG_MANIFEST),
        (True, True, -2, True, StoryReason.WRONG_MANIFEST),
    ],
)
def test_only_a_lie_costs_trust_and_the_claim(
    is_lie: bool, is_kept: bool, trust: int, is_held: bool, reason: StoryReason
) -> None:
    step = known()
    peer = step.state.peers[A]
    blame_for_manifest(step, the(step), peer, DIGEST, is_lie=is_lie, is_kept=is_kept)
    assert (peer.standing.trust, DIGEST in peer.holdings) == (trust, is_held)
    assert (peer.link.failures, A in step.state.peer_alarms) == (1, True)
    assert [entry.reason for entry in the(step).story.entries] == [reason]
    missed = {Origin(A): Claimant({DIGEST})} if is_lie else {}
    assert the(step).search.claimants == missed


@pytest.mark.parametrize("is_junk", [False, True])
def test_content_of_no_use_costs_something_if_whoever_offers_it_could_have_seen_that(
    *, is_junk: bool
) -> None:
    step = known()
    peer = step.state.peers[A]
    blame_for_content(step, the(step), peer, DIGEST, is_junk=is_junk)
    assert (peer.standing.trust, peer.link.failures) == ((-2, 1) if is_junk else (0, 0))
    assert (A in step.state.peer_alarms) is is_junk
    assert kinds(step) == [StoryKind.BACK_OFF] * is_junk
    claimant = the(step).search.claimants[Origin(A)]
    assert claimant == (Claimant({DIGEST}) if is_junk else Claimant(set(), {DIGEST}))
