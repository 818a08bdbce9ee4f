"""``ckptctl prioritize`` and ``ckptctl need``: units that go before all others."""

from __future__ import annotations

import posixpath
import time
from argparse import Namespace
from collections.abc import Sequence

from ckptd.cli.render.live import across_restarts, showing, silence
from ckptd.cli.render.text import Picture, json_line, printable
from ckptd.control.client import ControlClient
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
    Raised,
)
from ckptd.model.quantities import format_size


def raised_lines(raised: Raised) -> list[str]:
    """Say which units go first now."""
    amount = f"{raised.units} units, {format_size(raised.bytes)}"
    here = f"{raised.units_here} units, {format_size(raised.bytes_here)}"
    return [f"first now in {printable(raised.recovery)}: {amount}; already here: {here}"]


def need_lines(event: NeedEvent) -> list[str]:
    """Say where a unit can be read, or that it will come first."""
    if isinstance(event, NeedResult):
        return [printable(event.path)]
    return [_line(event)]


def follow_need(
    client: ControlClient, arguments: Namespace, path: str, timeout_s: float | None
) -> NeedEvent:
    """Let a unit go first, and show how far it is until it can be read, or until it is raised.

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
                    if arguments.no_wait and event.is_raised:
                        return event
                    show(_picture(event))
    raise AssertionError("a need ends with a result or raises")


def _picture(event: NeedProgress) -> Picture:
    lines: Sequence[str] = [_line(event)]
    return Picture("raised" if event.is_raised else "waiting", lines[0], tuple(lines))


def _line(event: NeedProgress) -> str:
    unit = printable(event.unit)
    if not event.is_raised:
        line = f"{unit}: its recovery does not know its units yet"
    else:
        line = f"{unit}: {format_size(event.bytes_here)} of {format_size(event.bytes_total)} here"
    return f"{line}; waiting: {printable(event.waiting_for)}" if event.waiting_for else line
