"""``ckptctl``: everything a person or a script does with a daemon.

:mod:`ckptd.cli.ctl.arguments` has the table of verbs and says what can be typed. To add a verb, add
a row to one of the modules beside it: what can be typed, what it does and the help stand there.
Modules that only some commands need are imported by those: ``ckptctl`` runs in hooks, and most of
what it costs is its start.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from ckptd.cli.ctl.arguments import VERBS, parse
from ckptd.cli.render.text import printable
from ckptd.errors import CkptdError, ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may not exist in this encoding
            stream.reconfigure(errors="backslashreplace")
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except CkptdError as error:
        print(f"ckptctl: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Nobody reads any more, and that is no error. What is still buffered must not be
        # flushed into the closed pipe when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except KeyboardInterrupt:
        print("ckptctl: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
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
