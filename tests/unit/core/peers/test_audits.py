"""What one block says of a peer that was drawn from what it claims."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import ClaimAudited, HoldingConfirmed
from ckptd.core.peers.audits import AUDIT, AuditableClaim, claim_moments
from ckptd.core.state.standing import Standing
from ckptd.model.ids import Epoch, PathId
from ckptd.model.words import Confirmation
from tests.support.scheduling import OF_A, OF_B, A, B, Saved, Script, blocks, holding, holds, saved

VERSION = saved(8)


def audited(version: Saved, block: int | None, *, is_right: bool) -> ClaimAudited:
    return ClaimAudited(
        A, OF_A, Epoch(1), holding(version), block, "model.bin", block or 0, is_right
    )


def met() -> Script:
    script = Script()
    script.tell(holds(A, VERSION), holds(B, VERSION))
    return script


def standing(script: Script) -> Standing:
    return script.scheduler.inspect().peers[A].standing


def copies(script: Script) -> tuple[str, ...]:
    return script.scheduler.copies(holding(VERSION), now=script.now)


def test_who_stands_by_a_wrong_block_is_blamed_as_in_a_recovery() -> None:
    script = met()
    asked = script.tell(audited(VERSION, 3, is_right=False))
    assert asked == [ConfirmHolding(A, VERSION.digest, blocks((3, 4)))]
    assert copies(script) == (B,), "its copy counts no more, whatever it answers"
    assert script.scheduler.claims_of_node(A, VERSION.digest) == []
    script.tell(HoldingConfirmed(A, VERSION.digest, Confirmation.HELD))
    assert standing(script).trust == -script.options.trust.per_bad_block
    [bad] = standing(script).evidence.last
    assert (bad.unit, bad.block, bad.recovery) == ("model.bin", 3, AUDIT)
    assert bad.answer is Confirmation.HELD


def test_who_says_that_its_file_changed_is_not_blamed_and_its_copy_does_not_count() -> None:
    script = met()
    script.tell(audited(VERSION, 3, is_right=False))
    script.tell(HoldingConfirmed(A, VERSION.digest, Confirmation.NOT_HELD))
    assert standing(script).trust == 0
    assert copies(script) == (B,)
    script.tell(holds(A, VERSION))
    assert copies(script) == (B,)
    assert script.scheduler.doubted_blocks(A, VERSION.digest) == blocks((3, 4))


def test_only_the_block_that_was_wrong_lets_a_copy_count_again() -> None:
    script = met()
    script.tell(audited(VERSION, 3, is_right=False))
    script.tell(HoldingConfirmed(A, VERSION.digest, Confirmation.HELD))
    script.tell(audited(VERSION, 5, is_right=True))
    assert copies(script) == (B,)
    script.tell(audited(VERSION, 3, is_right=True))
    assert copies(script) == (A, B)
    assert script.scheduler.claims_of_node(A, VERSION.digest) == [(OF_A, holding(VERSION))]


def test_a_manifest_that_is_another_one_costs_as_much_and_takes_the_claim_away() -> None:
    script = met()
    assert script.tell(audited(VERSION, None, is_right=False)) == []
    assert standing(script).trust == -script.options.trust.per_bad_block
    assert copies(script) == (B,)


def test_what_another_life_or_somebody_else_was_asked_counts_for_nothing() -> None:
    script = met()
    wrong = audited(VERSION, 3, is_right=False)
    script.tell(replace(wrong, epoch=Epoch(2)), replace(wrong, origin=OF_B))
    script.tell(replace(wrong, path=PathId("gone")))
    assert standing(script) == Standing(epoch=Epoch(1))


def test_right_blocks_of_who_is_in_no_doubt_change_nothing() -> None:
    script = met()
    script.tell(audited(VERSION, 3, is_right=True), audited(VERSION, None, is_right=True))
    assert standing(script) == Standing(epoch=Epoch(1))


def test_claims_are_named_by_who_answers_and_only_of_live_peers() -> None:
    script = met()
    [claim] = script.scheduler.claims_of(A)
    assert claim == AuditableClaim(A, A, OF_A, Epoch(1), holding(VERSION))
    assert script.scheduler.claims_of_node(A, VERSION.digest) == [(OF_A, holding(VERSION))]
    assert script.scheduler.claims_of_node(A, saved(3).digest) == []
    state = script.scheduler.inspect()
    assert claim_moments(state, now=script.now) == {A: (Epoch(1), 0), B: (Epoch(1), 0)}
    state.peers[A].standing.quarantined_until_ns = script.now + 1
    assert list(claim_moments(state, now=script.now)) == [B]
    state.peers[B].is_live = False
    assert not claim_moments(state, now=script.now)
    assert script.scheduler.claims_of(B) == []
    assert script.scheduler.claims_of_node(B, VERSION.digest) == []
