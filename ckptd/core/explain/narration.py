"""Puts into the story of a recovery what happens to it; one call for each thing that does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.core.events import Refusal, RivalExamined
from ckptd.core.explain.snapshot import missing_blocks
from ckptd.core.explain.waiting import why_still
from ckptd.core.report.choice import ExplainedChoice
from ckptd.core.report.story import Entry
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane, Transfer, Trial
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest, PathId, Version, shortened
from ckptd.model.words import (
    CloseReason,
    RangeOutcome,
    RivalVerdict,
    Stage,
    StoryKind,
    StoryReason,
    WasteReason,
)

REASONS: Final = {
    RangeOutcome.BUSY: StoryReason.BUSY,
    RangeOutcome.TURNED_AWAY: StoryReason.TURNED_AWAY,
    RangeOutcome.MISBEHAVED: StoryReason.MISBEHAVED,
    RangeOutcome.DISCONNECTED: StoryReason.DISCONNECTED,
    RangeOutcome.UNREACHABLE: StoryReason.UNREACHABLE,
}
"""Why a source rests after a transfer that ended so."""

_CUT_OFF: Final = {
    CloseReason.REDUNDANT: WasteReason.HEDGE,
    CloseReason.STOLEN: WasteReason.STOLEN,
    CloseReason.PREEMPTED: WasteReason.PREEMPTED,
    CloseReason.SILENT: WasteReason.SILENT,
}


def why_wasted(lane: Lane, transfer: Transfer, otherwise: WasteReason) -> WasteReason:
    """Return why bytes of a transfer were of no use, if there is a better reason than usual."""
    if lane.closing is not None and lane.closing in _CUT_OFF:
        return _CUT_OFF[lane.closing]
    is_race = otherwise is WasteReason.DUPLICATE and (transfer.is_hedge or transfer.is_hedged)
    return WasteReason.HEDGE if is_race else otherwise


def report_choice(
    step: Step, recovery: Recovery, version: Version, choice: ExplainedChoice
) -> None:
    """Report which version was chosen, and why.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        version: The version that was chosen.
        choice: Why, and what was passed over.
    """
    recovery.story.choice = choice
    is_newest = recovery.wanted_version is None
    reason = StoryReason.NEWEST if is_newest else StoryReason.NAMED
    numbers = {"version": int(version)}
    recovery.story.add(
        Entry(step.now, StoryKind.VERSION_CHOSEN, reason, numbers=numbers, text=choice.why)
    )


def report_examined(step: Step, recovery: Recovery, event: RivalExamined) -> None:
    """Report what came of looking whether a peer has the content that it claims."""
    is_genuine = event.verdict is RivalVerdict.GENUINE
    reason = StoryReason.GENUINE if is_genuine else StoryReason.NOT_GENUINE
    text = f"{shortened(event.digest)}: {event.verdict.value.replace('_', ' ')}"
    recovery.story.add(Entry(step.now, StoryKind.RIVAL_EXAMINED, reason, event.source, text=text))


def report_given_up(
    step: Step,
    recovery: Recovery,
    missing: BlockSet,
    why: str,
    reason: StoryReason = StoryReason.WRONG_MANIFEST,
) -> None:
    """Report that another content is chosen.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        missing: Blocks of this one that nobody has.
        why: What is wrong with this one; empty: that nobody has those blocks.
        reason: The same, as a code.
    """
    assert recovery.version is not None, f"{recovery.id}: nothing is chosen"
    numbers = {"version": int(recovery.version), "missing": len(missing)}
    reason = reason if why else StoryReason.NO_SOURCE
    recovery.story.add(Entry(step.now, StoryKind.GIVEN_UP, reason, numbers=numbers, text=why))


def report_resumed(step: Step, recovery: Recovery, version: Version) -> None:
    """Report that a recovery goes on with the version that an earlier life chose."""
    text = "an interrupted recovery goes on with it"
    numbers = {"version": int(version)}
    recovery.story.add(
        Entry(step.now, StoryKind.VERSION_CHOSEN, StoryReason.RESUMED, numbers=numbers, text=text)
    )


def report_manifest_late(step: Step, recovery: Recovery, late: PathId, other: PathId) -> None:
    """Report that a second source was asked for the manifest.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        late: Who was asked first.
        other: Who is asked as well.
    """
    recovery.story.add(Entry(step.now, StoryKind.MANIFEST_LATE, StoryReason.SILENT, late, other))


def report_hedge(step: Step, lane: Lane, hedge: Transfer, other: PathId, allowed_ns: int) -> None:
    """Report that a second source was asked for what a lane is late with.

    Args:
        step: The event being handled.
        lane: The lane it happened on.
        hedge: The duplicate.
        other: Who is asked as well.
        allowed_ns: After what silence it was asked for.
    """
    numbers = {
        "silent_ns": step.now - lane.heard_ns,
        "allowed_ns": allowed_ns,
        "size_bytes": hedge.size_bytes,
    }
    _add_of_lane(step, lane, StoryKind.HEDGE, _why_late(lane), other, hedge.blocks, numbers)


def report_settled(step: Step, winner: Lane, loser: Lane) -> None:
    """Report who lost a race."""
    blocks = loser.transfers[0].blocks
    _add_of_lane(
        step, loser, StoryKind.HEDGE_SETTLED, StoryReason.OVERTAKEN, winner.source, blocks, {}
    )


def report_late(step: Step, lane: Lane, allowed_ns: int) -> None:
    """Report that a lane is cut off for its silence, and its source rests."""
    numbers = {
        "silent_ns": step.now - lane.heard_ns,
        "allowed_ns": allowed_ns,
        "pause_ns": step.state.source(lane.source).usable_at_ns - step.now,
    }
    blocks = lane.transfers[0].blocks
    _add_of_lane(step, lane, StoryKind.LANE_LATE, _why_late(lane), None, blocks, numbers)


def report_steal(step: Step, lane: Lane, thief: Peer, needs_ns: int) -> None:
    """Report that the work of a lane is taken over.

    Args:
        step: The event being handled.
        lane: The lane it happened on.
        thief: The source that takes the work over.
        needs_ns: How long the lane would have needed for it.
    """
    owed_bytes = lane.owed_bytes
    numbers = {
        "owed_bytes": owed_bytes,
        "needs_ns": needs_ns,
        "other_needs_ns": thief.link.expected_ns(owed_bytes, step.options),
    }
    _add_of_lane(
        step, lane, StoryKind.STEAL, StoryReason.SLOW, thief.path, _owed_run(lane), numbers
    )


def report_preempted(step: Step, lane: Lane) -> None:
    """Report that a lane gives way to another recovery."""
    owed_bytes = lane.owed_bytes
    needs_ns = lane.link.own_time_ns(owed_bytes, step.options)
    numbers = {"owed_bytes": owed_bytes, "needs_ns": needs_ns}
    _add_of_lane(
        step, lane, StoryKind.PREEMPTED, StoryReason.OUTRANKED, None, _owed_run(lane), numbers
    )


def report_trial(step: Step, trial: Trial, reason: StoryReason, link_rate: float = 0.0) -> None:
    """Report what came of trying another number of lanes; without a rate: the lane failed.

    Args:
        step: The event being handled.
        trial: The trial that ended.
        reason: Why.
        link_rate: What came on all lanes, in bytes a second; 0: the lane failed.
    """
    tried = trial.bundle.width
    before = tried + (1 if trial.is_fewer else -1)
    kept = max(tried, before) if reason is StoryReason.FASTER else min(tried, before)
    numbers = {
        "lanes": kept,
        "before_lanes": before,
        "before_bytes_per_s": int(trial.link_rate),
        "after_lanes": tried,
        "after_bytes_per_s": int(link_rate),
    }
    story = step.state.recoveries[trial.recovery].story
    story.add(Entry(step.now, StoryKind.LANES_TRIED, reason, trial.source, numbers=numbers))


def report_outranked(step: Step, offer: Offer) -> None:
    """Report that a source is not asked because another recovery needs it more."""
    offer.recovery.story.add(
        Entry(step.now, StoryKind.OUTRANKED, StoryReason.OUTRANKED, offer.peer.path)
    )


def report_detour(step: Step, offer: Offer, blocks: BlockRun) -> None:
    """Report that a source is passed over for some blocks because it would hold up the end."""
    recovery, path = offer.recovery, offer.peer.path
    link, space = offer.peer.link, recovery.content.space
    left_bytes = space.size_bytes * len(recovery.coverage.unclaimed) // space.block_count
    numbers = {
        "needs_ns": link.expected_ns(space.run_bytes(blocks), step.options),
        "rest_ns": int(
            (left_bytes + recovery.work.owed_bytes) * SECOND / recovery.swarm.total_rate
        ),
    }
    recovery.story.add(
        Entry(step.now, StoryKind.DETOUR, StoryReason.SLOW, path, blocks=blocks, numbers=numbers)
    )


def report_pause(step: Step, recovery: Recovery, path: PathId, reason: StoryReason) -> None:
    """Report that a source rests, after its link noted why.

    A quarantine that began at this moment is reported instead.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        path: The source.
        reason: Why.
    """
    peer = step.state.source(path)
    is_quarantine = peer.standing.began_quarantine_ns == step.now
    kind = StoryKind.QUARANTINE if is_quarantine else StoryKind.BACK_OFF
    until_ns = peer.standing.quarantined_until_ns if is_quarantine else peer.usable_at_ns
    failures = peer.link.failures or peer.link.refusals
    numbers = {"pause_ns": until_ns - step.now, "failures": failures}
    recovery.story.add(Entry(step.now, kind, reason, path, numbers=numbers))


def report_bad_blocks(step: Step, recovery: Recovery, path: PathId, bad: BlockSet) -> None:
    """Report that a source sent blocks with a wrong digest.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        path: The source.
        bad: Blocks with a wrong digest.
    """
    numbers = {"blocks": len(bad), "size_bytes": recovery.content.space.set_bytes(bad)}
    recovery.story.add(
        Entry(
            step.now,
            StoryKind.BAD_BLOCKS,
            StoryReason.WRONG_DIGEST,
            path,
            blocks=bad.first_run(),
            numbers=numbers,
        )
    )


def report_withdrawn(step: Step, recovery: Recovery, path: PathId) -> None:
    """Report that a source does not hold the version any more, or not all that it said."""
    left = step.state.source(path).holding_of(recovery.digest)
    text = "" if left is None else "does not hold all that it said of the version"
    recovery.story.add(Entry(step.now, StoryKind.WITHDRAWN, StoryReason.STALE, path, text=text))


def report_reborn(step: Step, peer: Peer) -> None:
    """Report to the recoveries a peer served that it was restarted."""
    for recovery in _concerned(step.state, peer):
        recovery.story.add(Entry(step.now, StoryKind.EPOCH_CHANGED, StoryReason.REBORN, peer.path))


def report_lost(step: Step, peer: Peer) -> None:
    """Report to the recoveries a peer served that it does not answer."""
    for recovery in _concerned(step.state, peer):
        recovery.story.add(Entry(step.now, StoryKind.SOURCE_LOST, StoryReason.LOST, peer.path))


def report_judged(step: Step, peer: Peer, digest: Digest, reason: StoryReason) -> None:
    """Report what came of asking a peer whether it stands by bad blocks.

    Args:
        step: The event being handled.
        peer: The source.
        digest: Of which version.
        reason: Why.
    """
    for recovery in step.state.recoveries.values():
        if recovery.digest != digest:
            continue
        if reason is StoryReason.STALE:
            report_withdrawn(step, recovery, peer.path)
        elif reason is StoryReason.NO_ANSWER or peer.standing.began_quarantine_ns == step.now:
            report_pause(step, recovery, peer.path, reason)


def report_refusal(step: Step, recovery: Recovery, refusal: Refusal) -> None:
    """Report what this node's disk refused, or what the node is short of."""
    if (
        refusal.is_staging_lost
        and recovery.local.staging_losses < step.options.commits.staging_losses_max
    ):
        reason = StoryReason.STAGING_LOST
    else:
        reason = StoryReason.RETRYABLE if refusal.is_retryable else StoryReason.FATAL
        reason = StoryReason.SHORTAGE if refusal.is_shortage else reason
    numbers = {"pause_ns": step.options.commits.retry_ns} if refusal.is_retryable else {}
    recovery.story.add(
        Entry(step.now, StoryKind.DISK_REFUSED, reason, numbers=numbers, text=refusal.message)
    )


