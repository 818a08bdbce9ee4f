"""What crosses the control socket about units that somebody waits for."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class PrioritizeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let some units of a recovery go before all others.

    Attributes:
        pattern: Pattern of the paths, as for publishing: ``*`` matches ``/`` too.
    """

    pattern: str


class Prioritized(msgspec.Struct, frozen=True, kw_only=True):
    """Which units go first now.

    Attributes:
        recovery: Id of the recovery.
        units: How many match.
        units_here: How many of them were verified already.
        bytes: Length of those that match.
        bytes_here: How much of that was verified already.
    """

    recovery: str
    units: int
    units_here: int
    bytes: int
    bytes_here: int


class NeedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let one unit go before all others, and say when it can be read.

    Attributes:
        path: The absolute path that the file will have, or the path of a unit, which only one
            running recovery may have.
        with_descriptor: A descriptor of the file shall come with the result, as ``SCM_RIGHTS``.
    """

    path: str
    with_descriptor: bool = False


class NeedProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a unit is.

    Attributes:
        recovery: Id of the recovery that fetches it; ``None`` if it was here before.
        unit: Path of the unit in the version.
        is_prioritized: It goes first; ``False`` until the manifest is here.
        bytes_total: Its length; 0 until the manifest is here.
        bytes_here: How much of it is verified, durable and in the journal.
        waiting_for: Why the recovery makes no progress; empty if it does.
    """

    recovery: str | None
    unit: str
    is_prioritized: bool = msgspec.field(name="is_raised")
    bytes_total: int
    bytes_here: int
    waiting_for: str


class NeedResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A unit can be read.

    Attributes:
        recovery: Id of the recovery that fetched it; ``None`` if it was here before.
        unit: Path of the unit in the version.
        path: Where its verified bytes are now. Only for reading.
        is_placed: It has its final path. Otherwise it is in staging: it moves when the version is
            complete, and is removed if the recovery is cancelled.
        has_descriptor: With this message comes one descriptor, open for reading only, of a file
            that was hashed just before and is what was published.
    """

    recovery: str | None
    unit: str
    path: str
    is_placed: bool
    has_descriptor: bool = False


NeedEvent: TypeAlias = NeedProgress | NeedResult
