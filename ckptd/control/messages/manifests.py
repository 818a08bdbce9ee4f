"""What a version consists of, and what is said of its units."""

from __future__ import annotations

from typing import Final

import msgspec

from ckptd.control.messages.chains import ChainView

UNITS_IN_ANSWER_MAX: Final = 1000
"""Units that are listed one by one in one answer, or in one message of a stream."""


class PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of a version: units that are useful together.

    Attributes:
        name: Its name; ``all`` if the publisher named none.
        units: How many units.
        bytes: Their length together.
        critical_bytes: That of the critical ones.
    """

    name: str
    units: int
    bytes: int
    critical_bytes: int


class FoldRow(msgspec.Struct, frozen=True, kw_only=True):
    """Units of which the same is said.

    Attributes:
        paths: In short: a path, a pattern, or the first and the last one.
        units: How many units.
        bytes: Their length together.
        phase: The name of their phase.
        criticality: How urgent they are within it.
        is_optional: A version is complete without them.
        after: Units that are visible before them, the first three.
        after_units: How many these are.
        rule: Which rules say so; ``default`` if none does, empty if that is not known.
        lifted_before: The unit that comes after them, for which they are more urgent than the rules
            say, or required; empty if they are not.
    """

    paths: str
    units: int
    bytes: int
    phase: str
    criticality: str
    is_optional: bool
    after: tuple[str, ...] = ()
    after_units: int = 0
    rule: str = ""
    lifted_before: str = ""


class UnitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of a version.

    Attributes:
        path: Relative to the version's directory.
        bytes: Its length.
        phase: The name of its phase.
        criticality: How urgent it is within it.
        is_optional: A version is complete without it.
        is_executable: Its owner may execute it; not known before it is published.
        after: Units that are visible before it.
        digest: BLAKE3 of its content; empty before it is published.
        rule: Which rules say so; empty once it is published.
        lifted_before: As of :class:`FoldRow`.
        dtype: Of which type its elements are: ``BF16``, or ``BF16 F32@1048576`` where others begin
            at that byte, ``-`` for those that are not known; empty: its publisher said nothing.
    """

    path: str
    bytes: int
    phase: str
    criticality: str
    is_optional: bool
    is_executable: bool = False
    after: tuple[str, ...] = ()
    digest: str = ""
    rule: str = ""
    lifted_before: str = ""
    dtype: str = ""


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """What ckptd makes of the format of a version.

    Attributes:
        format: Which one, for people.
        is_counted: It counts where no rule says otherwise; else it is only shown.
        phases: What it would make of the version; empty if that cannot be, or if it counts.
        problem: Why it cannot be.
    """

    format: str
    is_counted: bool
    phases: tuple[PhaseRow, ...] = ()
    problem: str = ""


class SaidOfUnits(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the units of a version that is not published yet.

    Attributes:
        phases: In order.
        folds: The same for several units in one row, in urgency order, at most 64.
        left_out: Units that are in none of these rows.
        idle_rules: Rules that somebody wrote and that count for no unit: they match none, or others
            before them say the same things.
        proposal: What is recognised; ``None``: no format.
    """

    phases: tuple[PhaseRow, ...]
    folds: tuple[FoldRow, ...]
    left_out: int = 0
    idle_rules: tuple[str, ...] = ()
    proposal: ProposalView | None = None


class ManifestRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask what a version consists of.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version; ``None``: the newest one that is known.
        digest: Which content, if several go by that name; may be its beginning.
        units: Patterns of paths: such units are listed one by one.
        start: How many of them are left out, because they are in an earlier answer.
    """

    checkpoint: str
    version: int | None = None
    digest: str | None = None
    units: tuple[str, ...] = ()
    start: int = 0


class ManifestView(msgspec.Struct, frozen=True, kw_only=True):
    """What a version consists of.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Its identity.
        is_here: It stands here, all or some of it.
        bytes: Its length.
        units: How many units.
        phases: In order.
        folds: As of :class:`SaidOfUnits`; no rules are known.
        left_out: Units that are in none of these rows.
        links: How many symbolic links are kept as links.
        empty_directories: How many empty directories are part of it.
        listed: Of the units that were asked for, at most 1000, in urgency order.
        listed_total: How many there are.
        next_start: With which ``start`` to ask for more; ``None`` if there are no more.
        chain: What it stands on; ``None``: it is no delta.
        made_of: Of a materialised copy the delta version that it was made of; empty: it is none.
    """

    checkpoint: str
    version: int
    digest: str
    is_here: bool
    bytes: int
    units: int
    phases: tuple[PhaseRow, ...]
    folds: tuple[FoldRow, ...]
    left_out: int = 0
    links: int = 0
    empty_directories: int = 0
    listed: tuple[UnitRow, ...] = ()
    listed_total: int = 0
    next_start: int | None = None
    chain: ChainView | None = None
    made_of: str = ""
