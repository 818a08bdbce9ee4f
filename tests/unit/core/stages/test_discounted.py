"""Why nothing that is claimed of a content counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckptd.core.stages.discounted import why_discounted
from ckptd.core.state.peer import Peer
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest, Epoch, Origin
from tests.support.scenes import TRANSFERRED, known, the
from tests.support.scheduling import A, B, holding

DIGEST = TRANSFERRED.digest
OTHERS = [Digest(f"{number:064x}") for number in range(20)]


def test_a_claim_that_counts_has_no_reason() -> None:
    assert why_discounted(known(), the(known()), DIGEST) == ""


def refuse(step: Step) -> None:
    step.state.refused_contents[DIGEST] = "has no units"


def leave_unsigned(step: Step) -> None:
    the(step).search.unsigned.add(DIGEST)


def quarantine(step: Step) -> None:
    step.state.peers[A].standing.quarantined_until_ns = step.now + 1


def fail(step: Step) -> None:
    the(step).search.claimant(Origin(A)).failed.add(DIGEST)


def spend(step: Step) -> None:
    the(step).search.claimant(Origin(A)).failed.update(OTHERS)


def deny(step: Step) -> None:
    the(step).search.claimant(Origin(A)).unsuited.add(DIGEST)


REASONS = [
    (refuse, "refused: has no units", True),
    (leave_unsigned, "no peer delivered it with signatures that suffice", True),
    (quarantine, "only peers in quarantine have it", False),
    (fail, "its manifest was wrong or did not come", False),
    (spend, "only peers have it whose other manifests were wrong, or did not come", False),
    (deny, "its manifest was not signed as required, or is not there", False),
]


@pytest.mark.parametrize(("change", "why", "is_for_all"), REASONS)
def test_a_reason_is_that_of_all_who_claim_it(
    change: Callable[[Step], None], why: str, *, is_for_all: bool
) -> None:
    step = known()
    change(step)
    assert why_discounted(step, the(step), DIGEST) == why
    step.state.peers[B] = Peer(B, Epoch(1), holdings={DIGEST: holding(TRANSFERRED)})
    assert why_discounted(step, the(step), DIGEST) == (why if is_for_all else "")
    step.state.peers[B].is_live = False
    assert why_discounted(step, the(step), DIGEST) == why


def test_several_reasons_are_all_given_and_what_is_here_counts() -> None:
    step = known()
    quarantine(step)
    step.state.peers[B] = Peer(B, Epoch(1), holdings={DIGEST: holding(TRANSFERRED)})
    the(step).search.claimant(Origin(B)).failed.add(DIGEST)
    assert why_discounted(step, the(step), DIGEST) == (
        "its manifest was wrong or did not come; only peers in quarantine have it"
    )
