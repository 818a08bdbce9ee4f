"""What the demonstration of a fleet found out, as text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.cli.demo.fleet.picture import Moment
from ckptd.cli.render.text import printable, table
from ckptd.errors import ExitCode
from ckptd.model.quantities import format_duration, format_size

_DIFFERENCES_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Row:
    """Something that happened.

    Attributes:
        at_s: When it began, in seconds since the beginning.
        what: What it was.
        outcome: What became of it.
        took_s: How long that took.
    """

    at_s: float
    what: str
    outcome: str
    took_s: float


@dataclass(slots=True)
class FleetFindings:
    """How the demonstration of a fleet went. What plays it adds to it.

    Attributes:
        rows: What happened, in order.
        moments: What is marked in the picture.
        on_offer_s: Of each save how long after its end it was on offer.
        compared_bytes: How much was read and is what the ranks saved.
        compared_saves: In how many copies of how many shards.
        differences: What was read and is not.
        problem: What did not come; empty: all that was waited for came.
    """

    rows: list[Row] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    on_offer_s: Sequence[float] = ()
    compared_bytes: int = 0
    compared_saves: int = 0
    differences: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """0 only if all went as it should, and every byte is the same."""
        if self.differences:
            return ExitCode.VERIFICATION
        is_well = not self.problem and self.compared_saves > 0 and bool(self.on_offer_s)
        return ExitCode.DONE if is_well else ExitCode.FAILED


def fleet_report_lines(findings: FleetFindings, picture_path: str) -> list[str]:
    """Describe what happened and name the picture; the last line is the verdict."""
    rows = [
        (f"{row.at_s:.1f}s", row.what, row.outcome, format_duration(row.took_s))
        for row in findings.rows
    ]
    if findings.on_offer_s:
        median_s = statistics.median(findings.on_offer_s)
        worst_s = max(findings.on_offer_s)
        took = f"{format_duration(median_s)}, at most {format_duration(worst_s)}"
        rows.insert(
            0, ("", f"{len(findings.on_offer_s)} saves, complete", "each is on offer", took)
        )
    lines = ["", *table(("AT", "WHAT HAPPENED", "UNTIL", "TOOK"), rows), ""]
    if findings.compared_saves:
        lines.append(
            f"compared: {findings.compared_saves} shards where they stand, "
            f"{format_size(findings.compared_bytes)}, with what the ranks saved"
        )
    lines += [
        f"  {printable(text)}" for text in sorted(findings.differences)[:_DIFFERENCES_SHOWN_MAX]
    ]
    return [*lines, f"picture: {printable(picture_path)}", _verdict(findings)]


def _verdict(findings: FleetFindings) -> str:
    if findings.differences:
        return "FAILED: not everything is what the ranks saved."
    if findings.problem:
        return f"FAILED: {printable(findings.problem)}."
    if not findings.compared_saves:
        return "FAILED: nothing was compared."
    if not findings.on_offer_s:
        return "FAILED: nothing was seen on offer."
    return "A node and a zone were lost; no command was typed to copy, nor to bring the node back."
