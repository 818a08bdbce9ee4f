"""Versions and where they stand, as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from ckptd.cli.render.chain_text import chain_text
from ckptd.cli.render.job_text import JobVersion, jobs_among
from ckptd.cli.render.text import bare_name_counts, printable, table
from ckptd.control.messages.checkpoints import CheckpointRow, PlaceRow
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.model.ids import shortened
from ckptd.model.quantities import format_age, format_duration, format_size
from ckptd.model.words import Location, PlaceState

_BEST_FIRST: Final = tuple(PlaceState)
_COLUMNS: Final = ("CHECKPOINT", "VERSION", "SIZE", "UNITS", "AGE", "HELD", "NODES")
_WIDE_COLUMNS: Final = ("FIRST PHASE", "IN", "CRITICAL", "DIGEST")


def checkpoint_lines(
    rows: Iterable[CheckpointRow], width: int | None = None, *, is_wide: bool = False
) -> list[str]:
    """List versions and who holds them; with places that are not simply here, a line for each.

    The shards of a version of a job are one line.

    Args:
        rows: In the order in which they are shown.
        width: Of the terminal; ``None`` if no line is to be cut.
        is_wide: With more columns; no line is cut then.
    """
    return _lines(jobs_among(tuple(rows)), width, is_wide=is_wide)


def shard_lines(
    rows: Iterable[CheckpointRow], width: int | None = None, *, is_wide: bool = False
) -> list[str]:
    """List the same with a line for each shard."""
    return _lines(tuple(rows), width, is_wide=is_wide)


def _lines(
    shown: Sequence[CheckpointRow | JobVersion], width: int | None, *, is_wide: bool
) -> list[str]:
    width = None if is_wide else width
    rows = [each for each in shown if isinstance(each, CheckpointRow)]
    contents = Counter((row.checkpoint, row.version) for row in rows)
    header, *lines = table(
        (*_COLUMNS, *(_WIDE_COLUMNS if is_wide else ())),
        ((*_cells(each, contents), *(_wide_cells(each) if is_wide else ())) for each in shown),
        width,
    )
    found = [header]
    for line, each in zip(lines, shown, strict=True):
        more = each.notes() if isinstance(each, JobVersion) else _more_lines(each, width)
        found += [line, *more]
    return found


def _cells(row: CheckpointRow | JobVersion, contents: Counter[tuple[str, int]]) -> tuple[str, ...]:
    if isinstance(row, JobVersion):
        return row.cells()
    return (
        row.checkpoint,
        _version(row, has_rivals=contents[row.checkpoint, row.version] > 1),
        format_size(row.size_bytes),
        _units(row),
        _age(row),
        _held(row),
        ",".join(row.nodes) or "-",
    )


def _wide_cells(row: CheckpointRow | JobVersion) -> tuple[str, ...]:
    """Return what is shown in more columns; of a job what is known of all of its shards."""
    if isinstance(row, JobVersion):
        found = row.minimal_sets()
        first = _first_cells(found) if row.count == 1 else (_phases(found), "-")
        return (*first, _size(row.critical_bytes()), "-")
    found = () if row.minimal_set is None else (row.minimal_set,)
    return (*_first_cells(found), _size(row.critical_bytes), shortened(row.digest))


def _first_cells(found: Sequence[MinimalSetView]) -> tuple[str, str]:
    """Return what has to be there first, and in which time it is."""
    if not found:
        return "-", "-"
    times = [each.predicted_s for each in found if each.predicted_s is not None]
    predicted = format_duration(sum(times)) if len(times) == len(found) else "-"
    if all(each.is_everything for each in found):
        return "all of it", predicted
    amount = format_size(sum(each.bytes for each in found))
    units = sum(each.units for each in found)
    return f"{_phases(found)}: {units} units, {amount}", predicted


def _phases(found: Sequence[MinimalSetView]) -> str:
    """Name what has to be there first; how much that is nobody knows who adds up shards.

    Names that several have come once, and which those are is only in their manifests.
    """
    if not found:
        return "-"
    if all(each.is_everything for each in found):
        return "all of it"
    return printable("+".join(dict.fromkeys(each.phase for each in found)))


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else format_size(size_bytes)


def _version(row: CheckpointRow, *, has_rivals: bool) -> str:
    """Return the version, with its digest where several contents go by it."""
    return f"{row.version} {shortened(row.digest)}" if has_rivals else str(row.version)


def _units(row: CheckpointRow) -> str:
    """Return what a version consists of, as far as is known."""
    if row.units is None:
        return "-"
    return f"{row.units}{bare_name_counts(row.links, row.empty_directories)}"


def _age(row: CheckpointRow) -> str:
    """Return for how long a version has been here."""
    ages = [place.age_s for place in row.places if place.age_s is not None]
    return format_age(max(ages)) if ages else "-"


def _held(row: CheckpointRow) -> str:
    if row.is_stale:
        return "stale"
    if row.places and all(place.is_copy for place in row.places):
        best = min((place.state for place in row.places), key=_BEST_FIRST.index)
        if best in {PlaceState.HERE, PlaceState.CHOSEN}:
            return "a copy"
    if row.held is Location.HERE:
        return "active" if any(place.active_link for place in row.places) else "here"
    if row.places:
        best = min((place.state for place in row.places), key=_BEST_FIRST.index)
        return "by choice" if best is PlaceState.CHOSEN else best.value
    return "peers" if row.is_complete else "in part"


def _more_lines(row: CheckpointRow, width: int | None) -> list[str]:
    chain = [] if row.chain is None else [f"  {chain_text(row.chain)}"]
    return [*chain, *_place_lines(row, width)]


def _place_lines(row: CheckpointRow, width: int | None) -> list[str]:
    places = row.places
    if len(places) == 1 and places[0].state is PlaceState.HERE and not places[0].active_link:
        return []
    lines: list[str] = []
    for place in places:
        active = f"; active as {printable(place.active_link)}" if place.active_link else ""
        fact = f"  {printable(place.directory)}: {_state(place, row)}{active}"
        # Wrapped, not cut: what is wrong stands at the end of the line.
        lines += [fact] if width is None else _wrapped(fact, width)
    return lines


def _wrapped(fact: str, width: int) -> list[str]:
    return textwrap.wrap(
        fact,
        width,
        drop_whitespace=True,
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


def _state(place: PlaceRow, row: CheckpointRow) -> str:
    checked = ""
    if place.state is PlaceState.UNSEEN:
        checked = ": not looked at yet since ckptd started, and not on offer until it is"
    elif place.checked_age_s is not None:
        checked = f", checked {format_age(place.checked_age_s)} ago"
    units = f"{place.units} unit{'s' * (place.units != 1)}"
    match place.state:
        case PlaceState.SUSPECT:
            return f"suspect: {place.suspect_units} of {units} are hashed again"
        case PlaceState.STALE:
            count = f" ({place.changed_units} of {units})"
            # The path of the place stands before it already.
            reason = place.reason.removeprefix(f"file {place.directory}/")
            if place.wrong_names and not place.changed_units:
                reason = reason.replace(f" {place.directory}/", " ", 1)
                return f"stale: {printable(reason)}; all units are served"
            return f"stale: {printable(reason)}{count if place.changed_units else ''}"
        case PlaceState.PARTIAL | PlaceState.CHOSEN:
            what = "a copy for others" if place.is_copy else "here in part by choice"
            what = "partial" if place.state is PlaceState.PARTIAL else what
            of_all = "" if row.units is None else f" of {row.units}"
            return f"{what}: {place.units}{of_all} units{checked}"
        case PlaceState.WITHDRAWN if place.reason:
            return f"withdrawn: {printable(place.reason)}"
        case state:
            is_copy = place.is_copy and state is PlaceState.HERE
            return f"{'a copy for others' if is_copy else state.value}{checked}"
