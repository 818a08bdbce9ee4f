"""Verbs of ``ckptctl`` that need no daemon; what only one of them needs is imported by it."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Final

from ckptd import __version__
from ckptd.cli.ctl.verb import Verb, client_of, print_answer
from ckptd.errors import DaemonUnreachable, ExitCode


def _version(arguments: Namespace) -> ExitCode:
    """Print both versions. That no daemon runs is no failure."""
    daemon: str | None = None
    if os.path.exists(arguments.socket):
        try:
            daemon = client_of(arguments).version().ckptd_version
        except DaemonUnreachable:
            daemon = None
    print_answer(
        arguments,
        {"ckptctl": __version__, "ckptd": daemon},
        [f"ckptctl {__version__}", f"ckptd {daemon or 'does not answer'}"],
    )
    return ExitCode.DONE


def _add_keys(parser: ArgumentParser) -> None:
    from ckptd.cli.ctl.key_verbs import add_arguments  # noqa: PLC0415

    add_arguments(parser)


def _keys(arguments: Namespace) -> ExitCode:
    from ckptd.cli.ctl.key_verbs import run  # noqa: PLC0415

    return run(arguments)


def _add_tls(parser: ArgumentParser) -> None:
    from ckptd.cli.ctl.tls_verbs import add_arguments  # noqa: PLC0415

    add_arguments(parser)


def _tls(arguments: Namespace) -> ExitCode:
    from ckptd.cli.ctl.tls_verbs import run  # noqa: PLC0415

    return run(arguments)


def _add_demo(parser: ArgumentParser) -> None:
    from ckptd.cli.demo.course import add_arguments  # noqa: PLC0415

    add_arguments(parser)


def _demo(arguments: Namespace) -> ExitCode:
    from ckptd.cli.demo.course import run  # noqa: PLC0415

    return run(arguments)


VERBS: Final = (
    Verb("version", "versions of this command and of the daemon", _version),
    Verb(
        "keys",
        "keys that sign manifests, and those that are trusted",
        _keys,
        add_arguments=_add_keys,
        is_offline=True,
    ),
    Verb(
        "tls",
        "make and show the certificates of the nodes",
        _tls,
        add_arguments=_add_tls,
        is_offline=True,
    ),
    Verb(
        "demo",
        "lose a checkpoint on this machine and get it back",
        _demo,
        add_arguments=_add_demo,
        is_offline=True,
    ),
)
