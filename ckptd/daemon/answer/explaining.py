"""Explanations of the scheduler as the control socket shows them."""

from __future__ import annotations

from collections.abc import Mapping

from ckptd.control.messages.explanations import ExplanationView, Happening, PeerPart
from ckptd.control.messages.plans import PassedOverRow
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.core.report import verdicts
from ckptd.core.report.story import Entry, sentence
from ckptd.limits import SECOND
from ckptd.model.ids import PathId
from ckptd.model.words import Stage, StoryKind, Verdict
from ckptd.store.records.ended import EndedRecovery


def explanation(
    view: RecoveryView,
    known: verdicts.Explanation,
    coding: Mapping[PathId, str],
    *,
    taken_at_s: float,
    message: str = "",
    why_off: str = "",
) -> ExplanationView:
    """Return why a recovery goes as it does, or went.

    Args:
        view: The recovery; one that ended as it ended.
        known: What the scheduler knows of it.
        coding: Of each source how it is asked for blocks, and why.
        taken_at_s: When the scheduler said so, in Unix time.
        message: Why it failed.
        why_off: Why nobody is asked for coded blocks; empty: anybody may be.
    """
    total_bytes = sum(peer.verified_bytes for peer in known.peers)
    ahead_s = taken_at_s - known.taken_ns / SECOND
    return ExplanationView(
        recovery=view.recovery,
        checkpoint=view.checkpoint,
        version=view.version,
        digest=view.digest,
        stage=view.stage,
        why=_why(known),
        passed_over=tuple(
            PassedOverRow(version=other.version, digest=other.digest, why=other.why)
            for other in (known.choice.passed_over if known.choice else ())
        ),
        bottleneck=view.bottleneck,
        waiting_for=view.waiting_for,
        message=message,
        peers=tuple(
            PeerPart(
                node=peer.node,
                path=peer.path,
                code=peer.verdict.value,
                sentence=peer.sentence,
                bytes=peer.verified_bytes,
                share=round(peer.verified_bytes / max(total_bytes, 1), 3),
                rate_bytes_per_s=peer.rate_bytes_per_s,
                coding=(why_off if peer.verified_bytes else "") or coding.get(peer.path, ""),
            )
            for peer in sorted(known.peers, key=lambda peer: (-peer.verified_bytes, peer.path))
        ),
        wasted=view.wasted,
        missing_units=view.missing_units,
        is_paused=view.is_paused,
        is_background=view.is_background,
        counts={kind.value: count for kind, count in known.counts.items()},
        story=tuple(_happening(entry, known.started_ns, ahead_s) for entry in known.entries),
    )


def forgotten(ended: EndedRecovery) -> ExplanationView:
    """Return what is left to say of a recovery whose story is not kept any more."""
    total_bytes = sum(share.verified_bytes for share in ended.sources)
    return ExplanationView(
        recovery=ended.recovery,
        checkpoint=ended.checkpoint,
        version=ended.version,
        digest=ended.digest,
        stage=Stage(ended.result),
        why="",
        passed_over=(),
        bottleneck=None,
        waiting_for="",
        message=ended.message,
        peers=tuple(
            PeerPart(
                node=share.node,
                path=share.node,
                code=Verdict.USED.value,
                sentence="",
                bytes=share.verified_bytes,
                share=round(share.verified_bytes / max(total_bytes, 1), 3),
                rate_bytes_per_s=0,
            )
            for share in sorted(
                ended.sources, key=lambda share: (-share.verified_bytes, share.node)
            )
        ),
        wasted=ended.wasted_bytes_by_reason,
        missing_units=ended.missing_units,
        counts=ended.happenings,
        story=(),
        is_story_kept=False,
    )


def _why(known: verdicts.Explanation) -> str:
    if known.choice is not None:
        return known.choice.why
    chosen = [entry for entry in known.entries if entry.kind is StoryKind.VERSION_CHOSEN]
    return chosen[-1].text if chosen else ""


def _happening(entry: Entry, started_ns: int, ahead_s: float) -> Happening:
    return Happening(
        at_s=round(entry.at_ns / SECOND + ahead_s, 3),
        after_s=round((entry.at_ns - started_ns) / SECOND, 3),
        kind=entry.kind.value,
        reason=entry.reason.value,
        sentence=sentence(entry),
        source=entry.source,
        other=entry.other,
        blocks=None if entry.blocks is None else (entry.blocks.start, entry.blocks.end),
        numbers=dict(_numbers(entry)),
    )


def _numbers(entry: Entry) -> list[tuple[str, float]]:
    """Return numbers in the units of the control socket: seconds for nanoseconds."""
    return [
        (f"{name.removesuffix('_ns')}_s", round(value / SECOND, 6))
        if name.endswith("_ns")
        else (name, value)
        for name, value in entry.numbers.items()
    ]
