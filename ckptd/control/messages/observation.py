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
    """From where to read, and whether to go on.

    Attributes:
        since: Id of the last entry the reader has; 0 for the oldest that is kept.
        follow: Go on with what comes; otherwise the stream ends with the newest.
    """

    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    follow: bool = False


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="event"):
    """Something that happened.

    Attributes:
        id: Grows by one with each; begins with 1 when the daemon starts.
        at_s: Unix time.
        level: How important it is.
        event: Its stable name, e.g. ``recovery.ended``.
        facts: What belongs to it.
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
    """So many entries are gone: the reader was too slow, or asked for what is not kept."""

    count: int


class Idle(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="idle"):
    """The reader has everything up to and with this id."""

    last_id: int


class LevelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write lines from another level on.

    Attributes:
        level: Which.
        for_s: For how long; then it is what the configuration says. ``None``: until the daemon
            stops or somebody changes it again.
    """

    level: LogLevel
    for_s: Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)] | None = None


class LevelView(msgspec.Struct, frozen=True, kw_only=True):
    """The level of the log.

    Attributes:
        level: What is written now.
        configured: What the configuration says.
        left_s: For how long it differs; ``None``: it does not, or for good.
    """

    level: LogLevel
    configured: LogLevel
    left_s: float | None = None


class CheckRow(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="check"):
    """One thing that was looked at.

    Attributes:
        check: What kind of check, e.g. ``disk``.
        subject: What was looked at, e.g. ``root main``.
        verdict: How it is.
        finding: What was found, as a sentence without a full stop.
        remedy: What to do; empty if nothing is.
    """

    check: str
    subject: str
    verdict: CheckResult
    finding: str
    remedy: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """How many checks ended how."""

    ok: int
    warn: int
    fail: int


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the daemon can be relied on.

    Attributes:
        is_ready: It serves peers and takes requests.
        obstacle: Why it does not; empty if it does.
        components: What it consists of, and what is to be said of each; empty if all is well.
            A finding here does not make it unready: a full disk is no reason to kill it.
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
