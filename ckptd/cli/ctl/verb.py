"""What one verb of ``ckptctl`` is, and what all of them do alike."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ckptd.cli.render.rivals_text import conflict_lines
from ckptd.cli.render.text import json_line, printable, result_lines
from ckptd.control.client import ControlClient
from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.errors import ExitCode, UsageError
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Version, parse_reference
from ckptd.model.quantities import parse_duration

_Row = TypeVar("_Row")


def no_arguments(_: ArgumentParser) -> None:
    """Add nothing to what every verb takes."""


def no_objection(_: Namespace) -> str:
    """Accept what was typed."""
    return ""


def never(_: Namespace) -> bool:
    """Say no."""
    return False


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of ``ckptctl``.

    Attributes:
        name: What is typed.
        purpose: What it is for, in a line of the list of verbs.
        run: Does it.
        description: The help for it, with examples; empty if the purpose says it all.
        add_arguments: Adds what can be typed behind it.
        objection: Says what is wrong with arguments that contradict each other; empty if nothing.
        is_offline: It asks no daemon. Its arguments are only added if it is typed, for the
            modules that it needs are needed by no other verb.
        is_over_without_reader: Tells whether its output is all it is for, so that it ends when
            nobody reads that. Any other one does what was asked for, and its exit code says how
            that ended.
        outputs: What ``-o`` can be.
    """

    name: str
    purpose: str
    run: Callable[[Namespace], ExitCode]
    description: str = ""
    add_arguments: Callable[[ArgumentParser], None] = no_arguments
    objection: Callable[[Namespace], str] = no_objection
    is_offline: bool = False
    is_over_without_reader: Callable[[Namespace], bool] = never
    outputs: tuple[str, ...] = ("table", "json")


def client_of(arguments: Namespace) -> ControlClient:
    """Return the daemon that was named."""
    return ControlClient(arguments.socket)


def command_of(arguments: Namespace, typed: str) -> str:
    """Return a command as a person types it, for the daemon that was named."""
    socket_option = f"--socket {arguments.socket} " if arguments.is_socket_given else ""
    return f"ckptctl {socket_option}{typed}"


def versioned(arguments: Namespace, verb: str) -> tuple[CheckpointName, Version]:
    """Return which version was named, for a verb that takes no other one.

    Raises:
        UsageError: None was.
    """
    checkpoint, version = parse_reference(arguments.reference)
    if version is None:
        raise UsageError(
            f"{verb} {checkpoint}", "needs a version", f"Say which: {checkpoint}@VERSION."
        )
    return checkpoint, version


def duration_s(text: str | None) -> float | None:
    """Read a duration that may have been left out.

    Raises:
        UsageError: It is none.
    """
    return None if text is None else parse_duration(text) / SECOND


def utf8(text: str) -> str:
    """Return what was typed.

    Raises:
        UsageError: It is not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{text!r}", "is not UTF-8") from error
    return text


def absolute(path: str, *, is_resolved: bool = False) -> str:
    """Return where a path leads from here.

    Args:
        path: As it was typed.
        is_resolved: Follow symbolic links.

    Raises:
        UsageError: Here is nowhere, or it is not UTF-8.
    """
    try:
        return utf8(os.path.realpath(path) if is_resolved else os.path.abspath(path))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path!r}",
            "leads nowhere: the current directory is gone",
            "Change into one that is there, or write a path that begins with '/'.",
        ) from error


def print_answer(arguments: Namespace, answer: object, lines: Sequence[str]) -> None:
    """Print an answer as JSON, or the lines that show it to a person."""
    print(json_line(answer) if arguments.output == "json" else "\n".join(lines))


def print_result(arguments: Namespace, result: RecoveryResult) -> None:
    """Print how a recovery ended that was followed; say it apart from that if it has failed."""
    lines = conflict_lines(result) if result.rivals else result_lines(result)
    if not result.result.is_success:
        say("\n".join(lines))
    elif arguments.output != "json":  # else its events were printed
        print("\n".join(lines))


def print_rows(
    arguments: Namespace,
    rows: Sequence[_Row],
    lines_of: Callable[[Sequence[_Row], int | None], list[str]],
    nothing: str,
) -> ExitCode:
    """Print a table.

    Args:
        arguments: What was typed.
        rows: What is in it.
        lines_of: Shows it in a width.
        nothing: What to say if there are no rows.
    """
    if rows or arguments.output == "json":
        print_answer(arguments, rows, lines_of(rows, terminal_width()))
    else:
        say(nothing)
    return ExitCode.DONE


def terminal_width() -> int | None:
    """Return how wide a line may be; ``None`` if no terminal cuts it."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def say(text: str) -> None:
    """Say something to a person, apart from the output."""
    for line in text.splitlines():
        print(f"ckptctl: {printable(line)}", file=sys.stderr)
