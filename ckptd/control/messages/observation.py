"""What crosses the control socket when somebody watches the daemon itself.

Events and log lines come as a stream, one message a line: what happened, in order, ids growing
by one; a ``lost`` in place of what a slow reader missed; an ``idle`` when there is nothing new,
so that silence is not taken for death.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from ckptd.errors import ExitCode
from ckptd.model.words import CheckResult

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


class FollowQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to begin reading, and whether to wait for more.

    Attributes:
        since: Id of the last entry that the reader has; 0 for the oldest that is kept.
        follow: Wait for new entries; otherwise the stream ends with the newest.
    """

    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    follow: bool = False


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="event"):
    """Something that happened.

    Attributes:
        id: One more than that of the event before; the first is 1, when the daemon starts.
        at_s: Unix time.
        level: Level of the log line.
        event: Its stable name, e.g. ``recovery.ended``.
        facts: What is known about it, by name.
    """

    id: int
    at_s: float
    level: str
    event: str
    facts: dict[str, str | int | float | bool | None]


class LineRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="line"):
    """A line of the log, in logfmt; ``id`` as of an event."""

    id: int
    at_s: float
    level: str
    text: str


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="lost"):
    """Entries are missing: the reader was too slow, or asked for entries that are not kept."""

    count: int


class Idle(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="idle"):
    """There is nothing new: the reader has everything up to this id."""

    last_id: int


class LevelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change the level of the log.

    Attributes:
        level: The lowest level that is written.
        for_s: For how long; then the configured level applies again. ``None``: until the daemon
            stops or the level is changed again.
    """

    level: LogLevel
    for_s: Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)] | None = None


class LevelView(msgspec.Struct, frozen=True, kw_only=True):
    """The level of the log.

    Attributes:
        level: The level in use.
        configured: The level in the configuration.
        left_s: How long they will differ; ``None``: they do not differ, or without a limit.
    """

    level: LogLevel
    configured: LogLevel
    left_s: float | None = None


class CheckRow(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="check"):
    """One thing that was checked.

    Attributes:
        check: What kind of check, e.g. ``disk``.
        subject: What was checked, e.g. ``root main``.
        verdict: The result.
        finding: What was found, as a sentence without a full stop.
        remedy: What to do; empty if there is nothing to do.
    """

    check: str
    subject: str
    verdict: CheckResult
    finding: str
    remedy: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """The number of checks by result."""

    ok: int
    warn: int
    fail: int


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the daemon can be relied on.

    Attributes:
        is_ready: It serves peers and accepts requests.
        obstacle: Why it is not ready; empty if it is.
        components: Its parts, and what is wrong with each; empty if nothing is. A problem here does
            not make it unready: a full disk is no reason to kill it.
    """

    is_ready: bool
    obstacle: str
    components: dict[str, str]


EventMessage: TypeAlias = EventRecord | Lost | Idle
LineMessage: TypeAlias = LineRecord | Lost | Idle
DoctorMessage: TypeAlias = CheckRow | Diagnosis


def exit_code_of_diagnosis(diagnosis: Diagnosis) -> ExitCode:
    """Return what ``ckptctl doctor`` ends with."""
    return ExitCode.FAILED if diagnosis.fail else ExitCode.DONE
