"""``ckptctl``: everything a person or a script does with a daemon.

:mod:`ckptd.cli.ctl.arguments` has the table of verbs and says what can be typed. To add a verb, add
a row to one of the modules beside it: what can be typed, what it does and the help stand there.
Modules that only some commands need are imported by those: ``ckptctl`` runs in hooks, and most of
what it costs is its start.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ckptd.cli.ctl.arguments import VERBS, parse
from ckptd.cli.render.text import printable
from ckptd.cli.streams import NOBODY_READS, StandardStreams
from ckptd.errors import CkptdError, ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with StandardStreams() as streams:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        if VERBS[arguments.verb].is_over_without_reader(arguments):
            streams.end_with_reader()
        try:
            code, complaint = streams.settle(_run(arguments))
        except CkptdError as error:
            code, complaint = error.exit_code, str(error)
        except BrokenPipeError:
            return NOBODY_READS
        except KeyboardInterrupt:
            code, complaint = ExitCode.INTERRUPTED, "interrupted"
        if complaint:
            print(f"ckptctl: {printable(complaint)}", file=sys.stderr)
        return code


def _run(arguments: argparse.Namespace) -> int:
    verb = VERBS[arguments.verb]
    if not verb.is_offline:
        arguments.is_socket_given = arguments.socket is not None
        if not arguments.is_socket_given:
            from ckptd.config import default_socket_path  # noqa: PLC0415

            arguments.socket = default_socket_path()
    return verb.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
