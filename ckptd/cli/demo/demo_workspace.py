"""Where a demonstration runs: a directory that goes away with it, and daemons that end with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.cli.pki.authority import Authority
from ckptd.cli.render.text import printable
from ckptd.errors import CkptdError

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that would end the process."""


def daemon_in(
    workspace: str,
    node: str,
    root: str,
    authority: Authority | None,
    peers: Sequence[str] = (),
    buffers: str = "32MiB",
) -> LocalDaemon:
    """Return a daemon that is not started yet, with a directory of its own.

    Args:
        workspace: Where that is made.
        node: Its name.
        root: Its first root; exists.
        authority: Issues its certificate; ``None``: it uses plaintext.
        peers: Addresses of other daemons.
        buffers: As in the configuration.
    """
    directory = os.path.join(workspace, node)
    os.mkdir(directory)
    return LocalDaemon(
        directory, node=node, root=root, peers=peers, buffers=buffers, authority=authority
    )


def start(daemons: Sequence[LocalDaemon], processes: contextlib.ExitStack) -> None:
    """Start daemons side by side; whatever happens then, they are ended with ``processes``."""
    for daemon in daemons:
        processes.callback(daemon.kill)
    # Ctrl-C must not come between a process that was started and the note that it was; nor while a
    # thread begins, whose end nobody would wait for then.
    with _ctrl_c_put_off(), ThreadPoolExecutor(len(daemons)) as threads:
        list(threads.map(LocalDaemon.start, daemons))
    for daemon in daemons:
        daemon.wait_ready()


@contextlib.contextmanager
def _ctrl_c_put_off() -> Iterator[None]:
    """Let signals that act as Ctrl-C do so at the end; for what takes no time."""
    came: list[int] = []
    put_off = [
        number
        for number in _ENDING
        if signal.getsignal(number) is signal.default_int_handler
        and threading.current_thread() is threading.main_thread()
    ]
    for number in put_off:
        signal.signal(number, lambda signal_number, _frame: came.append(signal_number))
    try:
        yield
    finally:
        for number in put_off:
            signal.signal(number, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def blame(error: CkptdError, daemons: Sequence[LocalDaemon]) -> CkptdError:
    """Show the log of a daemon that ended by itself, and return the error for it."""
    for daemon in daemons:
        if daemon.has_failed:
            show_log(daemon)
            return CkptdError(f"daemon {daemon.node}", f"ended with exit code {daemon.exit_code}")
    return error


def show_log(daemon: LocalDaemon) -> None:
    """Show the last lines of a daemon's log."""
    print(f"Last lines of {daemon.node}'s log:", file=sys.stderr)
    for line in daemon.log_tail():
        print(f"  {printable(line)}", file=sys.stderr)


@contextlib.contextmanager
def workspace_in(place: str, what: str, *, keep: bool) -> Iterator[str]:
    """Make a directory for everything, and remove it in the end.

    Args:
        place: Where.
        what: What will run there, for a person.
        keep: Do not remove it.
    """
    workspace = tempfile.mkdtemp(prefix="ckptd-demo-", dir=place)
    say(f"{what}, in {workspace}; Ctrl-C ends them and cleans up.")
    try:
        yield workspace
    finally:
        if keep:
            say(f"Kept: {workspace}")
        else:
            # A second Ctrl-C must not interrupt the removal of a gigabyte.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            shutil.rmtree(workspace, ignore_errors=True)


@contextlib.contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """Let signals that would end the process clean up first, as Ctrl-C does."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Say something at once."""
    print(text, flush=True)