def report_critical(step: Step, recovery: Recovery) -> None:
    """Report that the last critical block is durable."""
    numbers = {"elapsed_ns": step.now - recovery.started_ns}
    recovery.story.add(
        Entry(step.now, StoryKind.CRITICAL_COMPLETE, StoryReason.DURABLE, numbers=numbers)
    )


def report_standstills(step: Step) -> None:
    """Report when a recovery comes to stand still, and when it goes on."""
    for recovery in step.state.recoveries.values():
        if recovery.work.transfer_count and recovery.tally.still_since_ns is None:
            continue
        is_still = not recovery.work.transfer_count and _wants_something(recovery)
        if is_still and recovery.tally.still_since_ns is None:
            missing = missing_blocks(step.state, recovery)
            why = why_still(step.state, recovery, missing, now=step.now)
            if why is not None:
                recovery.tally.still_since_ns = step.now
                reason, text = why
                recovery.story.add(Entry(step.now, StoryKind.STANDSTILL, reason, text=text))
        elif not is_still and recovery.tally.still_since_ns is not None:
            numbers = {"stood_ns": step.now - recovery.tally.still_since_ns}
            recovery.tally.still_since_ns = None
            recovery.story.add(
                Entry(step.now, StoryKind.STANDSTILL_ENDED, StoryReason.MOVING, numbers=numbers)
            )


