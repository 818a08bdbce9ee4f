"""``ckptctl prioritize`` and ``ckptctl need``: units that go before all others."""

from __future__ import annotations

import posixpath
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Final

from ckptd.cli.ctl.recovery_verbs import add_recovery, resolve
from ckptd.cli.ctl.verb import Verb, client_of, duration_s, print_answer, say, utf8
from ckptd.cli.render.live import across_restarts, showing, silence
from ckptd.cli.render.text import Picture, json_line, printable
from ckptd.control.client import ControlClient
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
    Prioritized,
    PrioritizeRequest,
)
from ckptd.errors import CkptdError, ExitCode
from ckptd.limits import MIB
from ckptd.model.quantities import format_size

_PRIORITIZE: Final = """\
Let the units whose paths match go before everything of their recovery that is
not on its way yet. In GLOB, * and ? match / too, as in 'ckptctl publish'.
Lasts until they are here, or until the daemon restarts.

examples:
  ckptctl prioritize 01J9 'model-00001-*'
  ckptctl prioritize 01J9 'optimizer/*' -o json | jq .bytes
"""

_NEED: Final = """\
Let one unit of a running recovery go before everything else of it, wait until
all of it is verified and durable, and print where it can be read now: where it
belongs, or else in staging. PATH is where the file will stand, or the path of a
unit that only one running recovery has.

A path in staging is for reading only, and only for the daemon's user and root.
It moves with the version the moment that is complete, and is gone if the
recovery is given up: open it at once, and look at PATH itself if it is gone. A
file that is open or mapped stays so. Others take the bytes: --cat writes them,
compared once more, from a descriptor that the daemon passes (Python:
ControlClient.open_unit).

examples:
  ckptctl need /data/llama/rank-3/1200/model-00001-of-00004.safetensors
  file=$(ckptctl need tokenizer.json --timeout 1m) && cat "$file"
  ckptctl need tokenizer.json --cat | jq .model
  ckptctl need optimizer/shard-0.pt --no-wait
"""


def _add_prioritize(parser: ArgumentParser) -> None:
    add_recovery(parser)
    parser.add_argument("pattern", metavar="GLOB", help="compared with the paths of units")


def _prioritize(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    chosen = resolve(client.recoveries(), arguments.recovery)
    request = PrioritizeRequest(pattern=utf8(arguments.pattern))
    prioritized = client.prioritize(chosen.recovery, request)
    print_answer(arguments, prioritized, prioritized_lines(prioritized))
    return ExitCode.DONE


def _add_need(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="where the file will stand, or a unit's path")
    parser.add_argument("--no-wait", action="store_true", help="return once it goes first")
    parser.add_argument("--timeout", metavar="DURATION", help="wait for so long at most: 10m")
    parser.add_argument("--cat", action="store_true", help="write its bytes, and no path")


def _object_to_need(arguments: Namespace) -> str:
    if arguments.cat and arguments.output == "json":
        return "--cat contradicts -o json"
    if arguments.no_wait and (arguments.timeout or arguments.cat):
        return f"--{'timeout' if arguments.timeout else 'cat'} contradicts --no-wait"
    return ""


def _need(arguments: Namespace) -> ExitCode:
    path, timeout_s = utf8(arguments.path), duration_s(arguments.timeout)
    goes_on = "it still goes first, until the daemon restarts"
    try:
        if arguments.cat:
            _write_unit(client_of(arguments), path, timeout_s)
            return ExitCode.DONE
        event = follow_need(client_of(arguments), arguments, path, timeout_s)
    except TimeoutError:
        say(f"{path} is not here within {arguments.timeout}; {goes_on}")
        return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        say(f"interrupted; {path} is not here; {goes_on}")
        return ExitCode.INTERRUPTED
    if arguments.output != "json":
        print("\n".join(need_lines(event)))
    return ExitCode.DONE


def _write_unit(client: ControlClient, path: str, timeout_s: float | None) -> None:
    """Write the bytes of a unit to standard output.

    Raises:
        TimeoutError: It is not here by then.
        CkptdError: They cannot be written.
    """
    client = client.until(None if timeout_s is None else time.monotonic() + timeout_s)
    with showing() as show:
        unit = client.open_unit(posixpath.normpath(path), lambda event: show(_picture(event)))
    with open(unit.fd, "rb") as file:
        try:
            shutil.copyfileobj(file, sys.stdout.buffer, MIB)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise  # nobody reads
        except OSError as error:
            raise CkptdError("unit", f"cannot be written out: {error.strerror}") from error


def prioritized_lines(prioritized: Prioritized) -> list[str]:
    """Say which units go first now."""
    amount = f"{prioritized.units} units, {format_size(prioritized.bytes)}"
    here = f"{prioritized.units_here} units, {format_size(prioritized.bytes_here)}"
    return [f"first now in {printable(prioritized.recovery)}: {amount}; already here: {here}"]


def need_lines(event: NeedEvent) -> list[str]:
    """Say where a unit can be read, or that it will come first."""
    if isinstance(event, NeedResult):
        return [printable(event.path)]
    return [_line(event)]


def follow_need(
    client: ControlClient, arguments: Namespace, path: str, timeout_s: float | None
) -> NeedEvent:
    """Let a unit go first, and show progress until it can be read, or until it goes first.

    Args:
        client: The daemon.
        arguments: What was typed: whether to wait, and how to print.
        path: Which unit.
        timeout_s: How long to wait at most; ``None``: as long as it takes.

    Raises:
        TimeoutError: It could not by then.
        DaemonUnreachable: The daemon was away for 30 s.
    """
    as_json = arguments.output == "json"
    client = client.until(None if timeout_s is None else time.monotonic() + timeout_s)
    request = NeedRequest(path=posixpath.normpath(path))
    with silence() if as_json else showing() as show:
        for event in across_restarts(lambda: client.need(request)):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case NeedResult():
                    return event
                case NeedProgress():
                    if arguments.no_wait and event.is_prioritized:
                        return event
                    show(_picture(event))
    raise AssertionError("a need ends with a result or raises")


def _picture(event: NeedProgress) -> Picture:
    lines: Sequence[str] = [_line(event)]
    return Picture("raised" if event.is_prioritized else "waiting", lines[0], tuple(lines))


def _line(event: NeedProgress) -> str:
    unit = printable(event.unit)
    if not event.is_prioritized:
        line = f"{unit}: its recovery does not know its units yet"
    else:
        line = f"{unit}: {format_size(event.bytes_here)} of {format_size(event.bytes_total)} here"
    return f"{line}; waiting: {printable(event.waiting_for)}" if event.waiting_for else line


VERBS: Final = (
    Verb(
        "prioritize",
        "let some units of a recovery go first",
        _prioritize,
        _PRIORITIZE,
        _add_prioritize,
    ),
    Verb(
        "need", "let one unit go first, and wait for it", _need, _NEED, _add_need, _object_to_need
    ),
)
