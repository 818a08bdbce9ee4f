"""The life of a version on this node, as a table: what it can be, and what leads to what.

Who changes that asks here whether it may. The drawing in docs/operating.md is made of the table:
``make manual`` writes it again.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Life(enum.StrEnum):
    """What a version is at one place of this node, in the order in which it comes to be that.

    What is placed may lack units, by choice or not, and may be suspect: the catalog knows.
    """

    ABSENT = "absent"
    """Nothing of it is known here; forgotten files may stand there."""
    STAGED = "staged"
    """A recovery brings it; nothing of it is visible."""
    BEGUN = "in part"
    """A recovery brings it, and what is visible already is whole phases."""
    PLACED = "placed"
    """It stands there under its final name, and is in the catalog."""
    ACTIVE = "active"
    """The link of its checkpoint leads there."""
    WITHDRAWN = "withdrawn"
    """It stands there, and an operator took it off offer."""


class LifeCause(enum.StrEnum):
    """What changes that, as the drawing says it."""

    RECOVER = "recover"
    CANCEL = "cancel, or it fails"
    PLACE_PHASE = "progressive: its first phase is whole"
    WITHDRAW_PHASES = "cancel; what somebody changed stays"
    LEAVE_PHASES = "it fails; what is placed stays"
    PLACE = "all that is wanted of it is whole"
    PUBLISH = "publish"
    ACTIVATE = "activate, recover --activate"
    DEACTIVATE = "activate of another one, activate --none"
    WITHDRAW = "withdraw"
    FORGET = "forget; the files stay"
    REMOVE = "remove, with its files"


class Change(NamedTuple):
    """A row of the table: what leads from where to where."""

    before: Life
    cause: LifeCause
    after: Life


CHANGES: Final = (
    Change(Life.ABSENT, LifeCause.RECOVER, Life.STAGED),
    Change(Life.STAGED, LifeCause.CANCEL, Life.ABSENT),
    Change(Life.STAGED, LifeCause.PLACE_PHASE, Life.BEGUN),
    Change(Life.BEGUN, LifeCause.WITHDRAW_PHASES, Life.ABSENT),
    Change(Life.BEGUN, LifeCause.LEAVE_PHASES, Life.PLACED),
    Change(Life.STAGED, LifeCause.PLACE, Life.PLACED),
    Change(Life.BEGUN, LifeCause.PLACE, Life.PLACED),
    Change(Life.ABSENT, LifeCause.PUBLISH, Life.PLACED),
    Change(Life.PLACED, LifeCause.ACTIVATE, Life.ACTIVE),
    Change(Life.ACTIVE, LifeCause.DEACTIVATE, Life.PLACED),
    Change(Life.PLACED, LifeCause.WITHDRAW, Life.WITHDRAWN),
    Change(Life.WITHDRAWN, LifeCause.PUBLISH, Life.PLACED),
    Change(Life.PLACED, LifeCause.FORGET, Life.ABSENT),
    Change(Life.WITHDRAWN, LifeCause.FORGET, Life.ABSENT),
    Change(Life.PLACED, LifeCause.REMOVE, Life.ABSENT),
    Change(Life.WITHDRAWN, LifeCause.REMOVE, Life.ABSENT),
)
"""All there are. What is active is let go by nothing but :attr:`LifeCause.DEACTIVATE`."""


def life_at_place(*, is_active: bool, is_withdrawn: bool) -> Life:
    """Return what a version is that the catalog knows at a place.

    Args:
        is_active: A link leads there, or is about to.
        is_withdrawn: It is off offer.
    """
    if is_active:
        return Life.ACTIVE  # also if it was withdrawn after all: nothing takes it away
    return Life.WITHDRAWN if is_withdrawn else Life.PLACED


def is_permitted(life: Life, cause: LifeCause) -> bool:
    """Return whether something may happen to a version that is this."""
    return any((change.before, change.cause) == (life, cause) for change in CHANGES)


def drawing() -> str:
    """Return the table as a drawing: a column for each of :class:`Life`, a row for each change."""
    columns: dict[Life, int] = {}
    header = ""
    for life in Life:
        header = header and f"{header}   "
        columns[life] = len(header) + len(life) // 2
        header += life.value
    lines = [header, *(_row(change, columns, len(header)) for change in CHANGES)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _row(change: Change, columns: dict[Life, int], width: int) -> str:
    cells = [" "] * width
    for column in columns.values():
        cells[column] = "│"
    start, end = columns[change.before], columns[change.after]
    for column in range(min(start, end) + 1, max(start, end)):
        cells[column] = "─"
    cells[start] = "├" if start < end else "┤"
    cells[end + (-1 if start < end else 1)] = "►" if start < end else "◄"
    return f"{''.join(cells)}   {change.cause.value}"
