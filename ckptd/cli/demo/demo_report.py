"""What the demonstration found out, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckptd.cli.demo.demo_checkpoint import Comparison
from ckptd.cli.render.text import printable
from ckptd.control.messages.recovery_results import RecoveryResult, exit_code_of
from ckptd.errors import ExitCode
from ckptd.model.quantities import format_duration, format_rate, format_size
from ckptd.model.words import Result

_DIFFERENCES_SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Killing:
    """A source that was killed while the recovery ran.

    Attributes:
        node: Which one.
        percent: How much of the version was here just before.
    """

    node: str
    percent: int


@dataclass(frozen=True, slots=True)
class Findings:
    """How the demonstration went.

    Attributes:
        result: What the receiver says.
        killing: The source that was killed; ``None`` if the recovery was over before.
        comparison: Original and copy side by side; ``None`` if there is no copy.
    """

    result: RecoveryResult
    killing: Killing | None
    comparison: Comparison | None

    @property
    def exit_code(self) -> ExitCode:
        """0 only if the recovery completed and every file is the same."""
        if self.comparison is not None and self.comparison.differences:
            return ExitCode.VERIFICATION
        return exit_code_of(self.result)


def report_lines(findings: Findings) -> list[str]:
    """Describe what happened; the last line is the verdict."""
    result, comparison = findings.result, findings.comparison
    if result.result is not Result.COMPLETE or comparison is None:
        return [
            "",
            f"The recovery {result.result}: {printable(result.message) or 'nobody knows why'}.",
        ]
    rate = format_rate(result.bytes_received / max(result.duration_s, 1e-9))
    size = format_size(comparison.size_bytes)
    facts = [
        ("complete", f"after {format_duration(result.duration_s)}, {rate}, every block verified"),
        *_shares(findings),
        ("wasted", format_size(result.bytes_wasted)),
        ("compared", f"{comparison.files} files, {size}: {_comparison(comparison)}"),
    ]
    if result.time_to_critical_s is not None:
        facts.insert(0, ("critical units", f"after {format_duration(result.time_to_critical_s)}"))
    width = max(len(name) for name, _ in facts)
    differences = [f"  {printable(text)}" for text in comparison.differences]
    if len(differences) > _DIFFERENCES_SHOWN_MAX:
        differences[_DIFFERENCES_SHOWN_MAX:] = ["  …"]
    return [
        "",
        *(f"{name.ljust(width)}  {fact}" for name, fact in facts),
        *differences,
        "",
        _verdict(findings, comparison),
    ]


def _shares(findings: Findings) -> list[tuple[str, str]]:
    shares = {share.node: share.bytes for share in findings.result.sources}
    killing = findings.killing
    if killing is not None:
        shares.setdefault(killing.node, 0)
    rows: list[tuple[str, str]] = []
    for node, size_bytes in sorted(shares.items()):
        fact = f"{node}  {format_size(size_bytes)}"
        if killing is not None and killing.node == node:
            fact += f", killed when {killing.percent}% of all was here"
        rows.append(("" if rows else "received from", fact))
    return rows


def _comparison(comparison: Comparison) -> str:
    count = len(comparison.differences)
    return f"{count} differences" if count else "names, sizes, modes and every byte the same"


def _verdict(findings: Findings, comparison: Comparison) -> str:
    if comparison.differences:
        return "FAILED: what was recovered is not what was published."
    if findings.killing is None:
        return (
            "The checkpoint is back, bit for bit. It is so small that the recovery was over\n"
            "before a source could be killed."
        )
    return "The checkpoint is back, bit for bit, although a source died half-way."
