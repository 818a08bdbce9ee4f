"""Links that lead to active versions, as text for people."""

from __future__ import annotations

from ckptd.cli.render.text import printable, reference
from ckptd.control.messages.activations import Activated, LinkRow


def activated_lines(answer: Activated) -> list[str]:
    """Say what became of links."""
    return [line for row in answer.links for line in _lines(row)]


def _lines(row: LinkRow) -> list[str]:
    link = printable(row.link)
    if row.version is None or row.directory is None:
        before = reference(row.checkpoint, row.version_before)
        if row.left:
            return [f"{before} is active no more; what has the name stays: {printable(row.left)}"]
        return [f"{before} is active no more: {link} is gone; the version stays"]
    name = reference(row.checkpoint, row.version)
    where = f"{link} → {printable(row.directory)}"
    if not row.is_new:
        return [f"{name} is active already: {where}"]
    before = "" if row.version_before is None else f", before {row.version_before}"
    return [f"{name} is active: {where} (in {row.swap_s * 1000:.1f} ms{before})"]
