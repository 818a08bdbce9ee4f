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
    """Let one unit, or a range of its bytes, go before all others, and say when it can be read.

    Attributes:
        path: The absolute path that the file will have; ``NAME:UNIT`` or ``NAME@VERSION:UNIT`` of a
            checkpoint that is being recovered or is here; or the path of a unit, which only one
            running recovery may have.
        with_descriptor: A descriptor of the file shall come with the result, as ``SCM_RIGHTS``.
        offset: First byte of a range of the unit; ``null``: the whole unit is needed.
        length: How many bytes of it; ``null``: up to its end.
        with_bytes: With ``offset``: the bytes of the range shall come in the answer.
        reader: Who reads, drawn by the client; where one reader goes on from one range to the next
            the bytes behind are fetched ahead. Empty: none are.
        digest: The unit has to have this digest; empty: whatever it has.
    """

    path: str
    with_descriptor: bool = False
    offset: int | None = None
    length: int | None = None
    with_bytes: bool = False
    reader: str = ""
    digest: str = ""


class NeedProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a unit is.

    Attributes:
        recovery: Id of the recovery that fetches it; ``None`` if it was here before.
        unit: Path of the unit in the version.
        is_prioritized: It goes first; ``False`` until the manifest is here.
        bytes_total: Its length, or that of the range; 0 until the manifest is here.
        bytes_here: How much of it is verified, durable and in the journal; of a range: that is here
            and verified, or was sent.
        waiting_for: Why the recovery makes no progress; empty if it does.
    """

    recovery: str | None
    unit: str
    is_prioritized: bool = msgspec.field(name="is_raised")
    bytes_total: int
    bytes_here: int
    waiting_for: str


class NeedBytes(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="bytes"):
    """Bytes of a range, which follow the end of this line: as many as it says, then the next line.

    They were compared with the digests of their blocks when they were read.

    Attributes:
        offset: Where they begin in the unit; where those before them ended.
        size_bytes: How many they are, at least one.
    """

    offset: int
    size_bytes: int


class NeedResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A unit, or a range of it, can be read.

    Attributes:
        recovery: Id of the recovery that fetched it; ``None`` if it was here before.
        unit: Path of the unit in the version.
        path: Where its verified bytes are now. Only for reading. Empty for a range of a unit that
            is not here as a whole: nobody could tell its bytes from what is missing.
        is_placed: It has its final path. Otherwise it is in staging: it moves when the version is
            complete, and is removed if the recovery is cancelled.
        has_descriptor: With this message comes one descriptor, open for reading only, of a file
            that was hashed just before and is what was published.
        stands_at: Of a range: where the file stands, or will.
        unit_bytes: Of a range: the length of the unit.
        digest: Of a range: the digest of the unit.
    """

    recovery: str | None
    unit: str
    path: str
    is_placed: bool
    has_descriptor: bool = False
    stands_at: str | None = None
    unit_bytes: int | None = None
    digest: str | None = None


NeedEvent: TypeAlias = NeedProgress | NeedBytes | NeedResult
