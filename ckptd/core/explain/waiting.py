"""Why a recovery stands still, as a code and in words."""

from __future__ import annotations

from ckptd.core.explain.bottleneck import RECORDING_NS
from ckptd.core.report.story import format_span
from ckptd.core.state.eligibility import holders, may_be_asked
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import shortened
from ckptd.model.quantities import format_size
from ckptd.model.words import LocalOrder, Stage, StoryReason

STANDSTILL_SILENCE_NS = 1 * SECOND
"""When nothing at all came for this long, a recovery says whom it waits for: a person who looks
twice in two seconds must find a reason."""

_OF_SOURCES = frozenset({StoryReason.NO_SOURCE, StoryReason.NO_VERSION, StoryReason.RESTING})
"""What this node's own certificate may be the reason of."""

_NAMED_MAX = 3
"""How many peers a sentence names."""


def why_still(
    state: State, recovery: Recovery, missing: BlockSet, *, now: int
) -> tuple[StoryReason, str] | None:
    """Say what a recovery waits for; ``None`` if it moves.

    Args:
        state: What is known.
        recovery: Which one.
        missing: Blocks it needs that no live peer has and sent rightly.
        now: The moment.
    """
    why: tuple[StoryReason, str] | None = None
    if recovery.placing.obstacle:
        obstacle = recovery.placing.obstacle.rstrip(".")
        why = StoryReason.IN_THE_WAY, f"{obstacle}; tried again every few seconds"
    elif recovery.local.trouble:
        reason = StoryReason.SHORTAGE if recovery.local.is_short else StoryReason.DISK
        why = reason, recovery.local.trouble.rstrip(".") + _retried(recovery, now=now)
    elif recovery.is_paused:
        why = StoryReason.PAUSED, "an operator to resume it"
    elif recovery.stage is Stage.SEEKING:
        why = _why_no_version(state, recovery)
    elif recovery.stage is Stage.DESCRIBING:
        why = _why_no_manifest(state, recovery, now=now)
    elif recovery.stage is Stage.TRANSFERRING:
        if recovery.work.transfer_count:
            why = _why_nothing_comes(recovery, now=now)
        else:
            why = _why_no_transfer(state, recovery, missing, now=now)
    if why is not None and why[0] in _OF_SOURCES and state.identity_trouble:
        why = StoryReason.CERTIFICATE, state.identity_trouble
    if why is not None and recovery.given_up_at_ns is not None and not recovery.is_paused:
        why = why[0], why[1] + _patience_left(recovery, recovery.given_up_at_ns - now)
    return why


def _patience_left(recovery: Recovery, left_ns: int) -> str:
    """Say how much longer what nobody has is waited for."""
    is_needed = recovery.stage is not Stage.TRANSFERRING or recovery.lacks_required
    return f"; {'gives up' if is_needed else 'goes without'} in {format_span(max(left_ns, 0))}"


def _retried(recovery: Recovery, *, now: int) -> str:
    if recovery.local.retry_at_ns is None or recovery.is_paused or recovery.ending is not None:
        return ""
    return f"; tried again in {format_span(max(recovery.local.retry_at_ns - now, 0))}"


def _why_no_version(state: State, recovery: Recovery) -> tuple[StoryReason, str]:
    """Say what is needed to choose a version."""
    if not state.is_settled:
        return StoryReason.NO_VERSION, "peers to say what they hold"
    rivalry = recovery.rivalry
    if rivalry.asked:
        return StoryReason.CONFLICT, "several contents of one version to be looked at"
    if rivalry.listed:
        digests = ", ".join(shortened(rival.digest) for rival in rivalry.listed[:_NAMED_MAX])
        return StoryReason.CONFLICT, f"somebody to choose one of several contents: {digests}"
    wanted = recovery.wanted_version
    what = "a whole version" if wanted is None else f"version {wanted}"
    if recovery.joining.lacking:
        lacking = recovery.joining.lacking
        return StoryReason.NO_VERSION, f"all shards of {what} of {recovery.checkpoint}: {lacking}"
    return StoryReason.NO_VERSION, f"a peer that has {what} of {recovery.checkpoint}"


def _why_nothing_comes(recovery: Recovery, *, now: int) -> tuple[StoryReason, str] | None:
    """Say why nothing comes though something was asked for; ``None`` if something does."""
    lanes = [lane for lane in recovery.work.lanes.values() if lane.transfers]

    def heard_ns(lane: Lane) -> int:
        return lane.heard_ns

    latest = max(lanes, key=heard_ns)
    if now - latest.heard_ns < STANDSTILL_SILENCE_NS:
        return None
    if recovery.local.pending_order is LocalOrder.COMMIT:
        return StoryReason.DISK, _which_disk(recovery, now=now)
    silent = format_span(now - latest.heard_ns)
    reason = StoryReason.SILENT if latest.has_body else StoryReason.FIRST_BYTE_LATE
    return reason, f"{_names([lane.source for lane in lanes])} to deliver, silent for {silent}"


