"""The stream of a recovery that is watched: how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from ckptd.control.messages.milestone_rows import PhaseRow
from ckptd.control.messages.rivals import RivalRow
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import ExitCode
from ckptd.model.words import FailureCause, Result


class RecoveryProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a recovery is."""

    view: RecoveryView


class RecoveryMilestone(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="milestone"
):
    """Something of it is here; said once, to who begins to watch later at the beginning.

    Attributes:
        recovery: Id of the recovery.
        event: ``phase.complete``: all that is wanted of a phase is durable; ``phase.placed``: it
            stands under its final names; ``critical.complete``: all critical units are durable. The
            events of ``ckptctl events``.
        after_s: Seconds from the request until then.
        phase: Name of the phase; empty if it is about none. Of a version with one nothing is said.
    """

    recovery: str
    event: str
    after_s: float
    phase: str = ""


class SourceShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one source delivered.

    Attributes:
        node: Its node id.
        bytes: Verified bytes.
    """

    node: str
    bytes: int


class RecoveryResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """How a recovery ended.

    Attributes:
        recovery: Its id.
        checkpoint: What it recovered.
        version: Which version; ``None`` if none was chosen.
        digest: Digest of its manifest.
        result: How it ended.
        is_degraded: Required units are missing in what was placed: ``result`` says ``partial``.
            Deprecated.
        missing_units: Paths of the missing units; at most 20. If it is complete: optional ones.
        cause: What made it fail.
        message: The cause as a sentence for a person; empty if it did not fail.
        target: The version's directory.
        bytes_total: Bytes of what was wanted of the version.
        bytes_received: Body bytes from sources, including wasted ones.
        bytes_resumed: Bytes that an earlier run or an earlier daemon had verified.
        bytes_local: Bytes that need not travel: zeros, those at the target, and those that were
            copied from elsewhere on this node.
        bytes_reused: The latter alone.
        bytes_kept_warm: How much of it was not dropped from the page cache, within
            ``[recovery] keep_warm``; the kernel may evict it all the same.
        was_here: The version stood at the target, and nothing had to be done.
        bytes_wasted: Received but not used: duplicates and blocks with a wrong digest.
        duration_s: From the request to the end.
        time_to_critical_s: Until every critical unit was verified; ``None`` if that did not happen
            or there are none.
        sources: How much each source delivered.
        predicted_duration_s: Prediction of ``duration_s`` when transferring began; ``None``: the
            rates of the sources were not known.
        predicted_critical_s: Prediction of ``time_to_critical_s`` at that time.
        wasted: ``bytes_wasted`` by reason.
        happenings: How many events of each kind happened; ``ckptctl explain`` shows them.
        rivals: With the cause ``conflict``: the contents to choose from.
        bytes_placed: How much of that is in its directory: all units that are not missing.
        followed_by: The recovery that brings the rest of the version; ``None``: none does.
        link: The link that leads to it since, if that was asked for; empty if none does.
        link_problem: Why it does not although that was asked for, as a sentence for a person.
        first_unit_after_s: From the request until the first unit was durable; ``None``: none is, or
            none has bytes. The times are those of this recovery, over restarts.
        critical_after_s: Until all critical units were durable; ``None``: they are not, or there
            are none.
        usable_after_s: Until the first phase stood under its final names, which is how long a job
            that needs no more had to wait; ``None``: it does not.
        complete_after_s: Until the version was complete; ``None``: it is not.
        phases: Its phases of which something is wanted, in order.
    """

    recovery: str
    checkpoint: str
    version: int | None
    digest: str | None
    result: Result
    is_degraded: bool
    missing_units: tuple[str, ...]
    cause: FailureCause | None
    message: str
    target: str
    bytes_total: int
    bytes_received: int
    bytes_resumed: int
    bytes_wasted: int
    duration_s: float
    time_to_critical_s: float | None
    sources: tuple[SourceShare, ...]
    predicted_duration_s: float | None = None
    predicted_critical_s: float | None = None
    wasted: dict[str, int] = {}
    happenings: dict[str, int] = {}
    bytes_local: int = 0
    bytes_reused: int = 0
    bytes_kept_warm: int = 0
    was_here: bool = False
    rivals: tuple[RivalRow, ...] = ()
    bytes_placed: int = 0
    followed_by: str | None = None
    link: str = ""
    link_problem: str = ""
    first_unit_after_s: float | None = None
    critical_after_s: float | None = None
    usable_after_s: float | None = None
    complete_after_s: float | None = None
    phases: tuple[PhaseRow, ...] = ()


WatchEvent: TypeAlias = RecoveryProgress | RecoveryMilestone | RecoveryResult


_EXIT_CODES: dict[FailureCause | None, ExitCode] = {
    FailureCause.STORE: ExitCode.FAILED,
    FailureCause.UNKNOWN: ExitCode.MISSING,
    FailureCause.CRITICAL_MISSING: ExitCode.MISSING,
    FailureCause.REQUIRED_MISSING: ExitCode.MISSING,
    FailureCause.VERIFICATION: ExitCode.VERIFICATION,
    FailureCause.CONFLICT: ExitCode.CONFLICT,
    None: ExitCode.FAILED,
}


def exit_code_of(result: RecoveryResult) -> ExitCode:
    """Return what a command that waited for a recovery ends with."""
    match result.result:
        case Result.COMPLETE | Result.CHOSEN:
            return ExitCode.FAILED if result.link_problem else ExitCode.DONE
        case Result.PARTIAL:
            return ExitCode.PARTIAL
        case Result.FAILED:
            return _EXIT_CODES[result.cause]
        case Result.CANCELLED:
            return ExitCode.FAILED


_BEST_FIRST: Final = (
    ExitCode.DONE,
    ExitCode.PARTIAL,
    ExitCode.MISSING,
    ExitCode.FAILED,
    ExitCode.CONFLICT,
    ExitCode.VERIFICATION,
)
"""How recoveries end a command, from the one that needs nobody to the one that needs care most."""


def exit_code_of_all(results: Iterable[RecoveryResult]) -> ExitCode:
    """Return what a command that waited for several recoveries ends with: as the worst of them."""
    return max(map(exit_code_of, results), key=_BEST_FIRST.index)
