"""Versions that were let go, or became active, as text for people."""

from __future__ import annotations

from ckptd.cli.render.text import Picture, listing, printable, progress_bar, reference
from ckptd.control.messages.current_links import Activated, LinkRow
from ckptd.control.messages.jobs import Adopted
from ckptd.control.messages.life_cycle import (
    LetGo,
    RemovedRow,
    RemoveProgress,
    RemoveResult,
)
from ckptd.model.quantities import format_size


def withdrawn_lines(answer: LetGo) -> list[str]:
    """Say what was taken off offer, and how it gets back."""
    if not answer.places:
        return ["withdrawn already"]
    lines = _let_go_lines(answer, "withdrew", "withdraw")
    back = "Files stay; 'ckptctl publish' of a directory puts it on offer again."
    return [*lines, back]


def forgotten_lines(answer: LetGo) -> list[str]:
    """Say what was forgotten."""
    lines = _let_go_lines(answer, "forgot", "forget")
    return [*lines, "Files stay; 'ckptctl publish' of a directory takes it up again."]


def _let_go_lines(answer: LetGo, done: str, would: str) -> list[str]:
    verb = f"would {would}" if answer.is_dry_run else done
    lines = [
        f"{verb} {reference(row.checkpoint, row.version)} in {printable(row.directory)}"
        + (", which stays on offer from another place" if row.is_elsewhere else "")
        for row in answer.places
    ]
    sizes = {row.digest: row.size_bytes for row in answer.places}
    count = f"{len(sizes)} version{'' if len(sizes) == 1 else 's'}"
    return [*lines, f"{verb} {count} of {format_size(sum(sizes.values()))}"]


def adopted_lines(answer: Adopted) -> list[str]:
    """Say what became a shard of which job, and what is to be done on other nodes."""
    verb = "would adopt" if answer.is_dry_run else "adopted"
    lines = [
        f"{verb} {reference(row.checkpoint, row.version)} as"
        f" {reference(row.shard, row.version)}, in {printable(row.directory)}"
        for row in answer.versions
    ]
    if answer.is_dry_run:
        return [*lines, "nothing was done: this is what would be"]
    return [
        *lines,
        f"The old names are gone here. Other nodes adopt their own: --count {answer.count}",
    ]


def removed_lines(result: RemoveResult) -> list[str]:
    """Say what was removed, and what stays."""
    name = reference(result.checkpoint, result.version)
    lines = [line for row in result.places for line in _removed_row(row, name, result)]
    if result.is_dry_run:
        lines.append("nothing was removed: this is what would be")
    return lines


def _removed_row(row: RemovedRow, name: str, result: RemoveResult) -> list[str]:
    verb = "would remove" if result.is_dry_run else "removed"
    files = f"{row.files} file{'' if row.files == 1 else 's'}"
    where = printable(row.directory)
    lines = [f"{verb} {name} from {where}: {files}, {format_size(row.removed_bytes)}"]
    if row.changed:
        lines.append(f"changed since it was recorded, and removed with it: {listing(row.changed)}")
    if row.kept:
        lines.append(f"changed in the meantime, and kept: {listing(row.kept)}")
    if not row.is_directory_gone:
        lines.append(f"{where} stays: it has other files")
    return lines


def removing_picture(progress: RemoveProgress) -> Picture:
    """Show a removal that is in progress."""
    if not progress.files_total:
        return Picture("removing", "removing", ("removing",))
    line = (
        f"{progress.files_done}/{progress.files_total} files that look different, "
        f"{format_size(progress.bytes_done)} of {format_size(progress.bytes_total)} hashed"
    )
    bar = progress_bar(progress.bytes_done, progress.bytes_total)
    return Picture("removing", f"removing: {line}", (bar, line))


def activated_lines(answer: Activated) -> list[str]:
    """Say what became of links."""
    return [line for row in answer.links for line in _link_lines(row)]


def _link_lines(row: LinkRow) -> list[str]:
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
