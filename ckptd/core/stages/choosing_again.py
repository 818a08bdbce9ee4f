"""Another content is chosen where nobody can complete the one that was.

At once if nothing of it is here and nobody claims what is missing, not even a peer that is lost
for the moment; else when patience ends. And only if there is another one that is whole and may be
taken. A peer in quarantine completes nothing.
"""

from __future__ import annotations

from ckptd.core.explain.narration import report_given_up
from ckptd.core.ranges.own_disks import note_nearby
from ckptd.core.stages.claims_on_content import claims_on, contents_among
from ckptd.core.stages.ending import close_lanes
from ckptd.core.stages.version_choice import choose_version, explain_rollback
from ckptd.core.state.eligibility import claimed
from ckptd.core.state.record.coverage import Commit, Coverage
from ckptd.core.state.record.needs import Needs
from ckptd.core.state.record.phase_placing import PhasePlacing
from ckptd.core.state.record.phasing import Phasing
from ckptd.core.state.record.swarm import Swarm
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import OWN_DISKS
from ckptd.model.words import Stage, WasteReason


def is_beyond_completion(step: Step, recovery: Recovery) -> bool:
    """Tell whether nobody has some required blocks, also of the peers that do not answer now."""
    return step.state.is_settled and bool(without_holder(step, recovery, counts_lost=True))


def has_alternative(step: Step, recovery: Recovery) -> bool:
    """Tell whether another content is whole and may be taken without asking anybody."""
    claims = [
        each
        for each in claims_on(step, recovery, is_reliable=True)
        if each.holding.digest != recovery.digest
    ]
    contents = contents_among(recovery, claims, is_whole=True)
    own = recovery.request.had.union(held.digest for held in recovery.own)
    own -= recovery.request.copied
    return len(contents) == 1 or len([digest for _, digest in contents if digest in own]) == 1


def has_other(step: Step, recovery: Recovery) -> bool:
    """Tell whether there is another content to choose, or several to choose from."""
    claims = [
        each
        for each in claims_on(step, recovery, is_reliable=True)
        if each.holding.digest != recovery.digest
    ]
    return bool(contents_among(recovery, claims))


def explain_rollback_to_others(step: Step, recovery: Recovery) -> str:
    """Say that what is left to choose from would be a way back; empty if it would not."""
    if recovery.wanted_version is not None:
        return ""
    others = [
        each.holding
        for each in claims_on(step, recovery, is_reliable=True)
        if each.holding.digest != recovery.digest
    ]
    newest = choose_version(others, recovery.checkpoint, None)
    return explain_rollback(recovery.checkpoint, newest, recovery.request.not_below) or ""


def choose_again(step: Step, recovery: Recovery, *, why: str = "") -> None:
    """Go back to the choice of a content; nothing of the recovery is under way.

    What is in staging of the one that is given up stays there until another one is prepared.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        why: What is wrong with the content that was chosen; empty: nobody has all of it.
    """
    assert not recovery.work.transfer_count, f"{recovery.id}: ranges are in flight"
    assert recovery.local.pending_order is None, f"{recovery.id} waits for this node"
    space, tally = recovery.content.space, recovery.tally
    missing = without_holder(step, recovery, counts_lost=False)
    report_given_up(step, recovery, missing, why)
    close_lanes(step, recovery)
    received_bytes = space.set_bytes(recovery.coverage.verified)
    received_bytes -= tally.resumed_bytes + tally.local_bytes
    received_bytes -= tally.source_bytes.pop(OWN_DISKS, 0)
    note_nearby(step.state, recovery, BlockSet())
    if received_bytes:
        tally.waste.add(WasteReason.GIVEN_UP, received_bytes)
    tally.resumed_bytes = tally.local_bytes = 0
    tally.predicted_ns = tally.predicted_critical_ns = None
    recovery.coverage, recovery.commit, recovery.needs = Coverage(), Commit(), Needs()
    recovery.phasing, recovery.placing = Phasing(), PhasePlacing()
    recovery.swarm = Swarm(own_place=step.rng.random())
    recovery.refused.clear()
    recovery.local.staging_losses = 0
    recovery.described = None
    recovery.starved_since_ns = None
    start_over(recovery)


def start_over(recovery: Recovery) -> None:
    """Forget which content was chosen, and look for one."""
    recovery.version = recovery.digest = None
    recovery.search.start_over()
    recovery.move(Stage.SEEKING)


def without_holder(step: Step, recovery: Recovery, *, counts_lost: bool) -> BlockSet:
    """Return the missing blocks of required units that no peer has which is trusted."""
    blocks = recovery.coverage.unclaimed - recovery.content.optional
    for peer in step.state.sources():
        if not blocks:
            break
        is_counted = peer.is_live or counts_lost
        if is_counted and peer.standing.quarantined_until_ns <= step.now:
            blocks -= claimed(recovery, peer)
    return blocks
