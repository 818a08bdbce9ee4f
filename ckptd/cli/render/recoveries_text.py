"""Recoveries in a list, as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from ckptd.cli.render.milestone_text import phases_in_words
from ckptd.cli.render.text import (
    WIDTH,
    Picture,
    cut,
    eta_of,
    printable,
    reference,
    share_of,
    stage_of,
    table,
    wrapped_to,
)
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.model.quantities import format_duration, format_rate, format_size

_NUMBERS: Final = ("RECOVERY", "DONE", "LEFT", "ETA", "TOOK")
"""Never cut: half a number is another number, and half an id is nobody's."""

_ROWS_SHOWN_MAX: Final = 20
"""Recoveries that a picture shows: with the lines around them they fit in 24."""

_LEFT_OUT: Final = ("TOOK", "LEFT", "ETA")
"""What a narrow terminal does without, in this order; never the id, nor how far it is."""


def recovery_lines(views: Iterable[RecoveryView], width: int | None = None) -> list[str]:
    """List recoveries: each has a row, and below it when it began, where it goes, and why it waits.

    Of one with several phases also how far each is.

    Args:
        views: Which ones.
        width: How wide a line may be; ``None``: no limit.
    """
    views = list(views)
    header, *rows = table(
        ("RECOVERY", "CHECKPOINT", "STAGE", "DONE", "LEFT", "ETA", "TOOK"),
        (
            (
                view.recovery,
                reference(view.checkpoint, view.version),
                stage_of(view),
                share_of(view.bytes_verified, view.bytes_total),
                format_size(view.bytes_left),
                eta_of(view),
                format_duration(view.elapsed_s),
            )
            for view in views
        ),
        width,
        whole=_NUMBERS,
        left_out=_LEFT_OUT,
    )
    lines = [header]
    for row, view in zip(rows, views, strict=True):
        lines.append(row)
        phases = printable(phases_in_words(view.phases))
        for fact in (began_and_goes(view), phases, why_of(view)):
            lines += wrapped_to(f"  {fact}", width) if fact else ()
    return lines


def progress_picture(views: Sequence[RecoveryView], width: int = WIDTH) -> Picture:
    """Show several recoveries at once, a row for each, and what they come to together."""
    done_bytes = sum(view.bytes_verified for view in views)
    total_bytes = sum(view.bytes_total for view in views)
    rate = sum(view.rate_bytes_per_s for view in views)
    ended = sum(view.stage.is_ended for view in views)
    all_of_them = (
        f"{ended} of {len(views)} ended, {share_of(done_bytes, total_bytes)}, "
        f"{format_size(sum(view.bytes_left for view in views))} left, {format_rate(rate)}"
    )
    shown = sorted(views, key=lambda view: (view.stage.is_ended, view.checkpoint))[:_ROWS_SHOWN_MAX]
    lines = table(
        ("CHECKPOINT", "STAGE", "DONE", "LEFT", "ETA", "WAITING"),
        (
            (
                reference(view.checkpoint, view.version),
                stage_of(view),
                share_of(view.bytes_verified, view.bytes_total),
                format_size(view.bytes_left),
                eta_of(view),
                view.waiting_for,
            )
            for view in shown
        ),
        width,
        whole=_NUMBERS,
        left_out=("WAITING", "LEFT", "ETA"),
    )
    more = [f"and {len(views) - len(shown)} more"] if len(views) > len(shown) else []
    stages = " ".join(view.stage for view in views)
    return Picture(stages, all_of_them, (cut(all_of_them, width), *lines, *more))


def began_and_goes(view: RecoveryView) -> str:
    """Say when a recovery began and where it goes, as far as that is known."""
    began = ""
    if view.started_at_s:
        moment = datetime.fromtimestamp(view.started_at_s, UTC)
        began = f"began {moment.strftime('%Y-%m-%d %H:%M:%SZ')}"
    if view.asked_by:
        who = "a copy for others" if view.asked_by == "copies" else "asked for by the configuration"
        began = f"{began}, {who}".removeprefix(", ")
    target = f"→ {printable(view.target)}" if view.target else ""
    return " ".join(filter(None, (began, target)))


def why_of(view: RecoveryView) -> str:
    """Say why a recovery waits, or failed; empty if it does neither."""
    return printable(view.message) or (
        f"waiting: {printable(view.waiting_for)}" if view.waiting_for else ""
    )
