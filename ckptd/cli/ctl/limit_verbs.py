"""``ckptctl limit``: what may move in a second."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd.cli.ctl.verb import Verb, client_of, duration_s, print_answer
from ckptd.cli.render.text import printable, table
from ckptd.control.messages.limit_settings import ChangeLimits, LimitRow, LimitsView, YieldView
from ckptd.errors import ExitCode, UsageError
from ckptd.model.quantities import format_duration, format_rate
from ckptd.model.rate_limits import UNLIMITED, parse_limit, parse_limit_key
from ckptd.model.words import LimitOrigin

_LIMIT: Final = """\
Show what may move in a second, or change it in the running daemon, as an
operator. What is not limited is not listed. NAME is a direction (ingress,
egress, disk_write), a dot, and what of it: total, a class (critical, normal,
deferred, background) or peers.NODE. Several limits apply together.

What is set counts at once, in place of the configuration, until it is unset,
until its time is over, or until the daemon restarts.

examples:
  ckptctl limit get
  ckptctl limit set ingress.total=400MiB/s egress.background=1Gbit/s
  ckptctl limit set ingress.total=unlimited --for 10m
  ckptctl limit unset ingress.total
"""


def _add_limit(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("get", "set", "unset"), help="what to do")
    parser.add_argument("changes", nargs="*", metavar="NAME[=RATE]", help="which limits")
    parser.add_argument(
        "--for", dest="duration", metavar="DURATION", help="with set: count for so long: 10m"
    )


def _object_to_limit(arguments: Namespace) -> str:
    if (arguments.action == "get") == bool(arguments.changes):
        return "'limit set' and 'limit unset' need limits, 'limit get' shows all"
    return "--for needs 'limit set'" if arguments.duration and arguments.action != "set" else ""


def _limit(arguments: Namespace) -> ExitCode:
    client = client_of(arguments)
    if arguments.action == "get":
        view = client.limits()
    elif arguments.action == "set":
        for_s = duration_s(arguments.duration)
        rates = dict(_split(change) for change in arguments.changes)
        view = client.change_limits(ChangeLimits(set=rates, for_s=for_s))
    else:
        names = tuple(str(parse_limit_key(name)) for name in arguments.changes)
        view = client.change_limits(ChangeLimits(unset=names))
    print_answer(arguments, view, limits_lines(view))
    return ExitCode.DONE


def limits_lines(view: LimitsView) -> list[str]:
    """Show all limits, one a line."""
    lines = ["nothing is limited"]
    if view.limits:
        rows = [
            (row.limit, _rate(row.bytes_per_s), row.origin.value, _note(row)) for row in view.limits
        ]
        lines = table(("LIMIT", "RATE", "ORIGIN", ""), rows)
    waited = [
        f"{direction} {urgency} {format_duration(waited_s)}"
        for direction, by_class in view.throttled_s.items()
        for urgency, waited_s in by_class.items()
        if waited_s >= 0.05  # noqa: PLR2004 (shown as 0.1s)
    ]
    if waited:
        lines.append(f"waited so far: {', '.join(waited)}")
    if view.yielding is not None:
        lines.append(_yielding(view.yielding))
    return lines


def _split(change: str) -> tuple[str, str]:
    """Read ``NAME=RATE``.

    Raises:
        UsageError: It is something else.
    """
    name, equals, rate = change.partition("=")
    if not equals:
        example = "ingress.total=400MiB/s"
        raise UsageError(f"{change[:80]!r}", "is no limit and a rate", f"Write e.g. {example}.")
    parse_limit(rate)
    return str(parse_limit_key(name)), rate


def _rate(bytes_per_s: int | None) -> str:
    return UNLIMITED if bytes_per_s is None else format_rate(bytes_per_s)


def _note(row: LimitRow) -> str:
    notes = [] if row.left_s is None else [f"for {format_duration(row.left_s)}"]
    if row.origin is LimitOrigin.RUNTIME:
        notes.append(f"configured {_rate(row.configured_bytes_per_s)}")
    return ", ".join(notes)


def _yielding(view: YieldView) -> str:
    link = view.link_bytes_per_s
    of = "what it carries is found out" if link is None else f"which carries {format_rate(link)}"
    rates = [
        f"{direction} {format_rate(rate)}"
        for direction, rate in (
            ("ingress", view.ingress_bytes_per_s),
            ("egress", view.egress_bytes_per_s),
        )
        if rate is not None
    ]
    now = f": {', '.join(rates)} at most now" if rates else ""
    return f"the background gives way on {printable(view.interface)}, {of}{now}"


VERBS: Final = (
    Verb("limit", "what may move in a second", _limit, _LIMIT, _add_limit, _object_to_limit),
)
