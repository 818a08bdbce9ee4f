"""Says why a recovery went as it did: each known peer's part in it, and the story."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from ckptd.core.options import Options
from ckptd.core.report.story import format_span, sentence
from ckptd.core.report.verdicts import Explanation, PeerVerdict
from ckptd.core.state.eligibility import holds_any, servable
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, SECOND
from ckptd.model.ids import shortened
from ckptd.model.quantities import format_rate, format_size
from ckptd.model.words import StoryKind, StoryReason, Verdict

_OFFERS_SHOWN: Final = 2
"""How many versions of a peer an explanation names; a line of a terminal holds no more."""


def explain(state: State, recovery: Recovery, options: Options, *, now: int) -> Explanation:
    """Return everything a person may ask about a recovery that has not ended.

    Args:
        state: What is known.
        recovery: Which recovery.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    return Explanation(
        started_ns=recovery.started_ns,
        taken_ns=now,
        choice=recovery.story.choice,
        peers=tuple(
            _judge(recovery, peer, options, now=now)
            for peer in sorted(state.sources(), key=attrgetter("path"))
        ),
        entries=tuple(recovery.story.entries),
        counts=dict(recovery.story.counts),
    )


def _judge(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> PeerVerdict:
    """Say what part a peer has."""
    verdict, why = _obstacle(recovery, peer, options, now=now) or _usage(recovery, peer, options)
    brought_bytes = recovery.tally.source_bytes.get(peer.path, 0)
    if brought_bytes and verdict is not Verdict.USED:
        why = f"gave {format_size(brought_bytes)}; {why}"
    rate = int(peer.link.rate.bytes_per_s)
    return PeerVerdict(peer.node, peer.path, verdict, why, brought_bytes, rate)


def _obstacle(
    recovery: Recovery, peer: Peer, options: Options, *, now: int
) -> tuple[Verdict, str] | None:
    """Say why a peer may not be asked; ``None`` if it may."""
    latest = recovery.story.latest.get(peer.path)
    found: tuple[Verdict, str] | None = None
    if not peer.is_live:
        found = Verdict.LOST, "does not answer"
    elif peer.standing.quarantined_until_ns > now:
        left = format_span(peer.standing.quarantined_until_ns - now)
        found = Verdict.QUARANTINED, f"sent bad blocks; in quarantine for another {left}"
    elif recovery.digest is None and (offers := _offers(recovery, peer)):
        found = Verdict.NOT_CHOSEN, f"holds {offers}; nothing is chosen"
    elif recovery.digest not in peer.holdings:
        if latest is not None and latest.kind is StoryKind.WITHDRAWN:
            found = Verdict.STALE, "held the version, and does not any more"
        else:
            found = Verdict.NOT_HELD, "does not hold the version"
    elif recovery.digest in peer.standing.questioned:
        found = Verdict.QUESTIONED, "sent bad blocks; asked whether it stands by them"
    elif peer.usable_at_ns > now:
        is_busy = latest is not None and latest.reason is StoryReason.BUSY
        left = format_span(peer.usable_at_ns - now)
        after = f" after this: {sentence(latest)}" if latest is not None else ""
        trouble = peer.link.trouble_at(now)
        verdict = Verdict.BUSY if is_busy else Verdict.RESTING
        found = verdict, f"not asked for another {left}{after}" + (trouble and f" ({trouble})")
    return found or _lack(recovery, peer, options)


def _offers(recovery: Recovery, peer: Peer) -> str:
    """Say what a peer holds of the checkpoint that is wanted, newest first; empty: nothing."""
    held = sorted(
        (
            (holding.version, holding.digest)
            for holding in peer.holdings.values()
            if holding.checkpoint == recovery.checkpoint
            and recovery.wanted_version in {None, holding.version}
        ),
        reverse=True,
    )
    shown = [f"version {version} ({shortened(digest)})" for version, digest in held[:_OFFERS_SHOWN]]
    more = len(held) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def _lack(recovery: Recovery, peer: Peer, options: Options) -> tuple[Verdict, str] | None:
    """Say why a peer that may be asked is not; ``None`` if it is, or may be at any moment."""
    bundle, latest = recovery.work.bundles.get(peer.path), recovery.story.latest.get(peer.path)
    queue_ns = peer.link.queue_time_ns(options)
    found: tuple[Verdict, str] | None = None
    is_at_work = bundle is not None and any(
        lane.transfers and not lane.is_closing for lane in bundle.lanes
    )
    if is_at_work or recovery.described is None:
        found = None
    elif recovery.to_order and latest is not None and latest.kind is StoryKind.OUTRANKED:
        found = Verdict.OUTRANKED, sentence(latest)
    elif latest is not None and latest.kind is StoryKind.DETOUR:
        found = Verdict.DETOUR, sentence(latest)
    elif latest is not None and latest.kind is StoryKind.STEAL:
        found = Verdict.SLOW, sentence(latest)
    elif recovery.to_order and not holds_any(recovery, peer, recovery.to_order):
        if peer.origin in recovery.refused:
            found = Verdict.REFUSED_BLOCKS, "sent all it could bring wrongly before"
        else:
            found = Verdict.NOTHING_MISSING, "holds nothing that is missing and not asked for"
    elif recovery.to_order and not servable(recovery, peer):
        found = Verdict.LEFT_TO_DISKS, "holds what lies on this node's disks as well"
    elif recovery.to_order and queue_ns >= options.ranges.window_ns:
        allowed = format_span(options.ranges.window_ns)
        found = Verdict.NO_ROOM, f"has {format_span(queue_ns)} of work, allowed {allowed}"
    return found


def _usage(recovery: Recovery, peer: Peer, options: Options) -> tuple[Verdict, str]:
    """Say why a peer is asked, or was never while it could have been."""
    link, bundle = peer.link, recovery.work.bundles.get(peer.path)
    lane_count = 0 if bundle is None else bundle.active_count
    brought_bytes = recovery.tally.source_bytes.get(peer.path, 0)
    soon = format_span(link.expected_ns(options.ranges.bytes_min, options))
    if not brought_bytes and not lane_count:
        return Verdict.NOT_NEEDED, f"its next {format_size(MIB)} would take {soon}; not asked"
    rate = link.rate.bytes_per_s
    parts = [f"gave {format_size(brought_bytes)}"] if brought_bytes else []
    if rate:
        over = f" over {lane_count} lanes" if lane_count > 1 else ""
        parts.append(f"delivers {format_rate(rate)}{over}")
    if lane_count:
        queue_s = link.queue_time_ns(options) / SECOND
        parts.append(f"asked for {queue_s:.1f}s of work; its next {format_size(MIB)} in {soon}")
    return Verdict.USED, ", ".join(parts)
