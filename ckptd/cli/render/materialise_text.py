"""Full versions that are made of chains, as text for people."""

from __future__ import annotations

from ckptd.cli.render.text import Picture, listing, printable, progress_bar, reference
from ckptd.control.messages.materialising import MaterialiseProgress, MaterialiseResult
from ckptd.model.quantities import format_duration, format_size


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
    name = reference(result.checkpoint, result.version)
    where, size = printable(result.directory), format_size(result.size_bytes)
    full, deltas = result.chain[0], result.chain[1:]
    count = f"{len(deltas)} delta{'' if len(deltas) == 1 else 's'}"
    made_of = f"of {reference(result.checkpoint, full.version)} and {count} on it"
    amount = f"{result.files} file{'' if result.files == 1 else 's'}, {size}"
    if result.is_standing:
        lines = [f"{name} stands in {where} already, as it was made: {amount}"]
    elif result.is_dry_run:
        lines = [f"would make {name} {made_of} in {where}: {amount}"]
    else:
        took = format_duration(result.duration_s)
        lines = [f"made {name} {made_of} in {where}: {amount}, in {took}"]
    if result.left_out:
        lines.append(f"left out, for no delta is about it: {listing(result.left_out)}")
    if result.published:
        verb = "would publish" if result.is_dry_run else "published"
        lines.append(f"{verb} it as {reference(result.published, result.version)}")
    if result.is_dry_run:
        lines.append("nothing was done: this is what would be")
    return lines
