"""What the demonstration of a job found out, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.cli.demo.demo_checkpoint import Comparison
from ckptd.cli.render.text import WIDTH, printable
from ckptd.control.messages.jobs import NewestView
from ckptd.control.messages.recovery_results import RecoveryResult, exit_code_of
from ckptd.errors import ExitCode
from ckptd.model.quantities import format_duration, format_size
from ckptd.model.words import Result

_DIFFERENCES_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class JobFindings:
    """How the demonstration of a job went.

    Attributes:
        wiped: Nodes that were wiped.
        results: What each of them says.
        passed_over: Which newer version was not taken, and why; empty: none is known.
        newest: What each node says of the newest version that is whole.
        comparisons: Of each node what was saved beside what it has; ``None`` if it has nothing.
    """

    wiped: Sequence[str]
    results: Sequence[RecoveryResult]
    passed_over: str
    newest: Sequence[NewestView]
    comparisons: Sequence[Comparison] | None

    @property
    def failed(self) -> list[tuple[str, RecoveryResult]]:
        """The nodes on which the recovery is not complete, and how it ended there."""
        both = zip(self.wiped, self.results, strict=True)
        return [(node, result) for node, result in both if result.result is not Result.COMPLETE]

    @property
    def differences(self) -> list[str]:
        """What is not as it was saved."""
        return [text for each in self.comparisons or () for text in each.differences]

    @property
    def is_one_version(self) -> bool:
        """All nodes name the version that was recovered, and none another one."""
        recovered = {result.version for result in self.results}
        named = {view.version for view in self.newest}
        return (
            recovered == named and len(named) == 1 and all(view.is_agreed for view in self.newest)
        )

    @property
    def exit_code(self) -> ExitCode:
        """0 only if all nodes have one version, and every file is the same."""
        for _, result in self.failed:
            return exit_code_of(result)
        if self.differences:
            return ExitCode.VERIFICATION
        return ExitCode.DONE if self.is_one_version else ExitCode.CONFLICT


def job_report_lines(findings: JobFindings) -> list[str]:
    """Describe what happened; the last line is the verdict."""
    if findings.comparisons is None:
        return ["", *(f"{node}: {_failed(each)}" for node, each in findings.failed)]
    facts = [
        *zip(findings.wiped, map(_recovered, findings.results), strict=True),
        ("passed over", printable(findings.passed_over) or "nothing"),
        ("newest", _newest(findings.newest)),
        ("compared", _compared(findings.comparisons)),
    ]
    width = max(len(name) for name, _ in facts) + 2
    differences = [f"  {printable(text)}" for text in findings.differences]
    if len(differences) > _DIFFERENCES_SHOWN_MAX:
        differences[_DIFFERENCES_SHOWN_MAX:] = ["  …"]
    lines = [""]
    for name, fact in facts:
        lines += textwrap.wrap(
            f"{name.ljust(width)}{fact}",
            WIDTH,
            subsequent_indent=" " * width,
            break_on_hyphens=False,
        )
    return [*lines, *differences, "", _verdict(findings)]


def _failed(result: RecoveryResult) -> str:
    return f"the recovery {result.result}: {printable(result.message) or 'nobody knows why'}."


def _recovered(result: RecoveryResult) -> str:
    nodes = ", ".join(sorted(share.node for share in result.sources))
    return (
        f"{result.checkpoint}@{result.version} after {format_duration(result.duration_s)}, "
        f"{format_size(result.bytes_received)} from {nodes}"
    )


def _newest(views: Sequence[NewestView]) -> str:
    named = sorted({str(view.version) for view in views})
    if len(named) == 1:
        return (
            f"{views[0].job}@{named[0]} with {views[0].shards} shards, say all {len(views)} nodes"
        )
    return f"the nodes say {' and '.join(named)}"


def _compared(comparisons: Sequence[Comparison]) -> str:
    files = sum(each.files for each in comparisons)
    size = format_size(sum(each.size_bytes for each in comparisons))
    count = sum(len(each.differences) for each in comparisons)
    found = f"{count} differences" if count else "names, sizes, modes and every byte the same"
    return f"{files} files on all nodes, {size}: {found}"


def _verdict(findings: JobFindings) -> str:
    if findings.differences:
        return "FAILED: what is on the nodes is not what was saved."
    if not findings.is_one_version:
        return "FAILED: the nodes do not have the same version."
    return "One version on all nodes, bit for bit, although a newer one was half published."
