"""What can be typed after ``ckptctl``, and the help for it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from ckptd import __version__
from ckptd.cli.ctl import (
    access_verbs,
    active_verbs,
    copies_verbs,
    job_verbs,
    life_cycle_verbs,
    limit_verbs,
    materialise_verbs,
    observe_verbs,
    offline_verbs,
    prioritize_verbs,
    publish_verbs,
    recovery_verbs,
    verify_verbs,
    version_verbs,
    wait_verbs,
)
from ckptd.cli.ctl.verb import Verb
from ckptd.errors import ExitCode

_Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  has no other name

_OPTION: Final = re.compile(r"--[a-z][a-z-]*")

EXIT_CODES: Final = """\
exit codes:
    0  done
    1  failed, or was cancelled
    2  wrong usage
    3  recovered in part, as --allow-partial permits: required units are missing
    4  nobody has what was asked for: the name, the version, or required units
    5  not done within --timeout; a recovery goes on
    6  not permitted
    7  no daemon answers
    8  verification failed
    9  several contents go by that name and version: choose one
  130  interrupted; a recovery goes on
New codes may be added: treat one you do not know as a failure.

The daemon is found at --socket, else $CKPTD_SOCKET, else /run/ckptd/ckptd.sock.
"""

VERBS: Final = {
    verb.name: verb
    for verb in (
        *publish_verbs.VERBS,
        *version_verbs.VERBS,
        *copies_verbs.VERBS,
        *job_verbs.VERBS,
        *active_verbs.VERBS,
        *materialise_verbs.VERBS,
        *life_cycle_verbs.VERBS,
        *verify_verbs.VERBS,
        *recovery_verbs.VERBS,
        *wait_verbs.VERBS,
        *prioritize_verbs.VERBS,
        *access_verbs.VERBS,
        *observe_verbs.LOG_VERBS,
        *limit_verbs.VERBS,
        *observe_verbs.HEALTH_VERBS,
        *offline_verbs.VERBS,
    )
}
"""Every verb by its name, in the order of the help."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was typed; help, and what cannot be understood, end the process."""
    parser = argparse.ArgumentParser(
        prog="ckptctl",
        description="Publish checkpoints, recover them, and see what the daemon does.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--socket", metavar="PATH", help="control socket of the daemon")
    parser.add_argument("--version", action="version", version=f"ckptctl {__version__}")
    parsers = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for verb in VERBS.values():
        _add(parsers, verb, is_typed=verb.name in argv)
    if not argv:
        parser.print_help()
        parser.exit(ExitCode.USAGE)
    _check_verb(parser, argv)
    arguments, unknown = parser.parse_known_args(argv)
    of_verb = parsers.choices[arguments.verb]
    if unknown:
        hint = _nearest(unknown[0], _OPTION.findall(of_verb.format_help()))
        of_verb.error(f"{', '.join(unknown)}: not understood{hint}")
    objection = VERBS[arguments.verb].objection(arguments)
    if objection:
        of_verb.error(objection)
    return arguments


def _check_verb(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """End the process if what stands where a command belongs is none."""
    words = iter(argv)
    for word in words:
        if word == "--socket":
            next(words, None)
        elif not word.startswith("-"):
            if word not in VERBS:
                parser.error(f"{word!r} is no command{_nearest(word, VERBS)}")
            return


def _nearest(word: str, known: Iterable[str]) -> str:
    """Return what may have been meant, to stand behind a complaint; empty if nothing is near."""
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _add(parsers: _Parsers, verb: Verb, *, is_typed: bool) -> None:
    if verb.is_offline:
        offline = parsers.add_parser(verb.name, help=verb.purpose)
        if is_typed:
            verb.add_arguments(offline)
        return
    parser = parsers.add_parser(
        verb.name,
        help=verb.purpose,
        description=verb.description or f"{verb.purpose[0].upper()}{verb.purpose[1:]}.",
        epilog=None if verb.description else f"example:\n  ckptctl {verb.name} -o json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--socket", metavar="PATH", default=argparse.SUPPRESS, help="control socket of the daemon"
    )
    parser.add_argument(
        "-o", "--output", choices=verb.outputs, default="table", help="default: table"
    )
    verb.add_arguments(parser)
