"""What the commands do that watch the daemon itself: events, logs, log-level, doctor, health."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from ckptd.cli.render.text import json_line, printable
from ckptd.control.client import ControlClient
from ckptd.control.messages.observation import (
    CheckRow,
    Diagnosis,
    EventRecord,
    FollowQuery,
    Idle,
    LevelRequest,
    LevelView,
    Lost,
    exit_code_of_diagnosis,
)
from ckptd.errors import DaemonUnreachable, ExitCode
from ckptd.limits import SECOND
from ckptd.model.quantities import format_duration, parse_duration
from ckptd.model.words import CheckResult

_R = TypeVar("_R")


def show_events(arguments: Namespace) -> ExitCode:
    """Print events, oldest first."""
    client = ControlClient(arguments.socket)
    messages = client.events(FollowQuery(since=arguments.since, follow=arguments.follow))
    return _print_stream(arguments, messages, event_line)


def show_logs(arguments: Namespace) -> ExitCode:
    """Print lines of the log, oldest first."""
    client = ControlClient(arguments.socket)
    messages = client.lines(FollowQuery(since=arguments.since, follow=arguments.follow))
    return _print_stream(arguments, messages, lambda record: printable(record.text))


def change_level(arguments: Namespace) -> ExitCode:
    """Show or change the level of the log."""
    client = ControlClient(arguments.socket)
    if arguments.level is None:
        view = client.log_level()
    else:
        for_s = None if arguments.duration is None else parse_duration(arguments.duration) / SECOND
        view = client.set_log_level(LevelRequest(level=arguments.level, for_s=for_s))
    print(json_line(view) if arguments.output == "json" else level_line(view))
    return ExitCode.DONE


def examine(arguments: Namespace) -> ExitCode:
    """Print what the daemon finds when it looks at everything."""
    for message in ControlClient(arguments.socket).examine():
        if arguments.output == "json":
            print(json_line(message), flush=True)
        elif isinstance(message, CheckRow):
            print("\n".join(check_lines(message)), flush=True)
        if isinstance(message, Diagnosis):
            if arguments.output != "json":
                print(f"{message.ok} ok, {message.warn} warn, {message.fail} fail")
            return exit_code_of_diagnosis(message)
    raise DaemonUnreachable("examination", "the daemon stopped before it was through")


def check_health(arguments: Namespace) -> ExitCode:
    """Tell whether the daemon is ready; 1 if it is not, 7 if it does not answer."""
    view = ControlClient(arguments.socket).health()
    if arguments.output == "json":
        print(json_line(view))
    elif view.is_ready:
        remarks = [f"{name}: {remark}" for name, remark in view.components.items() if remark]
        print("\n".join(["ready", *map(printable, remarks)]))
    else:
        print(f"ckptctl: not ready: {printable(view.obstacle)}", file=sys.stderr)
    return ExitCode.DONE if view.is_ready else ExitCode.FAILED


def event_line(record: EventRecord) -> str:
    """Show an event in one line."""
    facts = " ".join(
        f"{name}={fact}" for name, fact in record.facts.items() if fact is not None and fact != ""
    )
    when = datetime.fromtimestamp(record.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return printable(f"{record.id} {when} {record.level} {record.event} {facts}".rstrip())


def level_line(view: LevelView) -> str:
    """Show the level of the log in one line."""
    if view.level == view.configured:
        return view.level
    until = "" if view.left_s is None else f" for {format_duration(view.left_s)}"
    return f"{view.level}{until}, configured {view.configured}"


def check_lines(row: CheckRow) -> list[str]:
    """Show a finding, and below it what to do."""
    lines = [printable(f"{row.verdict.upper():4}  {row.check}: {row.subject}: {row.finding}")]
    if row.remedy and row.verdict is not CheckResult.OK:
        lines.append(printable(f"      → {row.remedy}"))
    return lines


def _print_stream(
    arguments: Namespace, messages: Iterator[_R | Lost | Idle], show: Callable[[_R], str]
) -> ExitCode:
    try:
        for message in messages:
            if isinstance(message, Idle):
                continue
            if arguments.output == "json":
                print(json_line(message), flush=True)
            elif isinstance(message, Lost):
                print(f"ckptctl: {message.count} are gone", file=sys.stderr)
            else:
                print(show(message), flush=True)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if arguments.follow:
        raise DaemonUnreachable("daemon", "it stopped", "Follow it again when it is back.")
    return ExitCode.DONE
