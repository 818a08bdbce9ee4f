"""Log lines: to stderr, one line for each change of state, in the form the reader wants.

Names of events are listed in :mod:`ckptd.observe.event_names`, which also bounds how many lines of
one name are written. The last lines and the last events stay in memory for ``ckptctl``.

A line is an event with a stable dotted name (``recovery.started``) and facts about it
(``recovery=…``, ``source=…``). Facts may come from peers, so whatever is not printable is
escaped and long values are cut: nobody writes a second line, or a terminal's escape codes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from ckptd.observe.event_names import Suppression
from ckptd.observe.ring import Ring

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "logfmt", "json", "console"]
Logger: TypeAlias = FilteringBoundLogger

VALUE_CHARS_MAX: Final = 256
"""Room for any path worth reading, digest or reason."""

EXCEPTION_CHARS_MAX: Final = 16_384
"""A traceback is worth nothing when cut short; its end says most."""

EVENTS_KEPT: Final = 10_000
"""A day of a busy node; some MiB."""
LINES_KEPT: Final = 2_000
"""As much as anybody scrolls back."""

_OURS: Final = "ckptd."
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""From ``sd-daemon(3)``."""

_STAMP: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)
_LOGFMT: Final = structlog.processors.LogfmtRenderer(
    key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """Something that happened.

    Attributes:
        at_s: Unix time.
        level: How important it is.
        event: Its name.
        facts: What belongs to it; printable.
    """

    at_s: float
    level: str
    event: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """A line as it was written, in logfmt whatever the form of the log."""

    at_s: float
    level: str
    text: str


class Log:
    """The log of the process: its level, and its last lines and events.

    Attributes:
        lines: The last lines that were written.
        events: The last events from ``info`` on, whatever the level of the log.
    """

    def __init__(self, level: LogLevel) -> None:
        self.lines: Ring[LoggedLine] = Ring(LINES_KEPT)
        self.events: Ring[LoggedEvent] = Ring(EVENTS_KEPT)
        self._suppression = Suppression()
        self._level = level

    @property
    def level(self) -> LogLevel:
        """The least important lines that are written."""
        return self._level

    @property
    def suppressed(self) -> int:
        """How many lines were left out because there were too many of their name."""
        return self._suppression.total

    def set_level(self, level: LogLevel) -> None:
        """Write lines from another level on; loggers that exist follow."""
        self._level = level
        known = _LEVELS[level]
        # Events from ``info`` on are kept even if the log is quieter.
        wrapper = structlog.make_filtering_bound_logger(min(known, logging.INFO))
        structlog.configure(wrapper_class=wrapper)
        logging.getLogger(_OURS.rstrip(".")).setLevel(known)

    def suppress(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Drop a line that is one too many; say with the next one how many that were.

        Raises:
            DropEvent: It is one too many.
        """
        missing = self._suppression.admit(str(event["event"]), now_s=time.monotonic())
        if missing is None:
            raise structlog.DropEvent
        if missing:
            event["suppressed"] = missing
        return event

    def keep_event(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Keep an event, and drop it if the log is quieter than that.

        Raises:
            DropEvent: The log is quieter.
        """
        level = event["level"]
        if _LEVELS[level] >= logging.INFO:
            facts = {name: fact for name, fact in event.items() if name not in {"event", "level"}}
            now_s = time.time()
            self.events.append(LoggedEvent(now_s, level, str(event["event"]), facts))
        if _LEVELS[level] < _LEVELS[self._level]:
            raise structlog.DropEvent
        return event

    def keep_line(self, logger: object, method: str, event: EventDict) -> EventDict:
        """Keep a line."""
        stamped = _STAMP(logger, method, dict(event))
        text = str(_LOGFMT(logger, method, stamped))
        now_s = time.time()
        self.lines.append(LoggedLine(now_s, event["level"], text))
        return event


def configure(
    level: LogLevel,
    form: LogFormat,
    *,
    environ: Mapping[str, str],
    stream: TextIO | None = None,
    log: Log | None = None,
) -> Log:
    """Set up logging for the process; a second call replaces the first.

    ``auto`` is ``console`` on a terminal and ``logfmt`` elsewhere. Lines for the journal carry
    a priority and no time, which it notes by itself.

    Args:
        level: The least important lines that are written.
        form: What a line looks like.
        environ: ``JOURNAL_STREAM`` and ``NO_COLOR`` are read.
        stream: Where lines go; stderr if ``None``.
        log: Goes on with its lines and events; ``None`` begins a new one.
    """
    stream = sys.stderr if stream is None else stream
    is_terminal = stream.isatty()
    if form == "auto":
        form = "console" if is_terminal else "logfmt"
    render = _renderer(form, has_colours=is_terminal and not environ.get("NO_COLOR"))
    ending: list[Processor] = [_STAMP, render]
    if _is_journal(stream, environ):
        ending = [_with_priority(render)]
    log = Log(level) if log is None else log
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            log.suppress,
            structlog.processors.format_exc_info,
            _make_printable,
            log.keep_event,
            log.keep_line,
            *ending,
        ],
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _LossyStream(stream))),
        cache_logger_on_first_use=False,  # loggers of modules follow a second call
    )
    logging.basicConfig(handlers=[_StandardHandler()], level=logging.WARNING, force=True)
    log.set_level(level)
    return log


def get_logger(**facts: object) -> Logger:
    """Return a logger; ``facts`` stand on each of its lines."""
    return cast(Logger, structlog.get_logger(**facts))


class _LossyStream:
    """Drops a line that cannot be written: a full disk under the log must not stop a recovery."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _StandardHandler(logging.Handler):
    """Turns records of the standard library's logging into lines of ours.

    They come from libraries, and from those of our modules that know nothing of this one: the
    event is then the module (``net.lane.lane``) and the text a fact.
    """

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = record.name.startswith(_OURS)
        event = record.name.removeprefix(_OURS) if is_ours else "library.complained"
        facts = {} if is_ours else {"library": record.name}
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        log = get_logger(**facts)
        log.log(level, event, message=record.getMessage(), exc_info=record.exc_info)


def _renderer(form: LogFormat, *, has_colours: bool) -> Processor:
    match form:
        case "json":
            return structlog.processors.JSONRenderer()
        case "console":
            return structlog.dev.ConsoleRenderer(
                colors=has_colours, exception_formatter=structlog.dev.plain_traceback
            )
        case _:
            return _LOGFMT


def _with_priority(render: Processor) -> Processor:
    def renderer(logger: object, method: str, event: EventDict) -> str:
        priority = _PRIORITIES[event["level"]]
        line = render(logger, method, event)
        assert isinstance(line, str)
        return f"<{priority}>{line}"

    return renderer


def _make_printable(_logger: object, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if name == "exception":
            text = "\n".join(map(_escape, str(value).split("\n")))
            event[name] = text[-EXCEPTION_CHARS_MAX:]
        elif not isinstance(value, bool | int | float | None):
            text = _escape(str(value))
            is_long = len(text) > VALUE_CHARS_MAX
            event[name] = text[: VALUE_CHARS_MAX - 1] + "…" if is_long else text
    return event


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether the stream is the one that systemd connected to the journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream that is no file
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