def _which_disk(recovery: Recovery, *, now: int) -> str:
    """Say which disk a recovery waits for: that of its root, or that of the state directory."""
    durable_ns = recovery.commit.durable_ns
    since_ns = recovery.commit.started_ns if durable_ns is None else durable_ns
    if recovery.local.pending_order is not LocalOrder.COMMIT or now - since_ns < RECORDING_NS:
        return "the disk"
    since = format_span(now - since_ns)
    if durable_ns is None:
        return f"the disk, which has been making blocks durable for {since}"
    return f"the disk of the state directory, which has been writing the journal for {since}"


def _why_no_transfer(
    state: State, recovery: Recovery, missing: BlockSet, *, now: int
) -> tuple[StoryReason, str]:
    """Say why nobody is asked for anything."""
    wanted = recovery.to_order
    able = list(holders(recovery, state.sources(), wanted))
    if recovery.coverage.unclaimed and not wanted:
        why = StoryReason.ON_DEMAND, "somebody to read more of it, as it is on demand"
    elif not wanted and now < recovery.joining.settles_ns:
        why = StoryReason.OTHERS, "nodes that recover the job as well, for the same version"
    elif not wanted:
        why = StoryReason.DISK, _which_disk(recovery, now=now)
    elif recovery.local.retry_at_ns is not None:
        why = StoryReason.DISK, f"the disk{_retried(recovery, now=now)}"
    elif wanted.issubset(missing):
        size = format_size(recovery.content.space.set_bytes(missing))
        why = StoryReason.NO_SOURCE, f"a peer that has the missing {size}"
    elif any(may_be_asked(recovery, peer, now=now) for peer in able):
        why = StoryReason.OUTRANKED, "sources that have work of another recovery to do first"
    else:
        why = _why_nobody_may_be_asked(able, now=now)
    return why


def _why_nobody_may_be_asked(able: list[Peer], *, now: int) -> tuple[StoryReason, str]:
    """Say until when those rest who have what is missing."""
    resting = [peer for peer in able if peer.usable_at_ns > now]
    if not resting:
        return StoryReason.QUESTIONED, "sources to stand by their holdings"

    def usable_at_ns(peer: Peer) -> int:
        return peer.usable_at_ns

    first = min(resting, key=usable_at_ns)
    left = f"{(first.usable_at_ns - now) / SECOND:.1f}s"
    if all(peer.standing.quarantined_until_ns > now for peer in able):
        return StoryReason.QUARANTINED, f"the quarantine of {first.path} to end in {left}"
    if trouble := first.link.trouble_at(now):
        return StoryReason.RESTING, f"{first.node}: {trouble}; tried again in {left}"
    return StoryReason.RESTING, f"a source to be tried again in {left}"


def _why_no_manifest(
    state: State, recovery: Recovery, *, now: int
) -> tuple[StoryReason, str] | None:
    """Say why the manifest is not here; ``None``: it was asked for just now."""
    if recovery.request.job is not None:
        return _why_no_shards(recovery, now=now)
    search = recovery.search
    if recovery.local.pending_order is not None:
        asked: list[str] = [path for path in search.asked if path and path not in search.dropped]
        if search.asked_ns is None or now - search.asked_ns < STANDSTILL_SILENCE_NS or not asked:
            return None
        since = format_span(now - search.asked_ns)
        return StoryReason.SILENT, f"{_names(asked)} to send the manifest, asked for {since} ago"
    claimants = [each for each in state.peers.values() if each.is_live]
    claimants = [each for each in claimants if each.holding_of(recovery.digest)]
    if claimants and all(each.standing.quarantined_until_ns > now for each in claimants):
        return _why_nobody_may_be_asked(claimants, now=now)
    whose = _trouble_of_holder(state, recovery, now=now)
    what = f"a peer that has the manifest{whose}{_retried(recovery, now=now)}"
    return StoryReason.NO_SOURCE, what


def _why_no_shards(recovery: Recovery, *, now: int) -> tuple[StoryReason, str] | None:
    """Say why the manifests of all shards are not here; ``None``: they were asked for just now."""
    attempt = recovery.joining.attempt
    if recovery.local.pending_order is not None or attempt is None:
        return None
    if not attempt.wanted or now - attempt.begun_ns < STANDSTILL_SILENCE_NS:
        return None
    count = len(attempt.wanted)
    what = "the manifest of a shard" if count == 1 else f"the manifests of {count} shards"
    asked: list[str] = [path for path in attempt.late_ns if path]
    if not asked:
        return StoryReason.NO_SOURCE, f"a peer that has {what}"
    since = format_span(now - attempt.begun_ns)
    return StoryReason.SILENT, f"{_names(asked)} to send {what}, asked for {since} ago"


def _trouble_of_holder(state: State, recovery: Recovery, *, now: int) -> str:
    """Return why one of those who say they have it did not deliver; empty if none said."""
    troubled = (
        peer
        for peer in state.peers.values()
        if peer.is_live and peer.link.trouble_at(now) and peer.holding_of(recovery.digest)
    )
    first = next(troubled, None)
    return "" if first is None else f" ({first.node}: {first.link.trouble_at(now)})"


def _names(nodes: list[str]) -> str:
    some = ", ".join(nodes[:_NAMED_MAX])
    return some if len(nodes) <= _NAMED_MAX else f"{some} and {len(nodes) - _NAMED_MAX} more"
