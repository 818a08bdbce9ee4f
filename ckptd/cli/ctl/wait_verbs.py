"""``ckptctl wait``: until a version is placed here, or as much of it as a job needs to begin."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from ckptd.cli.ctl.shard_arguments import typed_shards
from ckptd.cli.ctl.verb import Verb, client_of, duration_s, say, utf8
from ckptd.cli.render.live import PlainLines, Show, showing, silence
from ckptd.cli.render.text import Picture, json_line, printable, reference
from ckptd.control.client import ControlClient
from ckptd.control.messages.waiting import (
    WaitEvent,
    WaitProgress,
    WaitRequest,
    WaitResult,
    exit_code_of_wait,
)
from ckptd.errors import DaemonUnreachable, ExitCode
from ckptd.model.goals import parse_goal
from ckptd.model.ids import parse_reference
from ckptd.model.words import GoalKind

_WAIT: Final = """\
Wait until something is placed on this node, and print the directory: for
prologs, init containers and units that need a checkpoint. Nothing is begun by
it: somebody recovers or publishes, before or after. While no daemon answers it
is waited for as well. What is waited for is said whenever that changes.

--for is one of
  phase=NAME  all required units of this phase and of those before it
  critical    all critical units; of a version without any: as complete
  complete    all required units (the default)
  newest      the same of the newest version that this node can have
Only what is placed counts, as the catalog has it then: not what is withdrawn,
looks different, or was not looked at since the daemon started. Without a
version it is the one that is being recovered, else the newest that is here.

It ends with 0 when it is there; 5 when it is not within --timeout, 7 if no
daemon answered by then; 4 if the version has no such phase; and if the recovery
that was waited for ends without it, as 'ckptctl recover --wait' does: 1, 4, 8,
9, or 3 if it brought a part. With --through-failures another one is waited for.

examples:
  ckptctl wait llama --for complete --timeout 10m
  dir=$(ckptctl wait llama/rank-3@1200 --for phase=core --timeout 10m)
  ckptctl wait llama --for newest -o json | jq 'select(.type == "result")'
"""

_AGAIN_S: Final = 0.5
"""Between two attempts to reach a daemon, or to find a place among those who wait."""


def _add_wait(parser: ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME[@VERSION]", help="e.g. llama@1200")
    parser.add_argument(
        "--for", dest="goal", metavar="WHAT", default="complete", help="default: complete"
    )
    parser.add_argument(
        "--timeout", metavar="DURATION", help="for so long at most: 10m; 0s: look once"
    )
    parser.add_argument(
        "--shards", metavar="SHARDS", help="of a job: which, as for recover; default: its own"
    )
    parser.add_argument(
        "--through-failures", action="store_true", help="a recovery that fails does not end it"
    )


def _object_to_wait(arguments: Namespace) -> str:
    if "@" in arguments.reference and arguments.goal == GoalKind.NEWEST:
        return "--for newest contradicts a version: it says which one that is"
    return ""


def _wait(arguments: Namespace) -> ExitCode:
    checkpoint, version = parse_reference(arguments.reference)
    goal = parse_goal(utf8(arguments.goal))
    request = WaitRequest(
        checkpoint=checkpoint,
        version=version,
        goal=str(goal),
        shards=typed_shards(arguments),
        through_failures=arguments.through_failures,
    )
    timeout_s = duration_s(arguments.timeout)
    deadline_s = time.monotonic() + timeout_s if timeout_s else None
    what = f"{reference(checkpoint, version)}, {printable(str(goal))},"
    waiting = _Waiting(client_of(arguments).until(deadline_s), request, is_once=timeout_s == 0)
    try:
        result = _follow(waiting, as_json=arguments.output == "json")
    except TimeoutError:
        when = f"was not here within {arguments.timeout}" if timeout_s else "is not here"
        say(f"{what} {when}: {waiting.reason}")
        return ExitCode.TIMED_OUT if waiting.is_answered else ExitCode.UNREACHABLE
    except KeyboardInterrupt:
        say(f"interrupted; {what} is not here: {waiting.reason}")
        return ExitCode.INTERRUPTED
    if not result.is_reached:
        say(f"{what} does not come: {result.why}")
    elif arguments.output != "json":
        print(printable(result.directory or reference(checkpoint, result.version)))
    return exit_code_of_wait(result)


def _follow(waiting: _Waiting, *, as_json: bool) -> WaitResult:
    with silence() if as_json else showing() as show:
        for event in waiting.events(PlainLines(sys.stderr).show if as_json else show):
            if as_json:
                print(json_line(event), flush=True)
            if isinstance(event, WaitResult):
                return event
            show(_picture(event))
    raise AssertionError("a wait ends with a result or raises")


class _Waiting:
    """Asks again and again, over restarts of the daemon and before its first start.

    Args:
        client: Asks the daemon; how long to wait at most is its deadline.
        request: What is waited for.
        is_once: The time is up once it was looked.

    Attributes:
        is_answered: The daemon has answered.
        reason: What is waited for, and what is in the way of that.
    """

    def __init__(self, client: ControlClient, request: WaitRequest, *, is_once: bool) -> None:
        self._client = client
        self._is_once = is_once
        self._request = request
        self.is_answered = False
        self.reason = "no daemon answered"

    def events(self, show: Show) -> Iterator[WaitEvent]:
        """Yield what the daemon says; the last one is the result.

        Args:
            show: Shows what is waited for while no daemon answers.

        Raises:
            TimeoutError: It is not there by the deadline of the client.
        """
        while True:
            try:
                for event in self._client.wait(self._request):
                    self._note(event)
                    yield event
                    if isinstance(event, WaitResult):
                        return
                    if self._is_once:
                        raise TimeoutError
            except DaemonUnreachable as error:
                why = f"waiting for the daemon: {printable(f'{error.subject}: {error.problem}')}"
                show(Picture(why, f"ckptctl: {why}", (why,)))
                if not self.is_answered:
                    self.reason = why
            self._pause()

    def _note(self, event: WaitEvent) -> None:
        self.is_answered = True
        if isinstance(event, WaitProgress):
            self.reason = _reason(event)
            if event.recovery is not None:
                self._request = replace(self._request, recovery=event.recovery)

    def _pause(self) -> None:
        """Wait a moment.

        Raises:
            TimeoutError: The deadline is here.
        """
        if self._is_once:
            raise TimeoutError
        pause_s, deadline_s = _AGAIN_S, self._client.deadline_s
        if deadline_s is not None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            pause_s = min(pause_s, left_s)
        time.sleep(pause_s)  # noqa: TID251 -- a command has nothing else to do


def _reason(event: WaitProgress) -> str:
    detail = f"; {printable(event.detail)}" if event.detail else ""
    return f"waiting for {printable(event.waiting_for)}{detail}"


def _picture(event: WaitProgress) -> Picture:
    stage, line = f"waiting for {printable(event.waiting_for)}", _reason(event)
    return Picture(stage, f"ckptctl: {line}", (line,))


VERBS: Final = (
    Verb(
        "wait",
        "until a version, or what is needed of it, is here",
        _wait,
        _WAIT,
        _add_wait,
        _object_to_wait,
    ),
)
