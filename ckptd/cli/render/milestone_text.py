"""When something of a recovery was of use, as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.control.messages.milestone_rows import PhaseRow
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.model.quantities import format_duration, format_size

_PHASES_SHOWN_MAX: Final = 6


def milestones_in_words(result: RecoveryResult) -> str:
    """Say when how much of a recovery was there; empty if that is not known."""
    moments = (
        ("first unit", result.first_unit_after_s),
        ("critical units", result.time_to_critical_s),
        ("usable", result.usable_after_s),
    )
    return ", ".join(
        f"{what} after {format_duration(after_s)}"
        for what, after_s in moments
        if after_s is not None
    )


def phases_in_words(phases: Sequence[PhaseRow]) -> str:
    """Say how far each phase is; empty if there are no several phases.

    Names of phases are letters, digits, ``-`` and ``_`` by the rules of manifests.
    """
    if len(phases) < 2:  # noqa: PLR2004
        return ""
    shown = "; ".join(_phase_in_words(phase) for phase in phases[:_PHASES_SHOWN_MAX])
    more = len(phases) - _PHASES_SHOWN_MAX
    return f"{shown}; {more} more" if more > 0 else shown


def _phase_in_words(phase: PhaseRow) -> str:
    if phase.placed_after_s is not None:
        return f"{phase.name} usable after {format_duration(phase.placed_after_s)}"
    if phase.complete_after_s is not None:
        return f"{phase.name} complete after {format_duration(phase.complete_after_s)}"
    return f"{phase.name} {format_size(phase.bytes_left)} of {format_size(phase.bytes_total)} left"
