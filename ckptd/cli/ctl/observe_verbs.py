"""What ``ckptctl`` shows of the daemon itself: events, logs, log-level, doctor, health."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from ckptd.cli.ctl.verb import Verb, client_of, duration_s, print_answer
from ckptd.cli.render.text import json_line, printable, table
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
from ckptd.control.messages.watched import WatchedRow
from ckptd.errors import DaemonUnreachable, ExitCode
from ckptd.model.quantities import format_duration
from ckptd.model.words import CheckResult

_R = TypeVar("_R")

_EVENTS: Final = """\
Show what happened, one event a line, oldest first: ids grow by one. Where
entries are gone because nobody read them in time, that is said.

examples:
  ckptctl events -f               # go on with what comes
  ckptctl events -f --since 4711  # ... after the last one that was seen
  ckptctl events -f -o json | jq 'select(.event == "recovery.ended")'
"""

_LOGS: Final = """\
Show the last lines of the daemon's log, which it keeps in memory: nobody needs
the journal for it.

examples:
  ckptctl logs
  ckptctl logs -f
"""

_LEVEL: Final = """\
Show from which level on lines are logged, or change it in the running daemon,
as an operator. The configuration stays as it is; if another level is put there,
'ckptctl reload' ends what was set here.

examples:
  ckptctl log-level
  ckptctl log-level debug --for 5m
"""

_DOCTOR: Final = """\
Let the daemon look at everything that could be in the way of a recovery:
clocks, certificates, descriptors, addresses, disks and every peer, over the
path that a recovery takes. It writes 16 MiB to each root and removes it, and
fetches at most 8 MiB from each peer. Ends with 1 if anything fails.

examples:
  ckptctl doctor
  ckptctl doctor -o json | jq 'select(.verdict == "fail")'
"""

_HEALTH: Final = """\
Tell whether the daemon is ready, for probes: ends with 0 if it is, 1 while it
starts or stops, 7 if it does not answer.

examples:
  ckptctl health
  ckptctl health -o json | jq .components
"""


_WATCHES: Final = """\
Show what jobs saved into the directories of [[watch]] in the configuration:
which saves became versions, which wait for what, and why others are not taken.

examples:
  ckptctl watches
  ckptctl watches -o json | jq '.[].saves[] | select(.state != "taken")'
"""


def _add_follow(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument(
        "--since", metavar="ID", type=_id, default=0, help="only what came after this one"
    )


def _id(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ArgumentTypeError("an id is not below 0")
    return number


def _add_level(parser: ArgumentParser) -> None:
    parser.add_argument(
        "level", nargs="?", choices=("debug", "info", "warning", "error"), help="the new level"
    )
    parser.add_argument(
        "--for", dest="duration", metavar="DURATION", help="and back after so long: 5m"
    )


def _object_to_level(arguments: Namespace) -> str:
    return "--for needs a level" if arguments.duration and not arguments.level else ""


def _events(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    messages = client.events(FollowQuery(since=arguments.since, follow=arguments.follow))
    return _print_stream(arguments, messages, event_line)


def _logs(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    messages = client.lines(FollowQuery(since=arguments.since, follow=arguments.follow))
    return _print_stream(arguments, messages, lambda record: printable(record.text))


def _is_followed(arguments: Namespace) -> bool:
    return bool(arguments.follow)


def _level(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    if arguments.level is None:
        view = client.log_level()
    else:
        request = LevelRequest(level=arguments.level, for_s=duration_s(arguments.duration))
        view = client.set_log_level(request)
    print_answer(arguments, view, [level_line(view)])
    return ExitCode.DONE


def _doctor(arguments: Namespace) -> ExitCode:
    for message in client_of(arguments).examine():
        if arguments.output == "json":
            print(json_line(message), flush=True)
        elif isinstance(message, CheckRow):
            print("\n".join(check_lines(message)), flush=True)
        if isinstance(message, Diagnosis):
            if arguments.output != "json":
                print(f"{message.ok} ok, {message.warn} warn, {message.fail} fail")
            return exit_code_of_diagnosis(message)
    raise DaemonUnreachable("examination", "the daemon stopped before it was through")


def _watches(arguments: Namespace) -> ExitCode:
    rows = client_of(arguments).watches()
    print_answer(arguments, rows, watch_lines(rows))
    return ExitCode.DONE


def _health(arguments: Namespace) -> ExitCode:
    view = client_of(arguments).health()
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


def watch_lines(rows: Sequence[WatchedRow]) -> list[str]:
    """Show each watched directory, and below it what was saved there."""
    if not rows:
        return ["nothing is watched: there is no [[watch]] in the configuration"]
    lines = []
    for row in rows:
        lines.append(printable(f"{row.directory} → {row.checkpoint}: {row.taken} taken"))
        if row.obstacle:
            lines.append(printable(f"  cannot be looked into: {row.obstacle}"))
        if row.gives_way:
            lines.append(printable(f"  reading gives way {row.gives_way}"))
        cells = [(each.name, str(each.version), each.state, each.why) for each in row.saves]
        if cells:
            lines += [f"  {line}" for line in table(("SAVE", "VERSION", "STATE", "WHY"), cells)]
    return lines


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


LOG_VERBS: Final = (
    Verb(
        "events",
        "what happened, and what happens",
        _events,
        _EVENTS,
        _add_follow,
        is_over_without_reader=_is_followed,
    ),
    Verb(
        "logs",
        "the last lines of the daemon's log",
        _logs,
        _LOGS,
        _add_follow,
        is_over_without_reader=_is_followed,
    ),
    Verb(
        "log-level",
        "from which level on lines are logged",
        _level,
        _LEVEL,
        _add_level,
        _object_to_level,
    ),
)
HEALTH_VERBS: Final = (
    Verb("watches", "saves in watched directories, and why one is not taken", _watches, _WATCHES),
    Verb("doctor", "look for what could be in the way of a recovery", _doctor, _DOCTOR),
    Verb("health", "whether the daemon is ready, for probes", _health, _HEALTH),
)
