"""What retention removed, and what it keeps, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.cli.render.text import printable, reference, table
from ckptd.control.messages.retention import CollectedRow, CollectResult
from ckptd.model.quantities import format_size


def collected_lines(rows: Sequence[CollectedRow], result: CollectResult) -> list[str]:
    """Say what became of each version, and the sum."""
    lines = []
    if rows:
        done = "would go" if result.is_dry_run else "removed"
        lines = table(
            ("VERSION", "SIZE", "", "WHY"),
            [
                (
                    reference(row.checkpoint, row.version),
                    format_size(row.size_bytes),
                    done if row.is_gone else "stays",
                    printable(row.why),
                )
                for row in sorted(rows, key=lambda row: (row.checkpoint, -row.version))
            ],
        )
    verb = "would remove" if result.is_dry_run else "removed"
    count = f"{result.removed} version{'' if result.removed == 1 else 's'}"
    lines.append(f"{verb} {count} of {format_size(result.freed_bytes)}")
    if not result.is_on:
        lines.append("No rule of [retention] lets anything go: all stays.")
    lines += (
        f"root {printable(root)}: {format_size(short)} are short of [retention] min_free, and"
        " nothing more may go"
        for root, short in result.short_bytes.items()
    )
    return lines
