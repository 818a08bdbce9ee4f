"""What jobs that save do to a node, as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from ckptd.cli.render.text import WIDTH, printable, table
from ckptd.control.messages.workloads import (
    AbsorbingView,
    OutrunRow,
    WorkloadRow,
    WorkloadVersionRow,
    WorkloadView,
)
from ckptd.model.quantities import format_age, format_duration, format_rate, format_size

ROWS_SHOWN_MAX: Final = 8
"""Of checkpoints, and of versions; with what is said of them that fits in 24 lines."""
_OUTRUN_LINES_MAX: Final = 9
_SHOWN_S_MIN: Final = 0.1

_UNKNOWN: Final = "unknown"
_COLUMNS: Final = ("CHECKPOINT", "EVERY", "SAVED", "SIZE", "NEW", "HASHED", "COPIED", "BROUGHT")
_LEFT_OUT: Final = ("BROUGHT", "SAVED")


def workload_lines(
    view: WorkloadView, width: int | None = None, *, is_wide: bool = False, has_shards: bool = False
) -> list[str]:
    """List what each checkpoint and each job does, those that are still saved first.

    Args:
        view: What is known.
        width: Of the terminal; ``None`` if no line is to be cut.
        is_wide: All of them; no line is cut then.
        has_shards: Of the job that was named also a line for each shard.
    """
    rows = [*view.rows, *(view.shards if has_shards else ())]
    rows.sort(key=lambda row: (not row.is_current, row.saved_age_s is None, row.saved_age_s or 0.0))
    shown = rows if is_wide else rows[:ROWS_SHOWN_MAX]
    lines = table(
        _COLUMNS,
        map(_cells, shown),
        None if is_wide else width,
        left_out=_LEFT_OUT,
    )
    if len(shown) < len(rows):
        lines.append(f"… and {len(rows) - len(shown)} more: -o wide")
    if view.versions:
        latest = view.versions if is_wide else view.versions[-ROWS_SHOWN_MAX:]
        lines += ["", *_version_lines(latest, width)]
    return [*lines, "", *_outrun_lines(view.outrun, is_wide=is_wide), *_node_lines(view)]


def _outrun_lines(outrun: Sequence[OutrunRow], *, is_wide: bool) -> list[str]:
    """Say what jobs are faster than, of as many as there is room for."""
    lines: list[str] = []
    for number, each in enumerate(outrun):
        said = _wrapped(f"{each.checkpoint or 'all jobs'} {each.finding}. {each.remedy}")
        if lines and not is_wide and len(lines) + len(said) > _OUTRUN_LINES_MAX:
            return [*lines, f"… and {len(outrun) - number} more: 'ckptctl doctor'"]
        lines += said
    return lines


def _version_lines(versions: Sequence[WorkloadVersionRow], width: int | None) -> list[str]:
    """List versions, the latest first."""
    return table(
        ("VERSION", "SAVED", "SIZE", "NEW", "HASHED", "COPIED", "BROUGHT"),
        [
            (
                str(each.version),
                _age(each.saved_age_s),
                _size(each.size_bytes),
                _share(each.changed_share),
                _hashed(each),
                _duration(each.copied_s),
                _duration(each.brought_s),
            )
            for each in reversed(versions)
        ],
        width,
    )


def _cells(row: WorkloadRow) -> tuple[str, ...]:
    return (
        f"{row.checkpoint} ({row.shards} shard{'s' * (row.shards != 1)})"
        if row.shards
        else row.checkpoint,
        _duration(row.interval_s),
        _age(row.saved_age_s),
        _size(row.size_bytes),
        _share(row.changed_share),
        _duration(row.hashed_s),
        _duration(row.copied_s),
        _duration(row.brought_s),
    )


def _node_lines(view: WorkloadView) -> Iterable[str]:
    """Say what this node does all together, and what it can take in."""
    share = _UNKNOWN if view.hashing_share is None else f"{view.hashing_share:.0%} of the time"
    yield f"hashing saves takes {share}"
    yield from _wrapped(f"this node can take in: {_absorbing(view.absorbing)}")


def _absorbing(view: AbsorbingView) -> str:
    brought = peer = _UNKNOWN
    if view.brought_bytes_per_s is not None:
        count = f"the last {view.recoveries}" if view.recoveries > 1 else "the last one"
        brought = f"{format_rate(view.brought_bytes_per_s)}, the fastest of {count}"
    if view.peer_bytes_per_s is not None:
        peer = f"{format_rate(view.peer_bytes_per_s)}, {printable(view.peer)}"
    return f"recoveries brought {brought}; the fastest peer delivers {peer}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        WIDTH,
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _duration(duration_s: float | None) -> str:
    if duration_s is None:
        return _UNKNOWN
    return format_duration(duration_s) if duration_s >= _SHOWN_S_MIN else f"<{_SHOWN_S_MIN}s"


def _hashed(version: WorkloadVersionRow) -> str:
    if version.is_published or version.brought_s is not None:
        return _duration(version.hashed_s)
    return "not published"


def _age(age_s: float | None) -> str:
    return _UNKNOWN if age_s is None else f"{format_age(age_s)} ago"


def _size(size_bytes: int | None) -> str:
    return _UNKNOWN if size_bytes is None else format_size(size_bytes)


def _share(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.0%}"
