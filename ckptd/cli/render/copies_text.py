"""Copies and what is short of them, as text for people: the sum first, then what is not as asked.

What is whole is one number unless a checkpoint is named or everything is asked for: a thousand
names fit a screen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from ckptd.cli.render.text import printable, reference, table, wrapped_to
from ckptd.control.messages.copies import (
    CopiedVersion,
    CopiesView,
    CopyCount,
    CopyHolder,
    CopyMember,
)
from ckptd.model.quantities import format_duration, format_size
from ckptd.model.words import CopiesState, GivenBackBecause

_COLUMNS: Final = ("VERSION", "CLASS", "COPIES", "CLAIMED", "ZONES", "STATE")
_LINES_OF_ROWS_MAX: Final = 10
"""With the lines around them they fit in 24."""
_REASONS_SHOWN_MAX: Final = 3
_MEMBERS_NAMED_MAX: Final = 4
_OLD_S: Final = 30.0
"""What was seen so long ago is said to be: it is looked at every few seconds."""
_STATE_SHOWN: Final = (
    CopiesState.WHOLE,
    CopiesState.UNPROVEN,
    CopiesState.TOO_CLOSE,
    CopiesState.UNDER_REPLICATED,
)


def copies_lines(
    view: CopiesView, width: int | None = None, *, is_all: bool = False, is_wide: bool = False
) -> list[str]:
    """Show copies.

    Args:
        view: What the daemon says.
        width: Of the terminal; ``None``: lines are not cut.
        is_all: Versions that are as asked are shown as well, and each row that there is.
        is_wide: With who holds what; no line is cut then.
    """
    width = None if is_wide else width
    if not view.names:
        return ["no copies are kept here: [copies] names nothing"]
    lines = [line for fact in _facts(view) for line in wrapped_to(fact, width)]
    shown = [
        (version, count)
        for version in view.versions
        for count in version.counts
        if is_all or count.state is not CopiesState.WHOLE
    ]
    if is_wide:
        return [*lines, *_wide_table(shown), *_rest(view, 0, is_all=is_all)]
    header, *cells = _table(shown, width)
    rows = _rows(cells, shown, width)
    fitting = len(rows) if is_all else _fitting(rows)
    if fitting < len(rows):
        lines += [line for fact in _reasons(shown) for line in wrapped_to(fact, width)]
    if rows:
        lines += ["", header, *(line for row in rows[:fitting] for line in row)]
    return lines + list(_rest(view, len(rows) - fitting, is_all=is_all))


def _wide_table(shown: Sequence[tuple[CopiedVersion, CopyCount]]) -> list[str]:
    if not shown:
        return []
    cells = [
        (
            *_cells(version, count),
            "; ".join(filter(None, (_why(version, count), _doing(version, count)))),
            _holders(version, count),
        )
        for version, count in shown
    ]
    return ["", *table((*_COLUMNS, "WHY", "HELD BY"), cells)]


def _table(shown: Sequence[tuple[CopiedVersion, CopyCount]], width: int | None) -> list[str]:
    cells = [_cells(*row) for row in shown]
    return table(
        _COLUMNS,
        cells,
        width,
        whole=("CLASS", "COPIES", "CLAIMED", "STATE"),
        left_out=("CLAIMED", "ZONES"),
    )


def _rows(
    cells: Sequence[str], shown: Sequence[tuple[CopiedVersion, CopyCount]], width: int | None
) -> list[list[str]]:
    """Return the lines of each row: below it why it is short, unless the row above says so."""
    rows, before = [], ("", 0, "")
    for line, (version, count) in zip(cells, shown, strict=True):
        why = (version.checkpoint, version.version, _why(version, count))
        rows.append([line, *(wrapped_to(f"  {why[2]}", width) if why[2] and why != before else [])])
        before = why
    return rows


def _why(version: CopiedVersion, count: CopyCount) -> str:
    """Say why a class is short, and what went wrong here."""
    is_fetched = version.given_back_because is None
    here = f"here: {version.trouble}" if version.trouble and count.why and is_fetched else ""
    return printable("; ".join(filter(None, (count.why, here))))


def _doing(version: CopiedVersion, count: CopyCount) -> str:
    """Say once for each version what this node does about it."""
    if count is not version.counts[0]:
        return ""
    trouble = f", not yet: {printable(version.trouble)}" if version.trouble else ""
    match version.given_back_because:
        case GivenBackBecause.SURPLUS:
            return f"too many, so that here goes{trouble}"
        case GivenBackBecause.OLD:
            return f"old, so that here goes{trouble}"
        case None:
            return "is fetched here" if version.fetched_because is not None else ""


def _fitting(rows: Sequence[list[str]]) -> int:
    """Return how many of some rows fit on a screen."""
    sums = accumulate(len(row) for row in rows)
    return sum(lines <= _LINES_OF_ROWS_MAX for lines in sums)


def _reasons(shown: Sequence[tuple[CopiedVersion, CopyCount]]) -> Iterator[str]:
    """Say what is the matter most often: of a thousand rows few are seen."""
    reasons = Counter(printable(count.why) for _, count in shown if count.why)
    for why, number in reasons.most_common(_REASONS_SHOWN_MAX):
        yield f"  {number} times: {why}"


def _facts(view: CopiesView) -> Iterator[str]:
    numbers = (view.whole, view.unproven, view.too_close, view.under_replicated)
    count = sum(numbers)
    if view.age_s is None:
        yield "nothing was looked at yet: how many copies there are is not known"
    elif not count:
        yield "no version of what [copies] names is known"
    else:
        by_state = ", ".join(
            f"{number} {state}"
            for state, number in zip(_STATE_SHOWN, numbers, strict=True)
            if number or state is CopiesState.WHOLE
        )
        yield f"{_number(count, 'version')} of {_number(view.checkpoints, 'name')}: {by_state}"
    if view.age_s is not None and not view.is_settled:
        yield "not every peer was heard yet since the start: more copies may be there than are said"
    if view.obstacle:
        yield f"nothing is decided: {printable(view.obstacle)}"
    if view.conflicts:
        named = ", ".join(map(printable, view.conflicts[:_MEMBERS_NAMED_MAX]))
        more = len(view.conflicts) - _MEMBERS_NAMED_MAX
        yield (
            f"{_number(len(view.conflicts), 'version')} with several contents, so not copied: "
            f"{named}{f' and {more} more' if more > 0 else ''}"
        )
    if view.age_s is not None and view.age_s > _OLD_S:
        yield f"as it was seen {format_duration(view.age_s)} ago"
    room = format_size(view.used_bytes)
    if view.quota_bytes is not None:
        room += f" of {format_size(view.quota_bytes)}"
    saved = f", {format_size(view.saved_bytes)} less for being compressed"
    full = "; this node is full and takes no more" if view.is_full else ""
    where = f"{printable(view.root or '-')}{saved if view.saved_bytes else ''}"
    yield f"copies here: {room} in root {where}{full}"
    yield from _members(view)


def _members(view: CopiesView) -> Iterator[str]:
    members = view.members
    zones = {each.zone for each in members if each.zone}
    unknown = [each for each in members if not each.zone]
    keep = "1 node keeps" if len(members) == 1 else f"{len(members)} nodes keep"
    silent = [each for each in members if not each.is_live]
    facts = [f"{keep} copies", *([f"silent: {_silent(silent)}"] if silent else [])]
    for words, found in (
        ("full", [each for each in members if each.is_full]),
        ("blamed", [each for each in members if each.is_blamed]),
    ):
        if found:
            facts.append(f"{words}: {_named(found)}")
    own = (
        f"this node is in {printable(view.zone)}" if view.zone else "this node's zone is not known"
    )
    if not members:  # who keeps copies is asked by what there is
        yield own
        return
    yield "; ".join(facts)
    known = f"{_number(len(zones), 'zone')}; {own}"
    yield known + (f"; zone not known of {_named(unknown)}" if unknown and zones else "")


def _named(members: Sequence[CopyMember]) -> str:
    names = [printable(each.node) for each in members[:_MEMBERS_NAMED_MAX]]
    more = len(members) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _silent(members: Sequence[CopyMember]) -> str:
    """Name who does not answer, and say for how long the first one has not."""
    known = [each.lost_s for each in members if each.lost_s is not None]
    return _named(members) + (f" (for {format_duration(max(known))})" if known else "")


def _cells(version: CopiedVersion, count: CopyCount) -> tuple[str, ...]:
    return (
        reference(version.checkpoint, version.version),
        count.criticality,
        f"{count.proven} of {count.asked}",
        str(count.claimed),
        _zones(count),
        count.state.value,
    )


def _zones(count: CopyCount) -> str:
    """Say in how many zones copies are; what is not known is not guessed."""
    if not count.unknown_zones:
        return str(count.zones)
    return f"{count.zones}+?" if count.zones else "?"


def _holders(version: CopiedVersion, count: CopyCount) -> str:
    """Name who has the units of a class, and what else is known of them."""
    order = {each.criticality: index for index, each in enumerate(version.counts)}
    named = [
        _holder(each)
        for each in version.holders
        if each.least is not None and order.get(each.least, len(order)) >= order[count.criticality]
    ]
    return ", ".join(named) or "-"


def _holder(holder: CopyHolder) -> str:
    facts = [holder.zone] if holder.zone else ["zone?"]
    if not holder.is_live:
        facts.append("silent")
    elif not holder.is_proven:
        facts.append("not proven")
    return f"{holder.node} ({', '.join(facts)})"


def _rest(view: CopiesView, cut: int, *, is_all: bool) -> Iterator[str]:
    if cut or view.left_out:
        yield f"{cut + view.left_out} more rows: 'ckptctl copies -o json', or name a checkpoint"
    elif view.whole and not is_all:
        yield "'ckptctl copies -o wide' shows what is whole as well, and who holds what"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
