"""``ckptctl recover`` with a pattern: several recoveries with one report and one exit code."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence

from ckptd.cli.ctl.verb import (
    client_of,
    command_of,
    print_answer,
    print_result,
    say,
    terminal_width,
)
from ckptd.cli.render.live import follow_recoveries
from ckptd.cli.render.recoveries_text import recovery_lines
from ckptd.control.messages.recovery_results import RecoveryResult, exit_code_of_all
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.errors import ExitCode


def recover_matching(
    arguments: Namespace, request: RecoverRequest, timeout_s: float | None
) -> ExitCode:
    """Begin a recovery of each checkpoint that a pattern matches, and wait for all if asked to.

    Args:
        arguments: What was typed.
        request: What all of them have in common; its checkpoint is the pattern.
        timeout_s: How long to wait at most.
    """
    views = client_of(arguments).recover_matching(request)
    joined = [view.recovery for view in views if view.is_joined]
    if joined:
        say(f"under way already, and going on: {', '.join(joined)}")
    if arguments.wait:
        return _follow(arguments, views, timeout_s)
    print_answer(arguments, views, recovery_lines(views, terminal_width()))
    return ExitCode.DONE


def _follow(
    arguments: Namespace, views: Sequence[RecoveryView], timeout_s: float | None
) -> ExitCode:
    """Wait for recoveries; whatever ends the wait, they go on."""
    as_json = arguments.output == "json"
    what = "recovery" if len(views) == 1 else "recoveries"
    say(f"{len(views)} {what} of {arguments.reference}")
    results: list[RecoveryResult] = []
    following = follow_recoveries(
        client_of(arguments),
        views,
        as_json=as_json,
        deadline_s=None if timeout_s is None else time.monotonic() + timeout_s,
    )
    try:
        for result in following:
            results.append(result)  # noqa: PERF402 -- those that came count if the wait ends
    except TimeoutError:
        left = len(views) - len(results)
        say(f"{left} of them are not done within {arguments.timeout}; {_again(arguments)}")
        return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        say(f"interrupted, but not the recoveries: {_again(arguments)}")
        return ExitCode.INTERRUPTED
    for result in results:
        print_result(arguments, result)
    return exit_code_of_all(results)


def _again(arguments: Namespace) -> str:
    return f"they go on; see them with: {command_of(arguments, 'recoveries')}"
