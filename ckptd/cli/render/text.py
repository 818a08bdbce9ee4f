"""What the daemon says, as text for people. Pure: nothing here writes to a terminal.

Names come from peers: characters that could move a cursor are shown as escapes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from ckptd.cli.render.milestone_text import milestones_in_words, phases_in_words
from ckptd.control.messages.checkpoints import (
    PublishProgress,
    PublishResult,
)
from ckptd.control.messages.daemon_status import RootRow, Status
from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.control.messages.peers import PeerRow
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.control.messages.verifications import VerifyProgress
from ckptd.model.quantities import format_age, format_duration, format_rate, format_size
from ckptd.model.words import Bottleneck, PlaceState, RateOrigin, Result, Stage

WIDTH: Final = 80
"""Columns of the narrowest terminal in use."""

SOURCES_SHOWN_MAX: Final = 12
"""Sources in the live view: with the lines around them they fit in 24."""

_CELL_WIDTH_MIN: Final = 8
_BAR_WIDTH: Final = 40
_JUST_NOW_S: Final = 60.0
"""A rate so young is shown without its age."""


class Picture(NamedTuple):
    """Something that is in progress, at one moment.

    Attributes:
        stage: Changes when something happens that is worth a line of its own.
        line: All in one line.
        lines: The same for a terminal, at most 80 columns wide.
    """

    stage: str
    line: str
    lines: tuple[str, ...]


def printable(text: str) -> str:
    r"""Return the text with everything that does not print as an escape: ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def json_line(value: object) -> str:
    """Return a message as one line of JSON, with everything that does not print escaped."""
    text = msgspec.json.encode(value).decode()
    if text.isprintable():
        return text
    import json  # noqa: PLC0415 -- rarely needed

    return "".join(
        character if character.isprintable() else json.dumps(character)[1:-1] for character in text
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    width: int | None = None,
    *,
    whole: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> list[str]:
    """Align cells in columns two spaces apart.

    Args:
        header: Names of the columns.
        rows: The cells, as many as columns in each row.
        width: How wide a line may be; the widest columns are cut to fit. ``None``: no limit.
        whole: Names of columns that are never cut.
        left_out: Names of columns that are left out, in this order, where cutting the others to
            8 characters is not enough.
    """
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    least = [
        size if name in whole else min(size, _CELL_WIDTH_MIN)
        for name, size in zip(header, widths, strict=True)
    ]
    shown = list(range(len(header)))
    for name in left_out:
        if width is None or sum(least[column] + 2 for column in shown) - 2 <= width:
            break
        shown.remove(header.index(name))
    spare = [column for column in shown if widths[column] > least[column]]
    while width is not None and spare and sum(widths[one] + 2 for one in shown) - 2 > width:
        widest = max(spare, key=lambda column: widths[column])
        widths[widest] -= 1
        spare = [column for column in spare if widths[column] > least[column]]
    return [
        "  ".join(
            _cut_name(row[column], widths[column]).ljust(widths[column]) for column in shown
        ).rstrip()
        for row in cells
    ]


def cut(text: str, width: int) -> str:
    """Return a text that is no wider than this."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut_name(text: str, width: int) -> str:
    """Cut a text, of ``NAME@VERSION`` the name: the version tells one from the next."""
    name, _, version = text.rpartition("@")
    if len(text) <= width or not name or not version.isdecimal() or len(version) > width - 3:
        return cut(text, width)
    return f"{cut(name, width - len(version) - 1)}@{version}"


def wrapped_to(line: str, width: int | None) -> list[str]:
    """Break a line at spaces until it fits; its parts are indented. ``None``: no limit."""
    if width is None or len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)


def reference(checkpoint: str, version: int | None) -> str:
    """Return ``NAME@VERSION``, or ``NAME`` while no version is chosen."""
    name = printable(checkpoint)
    return name if version is None else f"{name}@{version}"


def _room(root: RootRow) -> str:
    """Say how much can be written to a root, or why nothing can."""
    if root.problem or root.free_bytes is None:
        return printable(root.problem) or "free space unknown"
    return f"{format_size(root.free_bytes)} free"


def status_lines(status: Status, width: int | None = None) -> list[str]:
    """Describe the daemon on one screen.

    Args:
        status: The daemon.
        width: How wide a line may be, 80 at most where recoveries are shown; ``None``: no limit.
    """
    uptime = format_duration(status.uptime_s)
    listen = status.listen
    facts = [
        ("node", f"{printable(status.node)}, up {uptime}, ckptd {status.ckptd_version}"),
        ("data", printable(listen.data)),
        ("metrics", printable(listen.metrics) if listen.metrics else "off"),
        ("control", printable(listen.control)),
        *(
            (
                f"root {printable(root.name)}",
                f"{printable(root.path)}, {_room(root)}",
            )
            for root in status.roots
        ),
        ("checkpoints", _versions_here(status)),
        ("peers", f"{status.peers_reachable} of {status.peers} reachable"),
        ("event loop", f"{status.event_loop_lag_s * 1000:.0f}ms late"),
        *((f"recover {printable(name)}", printable(why)) for name, why in status.unmet.items()),
    ]
    size = max(len(name) for name, _ in facts)
    lines = [
        line for name, fact in facts for line in wrapped_to(f"{name.ljust(size)}  {fact}", width)
    ]
    for view in status.recoveries:
        where = f"{printable(view.recovery)} → {printable(view.target) or 'not chosen yet'}"
        lines += [
            "",
            *wrapped_to(where, width),
            *picture_of(view, min(width or WIDTH, WIDTH)).lines,
        ]
    return lines


def _versions_here(status: Status) -> str:
    """Say how many versions are whole here, and how places stand if not all are simply here."""
    count = status.checkpoints
    here = f"{count} version{'' if count == 1 else 's'} whole here"
    states = {state: number for state, number in status.places.items() if number}
    if not states.keys() - {PlaceState.HERE.value}:
        return here
    return f"{here}; places: {', '.join(f'{number} {state}' for state, number in states.items())}"


def measured_rate(
    rate_bytes_per_s: float | None, age_s: float | None, origin: RateOrigin | None
) -> str:
    """Return how fast a peer delivers, and since when that is known unless it is from just now.

    Args:
        rate_bytes_per_s: So fast; 0 or ``None``: not known.
        age_s: How long ago.
        origin: What measured it.
    """
    if not rate_bytes_per_s:
        return ""
    ago = f", {format_age(age_s)} ago" if age_s is not None and age_s >= _JUST_NOW_S else ""
    by = " by doctor" if origin is RateOrigin.DOCTOR else ""
    return f"{format_rate(rate_bytes_per_s)}{ago}{by}"


def peer_lines(rows: Iterable[PeerRow], width: int | None = None) -> list[str]:
    """List peers."""
    return table(
        ("NODE", "ADDRESS", "STATE", "VERSIONS", "RATE", "ERROR"),
        (
            (
                row.node or "-",
                row.address,
                row.state,
                str(row.versions),
                measured_rate(row.rate_bytes_per_s, row.rate_age_s, row.rate_from) or "-",
                row.last_error or row.trouble or row.silent,
            )
            for row in rows
        ),
        width,
        whole=("VERSIONS", "RATE"),
        left_out=("VERSIONS", "ADDRESS", "RATE"),
    )


def picture_of(view: RecoveryView, width: int = WIDTH) -> Picture:
    """Show a recovery that is in progress, in lines that are no wider than this."""
    name, stage = reference(view.checkpoint, view.version), stage_of(view)
    waiting = printable(view.waiting_for)
    amounts = (
        f"{view.units_done}/{view.units_total} units, "
        f"{format_size(view.bytes_left)} of {format_size(view.bytes_total)} left, "
        f"{format_rate(view.rate_bytes_per_s)}, ETA {eta_of(view)}"
    )
    binds = "" if view.bottleneck is None else f"  limiter: {bottleneck_in_words(view.bottleneck)}"
    rest = f"  {stage}  {format_duration(view.elapsed_s)}{binds}"
    line = f"{name}: {stage}, {amounts}"
    lines = [
        cut(f"{_cut_name(name, max(width - len(rest), _CELL_WIDTH_MIN))}{rest}", width),
        progress_bar(view.bytes_verified, view.bytes_total, width),
        *textwrap.wrap(amounts, width, subsequent_indent="  "),
    ]
    if phases := printable(phases_in_words(view.phases)):
        line += f"; {phases}"
        lines += textwrap.wrap(phases, width, subsequent_indent="  ", max_lines=3)
    if waiting:
        line += f"; waiting: {waiting}"
        lines += textwrap.wrap(f"waiting: {waiting}", width, subsequent_indent="  ", max_lines=3)
    if view.missing_blocks:
        units = listing(view.missing_units) or "what is left"
        lines += textwrap.wrap(
            f"nobody has all of: {units}", width, subsequent_indent="  ", max_lines=3
        )
    return Picture(stage, line, (*lines, *_source_lines(view, width)))


def bottleneck_in_words(bottleneck: str) -> str:
    """Say what limits a recovery: of what an operator set, in words of the commands."""
    return "a limit that was set" if bottleneck == Bottleneck.SHAPER else printable(bottleneck)


def _source_lines(view: RecoveryView, width: int) -> list[str]:
    if not view.sources:
        return []
    busiest = sorted(view.sources, key=lambda source: (-source.rate_bytes_per_s, source.path))
    lines = table(
        ("SOURCE", "STATE", "RATE", "GAVE", "IN FLIGHT"),
        (
            (
                source.path,
                source.state,
                format_rate(source.rate_bytes_per_s),
                format_size(source.bytes),
                format_size(source.in_flight_bytes),
            )
            for source in busiest[:SOURCES_SHOWN_MAX]
        ),
        width,
        whole=("RATE", "GAVE", "IN FLIGHT"),
        left_out=("IN FLIGHT", "GAVE"),
    )
    if len(busiest) > SOURCES_SHOWN_MAX:
        lines.append(f"and {len(busiest) - SOURCES_SHOWN_MAX} more")
    return lines


def result_lines(result: RecoveryResult) -> list[str]:
    """Say how a recovery ended, and where the bytes of one came from that placed something."""
    name = reference(result.checkpoint, result.version)
    if not result.result.is_success:
        reason = f": {printable(result.message)}" if result.message else ""
        ended = f"recovery {printable(result.recovery)} of {name} {result.result}{reason}"
        return [ended, *_missing_lines(result)]
    if result.result is Result.CHOSEN:
        name = f"{name} in part by choice"
    if result.was_here:
        here = _wrapped(f"{name} is here already: {printable(result.target)}")
        return [*here, *_follower_lines(result), *_link_lines(result)]
    amount = format_size(result.bytes_total)
    if result.result is Result.PARTIAL:
        name, amount = f"{name} in part", f"{format_size(result.bytes_placed)} of {amount}"
    rate = format_rate(result.bytes_received / max(result.duration_s, 1e-9))
    duration = format_duration(result.duration_s)
    is_all_local = result.bytes_local and not result.bytes_received
    done = f"recovered {name}: {amount} in {duration} ({'copied here' if is_all_local else rate}),"
    where = f"every block verified → {printable(result.target)}"
    lines = [f"{done} {where}"] if len(done) + len(where) < WIDTH else [done, f"  {where}"]
    if milestones := milestones_in_words(result):
        lines += _wrapped(milestones)
    if phases := phases_in_words(result.phases):
        lines += _wrapped(printable(phases))
    if result.predicted_duration_s is not None:
        predicted = format_duration(result.predicted_duration_s)
        lines.append(f"predicted {predicted}, took {format_duration(result.duration_s)}")
    shares = ", ".join(f"{printable(of.node)} {format_size(of.bytes)}" for of in result.sources)
    standing_bytes = result.bytes_local - result.bytes_reused
    local = f"{format_size(standing_bytes)} were here or zeros, " if standing_bytes else ""
    if result.bytes_reused:
        local = f"{format_size(result.bytes_reused)} copied on this node, {local}"
    account = (
        f"sources: {shares or 'none'}; {local}resumed {format_size(result.bytes_resumed)}, "
        f"wasted {format_size(result.bytes_wasted)}"
    )
    if 0 < result.bytes_kept_warm < result.bytes_placed:
        account += f"; {format_size(result.bytes_kept_warm)} stay in memory while there is room"
    return [
        *lines,
        *_missing_lines(result),
        *_wrapped(account),
        *_follower_lines(result),
        *_link_lines(result),
    ]


def _link_lines(result: RecoveryResult) -> list[str]:
    if result.link_problem:
        return _wrapped(f"it did not become active: {printable(result.link_problem)}")
    return _wrapped(f"it is active: {printable(result.link)} leads to it") if result.link else []


def _follower_lines(result: RecoveryResult) -> list[str]:
    if result.followed_by is None:
        return []
    what = "what was waited for is" if result.time_to_critical_s is None else "critical units are"
    return [f"{what} placed; the rest follows as recovery {printable(result.followed_by)}"]


def _missing_lines(result: RecoveryResult) -> list[str]:
    if not result.missing_units:
        return []
    missing = "missing, optional" if result.result is Result.COMPLETE else "missing"
    return _wrapped(f"{missing}: {listing(result.missing_units)}")


def _wrapped(text: str) -> list[str]:
    """Wrap a list at its spaces; a name without spaces may be longer than a line."""
    return textwrap.wrap(
        text, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def publishing_picture(progress: PublishProgress) -> Picture:
    """Show a publishing that is in progress."""
    return hashing_picture("publishing", progress)


def hashing_picture(stage: str, progress: PublishProgress | VerifyProgress) -> Picture:
    """Show how far hashing is."""
    line = (
        f"{progress.files_done}/{progress.files_total} files, "
        f"{format_size(progress.bytes_done)} of {format_size(progress.bytes_total)}"
    )
    bar = progress_bar(progress.bytes_done, progress.bytes_total)
    return Picture(stage, f"{stage}: {line}", (bar, line))


def published_lines(result: PublishResult) -> list[str]:
    """Say what was published."""
    name = reference(result.checkpoint, result.version)
    done = "published" if result.is_new else "already published, unchanged:"
    if result.is_back:
        done = "on offer again, unchanged:"
    beside = bare_name_counts(result.links, result.empty_directories)
    amounts = f"{format_size(result.size_bytes)}, {result.units} units{beside}"
    lines = [
        f"{done} {name}: {amounts} in {format_duration(result.duration_s)}",
        f"digest {printable(result.digest)}",
    ]
    if result.is_dry_run:
        lines = [f"would publish {name}: {amounts}, from {printable(result.directory)}"]
    first = result.minimal_set
    if first is not None and not first.is_everything:
        lines.append(minimal_set_line(first))
    if result.skipped:
        lines.append(f"not a part of it: {listing(result.skipped)}")
    if result.excluded:
        more = result.excluded_files - len(result.excluded)
        others = f" and {more} more" if more > 0 else ""
        lines.append(f"left out: {listing(result.excluded)}{others}")
    if result.passed_files:
        done = "would be passed" if result.is_dry_run else "were passed"
        lines.append(
            f"{result.passed_files} files that only their owner may read {done}: "
            f"{printable(result.passed_note)}"
        )
    lines += (
        f"not in this part of the job, so nothing waits for it: {printable(each)}"
        for each in result.unresolved
    )
    if result.is_dry_run:
        lines.append("nothing was published: this is what would be")
    return lines


def minimal_set_line(first: MinimalSetView) -> str:
    """Say what a version is of some use with, and in which time a peer would have that."""
    line = f"first phase {printable(first.phase)}: {first.units} units, {format_size(first.bytes)}"
    if first.predicted_s is None:
        return line
    return f"{line}; at a peer in {format_duration(first.predicted_s)}"


def bare_name_counts(links: int | None, empty_directories: int | None) -> str:
    """Return how many links and empty directories there are, to stand behind a count of units."""
    kinds = (
        (links, "link", "links"),
        (empty_directories, "empty directory", "empty directories"),
    )
    return "".join(
        f", {count} {one if count == 1 else more}" for count, one, more in kinds if count
    )


def listing(names: Sequence[str]) -> str:
    """Return some names as a person reads them."""
    return ", ".join(printable(name) for name in names)


def stage_of(view: RecoveryView | ExplanationView) -> str:
    """Say how far a recovery is, and if it is paused or in the background."""
    if view.stage is Stage.CHOSEN:
        return "in part by choice"
    if view.stage.is_ended:
        return view.stage
    stage = "paused" if view.is_paused else str(view.stage)
    if isinstance(view, RecoveryView) and view.is_on_demand:
        stage = f"{stage} on demand"
    return f"{stage} in the background" if view.is_background else stage


def eta_of(view: RecoveryView) -> str:
    """Say how long a recovery still takes, if that is known."""
    return "-" if view.eta_s is None else format_duration(view.eta_s)


def share_of(part: int, whole: int) -> str:
    """Return a percentage, rounded down: only something whole is at 100 %."""
    return f"{part * 100 // whole}%" if whole else "-"


def progress_bar(part: int, whole: int, width: int = WIDTH) -> str:
    """Return how much of a whole is done, as a bar and a percentage."""
    size = min(_BAR_WIDTH, width - len(" 100%"))
    filled = part * size // whole if whole else 0
    return f"{'█' * filled}{'░' * (size - filled)} {share_of(part, whole)}"
