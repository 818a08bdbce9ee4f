"""Values of the keys of ``[retention]``."""

from __future__ import annotations

from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import DAY_S, SECOND
from ckptd.model.quantities import parse_duration
from ckptd.model.retention import COPIES_MAX, NEWEST_MAX, FreeRoom, parse_free_room

SPAN_S_MIN: Final = 60
SPAN_S_MAX: Final = 3660 * DAY_S


def retention_interval(duration: str) -> int | None:
    """Read the span of time of which one version stays, in seconds; nothing stands for none.

    Raises:
        UsageError: No duration, or out of bounds.
    """
    if not duration:
        return None
    seconds = parse_duration(duration) // SECOND
    if not SPAN_S_MIN <= seconds <= SPAN_S_MAX:
        raise UsageError(f"{duration[:40]!r}", f"is not {SPAN_S_MIN} s to {SPAN_S_MAX // DAY_S} d")
    return seconds


def kept_newest(value: object) -> int | None:
    """Read how many of the newest versions stay; 0 stands for any number.

    Raises:
        UsageError: It is no number, or out of bounds.
    """
    return _count(value, 0, NEWEST_MAX) or None


def kept_copies(value: object) -> int:
    """Read how many other nodes must have a version before it goes from this one.

    Raises:
        UsageError: It is no number, or out of bounds.
    """
    return _count(value, 1, COPIES_MAX)


def _count(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError("", f"is not {least} to {most}")
    return value


def free_room(room: str) -> FreeRoom | None:
    """Read how much of a disk is to stay free; nothing stands for: that is not looked at.

    Raises:
        UsageError: No share, and no size.
    """
    return parse_free_room(room) if room else None
