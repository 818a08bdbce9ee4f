"""What crosses the control socket about versions that somebody waits for."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ckptd.control.messages.recovery_results import RecoveryResult, exit_code_of
from ckptd.errors import ExitCode
from ckptd.model.words import Result, Stage


class WaitRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say when something of a checkpoint, or of a job, is placed on this node.

    Attributes:
        checkpoint: Of which checkpoint or job.
        version: Which version; ``None``: the one that is being recovered here, or else the newest
            that stands here and is not withdrawn.
        goal: ``phase=NAME``: the required units of that phase and of those before it; ``critical``:
            the critical units; ``complete``: all required ones; ``newest``: all required ones of
            the newest version that can be had.
        shards: Of a job: which shards, as ``recover`` has it; empty: those that the recovery is
            for, or else those that are this node's.
        recovery: What the same wait saw under way before its stream ended; its end counts then.
        through_failures: A recovery that fails does not end the wait: another one may begin.
    """

    checkpoint: str
    version: int | None = None
    goal: str = "complete"
    shards: str = ""
    recovery: str = ""
    through_failures: bool = False


class WaitProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """It is not there yet.

    Attributes:
        waiting_for: What has to happen next, as a part of a sentence; it changes with that alone.
        detail: How far that is, or why it does not go on; empty if there is nothing to say.
        version: The version that is waited for, once that is known.
        recovery: Who brings it; ``None``: nobody does.
        stage: How far that is.
        bytes_left: What is missing of it, once that is known.
        eta_s: Seconds until it is complete; ``None`` if not known.
    """

    waiting_for: str
    detail: str = ""
    version: int | None = None
    recovery: str | None = None
    stage: Stage | None = None
    bytes_left: int | None = None
    eta_s: float | None = None


class WaitResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """It is there, or does not come.

    Attributes:
        checkpoint: Of which checkpoint or job.
        goal: What was waited for.
        is_reached: It is there.
        version: Which version; ``None``: none was known.
        digest: Digest of its manifest; empty: it is of a job, or not known.
        directory: Where it stands; empty if it does not, or if the shards of a job stand apart.
        why: Why it does not come, as a sentence; empty if it is there.
        ended: The recovery that ended without it.
        waited_s: For how long this request was answered.
    """

    checkpoint: str
    goal: str
    is_reached: bool
    version: int | None
    digest: str = ""
    directory: str = ""
    why: str = ""
    ended: RecoveryResult | None = None
    waited_s: float = 0.0


WaitEvent: TypeAlias = WaitProgress | WaitResult


def exit_code_of_wait(result: WaitResult) -> ExitCode:
    """Return what a command that waited ends with."""
    if result.is_reached:
        return ExitCode.DONE
    if result.ended is None:
        return ExitCode.MISSING
    if result.ended.result is Result.CHOSEN:
        return ExitCode.PARTIAL
    return exit_code_of(result.ended)