def _wants_something(recovery: Recovery) -> bool:
    """Return whether a recovery needs something that it must ask somebody for."""
    if recovery.stage is Stage.TRANSFERRING:
        return bool(recovery.to_order)
    return recovery.stage is Stage.SEEKING or (
        recovery.stage is Stage.DESCRIBING and recovery.local.pending_order is None
    )


def _concerned(state: State, peer: Peer) -> Iterator[Recovery]:
    """Yield the recoveries of what a peer holds, and those it has a lane of."""
    for recovery in state.recoveries.values():
        if recovery.digest in peer.holdings or peer.path in recovery.work.bundles:
            yield recovery


def _owed_run(lane: Lane) -> BlockRun:
    """Return from where to where a lane still owes something."""
    return BlockRun(lane.transfers[0].next_block, lane.transfers[-1].blocks.end)


def _why_late(lane: Lane) -> StoryReason:
    return StoryReason.SILENT if lane.has_body else StoryReason.FIRST_BYTE_LATE


def _add_of_lane(  # noqa: PLR0913, PLR0917 (what an entry is made of, each named)
    step: Step,
    lane: Lane,
    kind: StoryKind,
    reason: StoryReason,
    other: PathId | None,
    blocks: BlockRun,
    numbers: dict[str, int],
) -> None:
    story = step.state.recoveries[lane.recovery].story
    story.add(Entry(step.now, kind, reason, lane.source, other, blocks, numbers))
