"""``ckptctl``: everything a person or a script does with a daemon.

:mod:`ckptd.cli.ctl.arguments` says what can be typed, :mod:`ckptd.cli.ctl.verbs` does it.
Modules that only some commands need are imported by those: ``ckptctl`` runs in hooks, and most of
what it costs is its start.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from ckptd import __version__
from ckptd.cli.ctl.arguments import parse
from ckptd.errors import CkptdError, DaemonUnreachable, ExitCode


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
        return _fail(error)
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
    if arguments.verb == "demo":
        from ckptd.cli.demo import course  # noqa: PLC0415

        return course.run(arguments)
    if arguments.verb == "keys":
        from ckptd.cli.ctl import key_verbs  # noqa: PLC0415

        return key_verbs.run(arguments)
    if arguments.verb == "tls":
        from ckptd.cli.ctl import tls_verbs  # noqa: PLC0415

        return tls_verbs.run(arguments)
    arguments.is_socket_given = arguments.socket is not None
    if not arguments.is_socket_given:
        from ckptd.config import default_socket_path  # noqa: PLC0415

        arguments.socket = default_socket_path()
    if arguments.verb == "version":
        return _version(arguments)
    from ckptd.cli.ctl.verbs import VERBS  # noqa: PLC0415

    return VERBS[arguments.verb](arguments)


def _fail(error: CkptdError) -> ExitCode:
    from ckptd.cli.render.text import printable  # noqa: PLC0415

    print(f"ckptctl: {printable(str(error))}", file=sys.stderr)
    return error.exit_code


def _version(arguments: argparse.Namespace) -> ExitCode:
    """Print both versions. That no daemon runs is no failure, and asks for no HTTP client."""
    daemon: str | None = None
    if os.path.exists(arguments.socket):
        from ckptd.control.client import ControlClient  # noqa: PLC0415

        try:
            daemon = ControlClient(arguments.socket).version().ckptd_version
        except DaemonUnreachable:
            daemon = None
    if arguments.output == "json":
        from ckptd.cli.render.text import json_line  # noqa: PLC0415

        print(json_line({"ckptctl": __version__, "ckptd": daemon}))
    else:
        print(f"ckptctl {__version__}")
        print(f"ckptd {daemon or 'does not answer'}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
