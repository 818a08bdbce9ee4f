"""Recoveries in a list, as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from ckptd.cli.render.text import (
    eta_of,
    printable,
    reference,
    share_of,
    stage_of,
    table,
    wrapped_to,
)
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.model.quantities import format_duration, format_size

_NUMBERS: Final = ("RECOVERY", "DONE", "LEFT", "ETA", "TOOK")
"""Never cut: half a number is another number, and half an id is nobody's."""

_LEFT_OUT: Final = ("TOOK", "LEFT", "ETA")
"""What a narrow terminal does without, in this order; never the id, nor how far it is."""


def recovery_lines(views: Iterable[RecoveryView], width: int | None = None) -> list[str]:
    """List recoveries: each has a row, and below it when it began, where it goes, and why it waits.

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
        for fact in (began_and_goes(view), why_of(view)):
            lines += wrapped_to(f"  {fact}", width) if fact else ()
    return lines


def began_and_goes(view: RecoveryView) -> str:
    """Say when a recovery began and where it goes, as far as that is known."""
    began = ""
    if view.started_at_s:
        moment = datetime.fromtimestamp(view.started_at_s, UTC)
        began = f"began {moment.strftime('%Y-%m-%d %H:%M:%SZ')}"
    target = f"→ {printable(view.target)}" if view.target else ""
    return " ".join(filter(None, (began, target)))


def why_of(view: RecoveryView) -> str:
    """Say why a recovery waits, or failed; empty if it does neither."""
    return printable(view.message) or (
        f"waiting: {printable(view.waiting_for)}" if view.waiting_for else ""
    )
