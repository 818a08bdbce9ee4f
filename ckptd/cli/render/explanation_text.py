"""Why a recovery went as it did, as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.cli.render.plan_text import aligned
from ckptd.cli.render.text import bottleneck_in_words, printable, reference, stage_of, table
from ckptd.control.messages.explanations import ExplanationView, PeerPart
from ckptd.model.ids import shortened
from ckptd.model.quantities import format_duration, format_size

PEERS_SHOWN_MAX: Final = 6
HAPPENINGS_SHOWN_MAX: Final = 8
"""With the facts above them both fit in 24 lines."""

_PASSED_OVER_SHOWN_MAX: Final = 1
_CODING_SHOWN_MAX: Final = 2


def explanation_lines(
    known: ExplanationView, *, is_all: bool, width: int | None = None
) -> list[str]:
    """Say why a recovery goes as it does, or went.

    Args:
        known: The recovery.
        is_all: Show everything, not only what fits a screen.
        width: How wide a table may be; ``None``: no limit.
    """
    peers = known.peers if is_all else known.peers[:PEERS_SHOWN_MAX]
    coding = _coding(peers, is_all=is_all, width=width)
    story = known.story if is_all else known.story[-HAPPENINGS_SHOWN_MAX + len(coding) :]
    lines = aligned(_facts(known, is_all=is_all))
    lines += table(
        ("PEER", "WHY", "SHARE", ""),
        ((peer.path, peer.code, f"{peer.share * 100:.0f}%", peer.sentence) for peer in peers),
        width,
    )
    lines += _more(len(known.peers) - len(peers), "peers")
    lines += coding
    if not known.is_story_kept:
        return [*lines, "What happened is not kept any more, only how often."]
    if story:
        lines += table(
            ("AFTER", "WHAT HAPPENED"),
            ((format_duration(known.after_s), known.sentence) for known in story),
            width,
        )
        lines += _more(len(known.story) - len(story), "things that happened before")
    return lines


def _coding(peers: Sequence[PeerPart], *, is_all: bool, width: int | None) -> list[str]:
    """Say of which peers blocks come in fewer bytes, and why; one line for what is the same."""
    paths: dict[str, list[str]] = {}
    for peer in peers:
        if peer.coding:
            paths.setdefault(peer.coding, []).append(peer.path)
    if not paths:
        return []
    rows = [(", ".join(same), coding) for coding, same in paths.items()]
    shown = rows if is_all else rows[:_CODING_SHOWN_MAX]
    more = _more(len(rows) - len(shown), "that differ")
    return [*table(("BLOCKS OF", "COME"), shown, width), *more]


def _facts(known: ExplanationView, *, is_all: bool) -> list[tuple[str, str]]:
    name = reference(known.checkpoint, known.version)
    facts = [("recovery", f"{printable(known.recovery)} of {name}, {stage_of(known)}")]
    if known.why:
        facts.append(("version", known.why))
    passed_over = known.passed_over if is_all else known.passed_over[:_PASSED_OVER_SHOWN_MAX]
    facts += [
        ("passed over", f"{other.version} ({shortened(other.digest)}): {other.why}")
        for other in passed_over
    ]
    if known.bottleneck is not None:
        facts.append(("limiter", bottleneck_in_words(known.bottleneck)))
    if known.waiting_for:
        facts.append(("waiting for", known.waiting_for))
    if known.message:
        facts.append(("failed", known.message))
    if known.missing_units:
        facts.append(("missing", ", ".join(known.missing_units)))
    if known.wasted:
        sizes = (f"{reason} {format_size(size)}" for reason, size in sorted(known.wasted.items()))
        facts.append(("wasted", ", ".join(sizes)))
    if known.counts:
        counts = (f"{count} {kind}" for kind, count in sorted(known.counts.items()))
        facts.append(("happened", ", ".join(counts)))
    return facts


def _more(count: int, what: str) -> Sequence[str]:
    return [f"… {count} more {what}; see --all"] if count > 0 else []
