"""Log lines: to stderr, one line for each change of state, in the form the reader wants.

A line is an event with a stable dotted name (``recovery.started``) and facts about it
(``recovery=…``, ``source=…``). Facts may come from peers, so whatever is not printable is
escaped and long values are cut: nobody writes a second line, or a terminal's escape codes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "logfmt", "json", "console"]
Logger: TypeAlias = FilteringBoundLogger

VALUE_CHARS_MAX: Final = 256
"""Room for any path worth reading, digest or reason."""

EXCEPTION_CHARS_MAX: Final = 16_384
"""A traceback is worth nothing when cut short; its end says most."""

_OURS: Final = "ckptd."

_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""From ``sd-daemon(3)``."""


def configure(
    level: LogLevel,
    form: LogFormat,
    *,
    environ: Mapping[str, str],
    stream: TextIO | None = None,
) -> None:
    """Set up logging for the process; a second call replaces the first.

    ``auto`` is ``console`` on a terminal and ``logfmt`` elsewhere. Lines for the journal carry
    a priority and no time, which it notes by itself.

    Args:
        level: The least important lines that are written.
        form: What a line looks like.
        environ: ``JOURNAL_STREAM`` and ``NO_COLOR`` are read.
        stream: Where lines go; stderr if ``None``.
    """
    stream = sys.stderr if stream is None else stream
    is_terminal = stream.isatty()
    if form == "auto":
        form = "console" if is_terminal else "logfmt"
    render = _renderer(form, has_colours=is_terminal and not environ.get("NO_COLOR"))
    ending: list[Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True), render]
    if _is_journal(stream, environ):
        ending = [_with_priority(render)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _make_printable,
            *ending,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _LossyStream(stream))),
        cache_logger_on_first_use=False,  # loggers of modules follow a second call
    )
    logging.basicConfig(handlers=[_StandardHandler()], level=logging.WARNING, force=True)
    logging.getLogger(_OURS.rstrip(".")).setLevel(level.upper())


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
    event is then the module (``net.lane``) and the text a fact.
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
            return structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
            )


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
