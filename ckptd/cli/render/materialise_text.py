"""Full versions that are made of chains, as text for people."""

from __future__ import annotations

from typing import Final

from ckptd.cli.render.text import Picture, listing, printable, progress_bar, reference
from ckptd.control.messages.materialising import MaterialiseProgress, MaterialiseResult
from ckptd.model.quantities import format_duration, format_size

_WAYS_SHOWN: Final = 4


def materialising_picture(progress: MaterialiseProgress) -> Picture:
    """Show how far it is."""
    stage = progress.stage.value
    if not progress.bytes_total:
        return Picture(stage, stage, (stage,))
    line = f"{format_size(progress.bytes_done)} of {format_size(progress.bytes_total)}"
    bar = progress_bar(progress.bytes_done, progress.bytes_total)
    return Picture(stage, f"{stage}: {line}", (bar, f"{stage}: {line}"))


def materialised_lines(result: MaterialiseResult) -> list[str]:
    """Say what was made, and of what."""
    lines = [_made_line(result)]
    fetched = [row for row in result.chain if row.is_fetched]
    if fetched:
        names = [reference(row.checkpoint, row.version) for row in fetched]
        size = format_size(sum(row.size_bytes for row in fetched))
        verb = "would fetch" if result.is_dry_run else "fetched"
        lines.append(f"{verb} {size} for it: {listing(names)}")
    if result.left_out:
        lines.append(f"left out, for no delta is about it: {listing(result.left_out)}")
    if result.published:
        verb = "would publish" if result.is_dry_run else "published"
        lines.append(f"{verb} it as {reference(result.published, result.version)}")
    if result.is_dry_run:
        lines += [f"way: {printable(way.text)}" for way in result.ways[:_WAYS_SHOWN]]
        lines.append("nothing was done: this is what would be, by the first way")
    return lines


def _made_line(result: MaterialiseResult) -> str:
    name = reference(result.checkpoint, result.version)
    amount = format_size(result.size_bytes)
    if result.files:
        amount = f"{result.files} file{'' if result.files == 1 else 's'}, {amount}"
    where = f"in {printable(result.directory)}"
    if result.is_standing:
        return f"{name} stands {where} already, as it was made: {amount}"
    verb = "would make" if result.is_dry_run else "made"
    full, deltas = result.chain[0], result.chain[1:]
    made_of = f"of {reference(full.checkpoint, full.version)}"
    if deltas:
        made_of += f" and {len(deltas)} delta{'' if len(deltas) == 1 else 's'} on it"
    line = f"{verb} {name} {made_of} {where}: {amount}"
    return line if result.is_dry_run else f"{line}, in {format_duration(result.duration_s)}"
