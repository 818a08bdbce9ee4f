"""Two users: the daemon, and the job that what it recovers or publishes belongs to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.cluster import Cluster

DAEMON, TRAINER = 64001, 64002


def as_daemon(capabilities: str) -> tuple[str, ...]:
    """Return what a command begins with that runs as the shipped unit does."""
    return (
        "setpriv",
        f"--reuid={DAEMON}",
        f"--regid={DAEMON}",
        "--clear-groups",
        f"--inh-caps=-all{capabilities}",
        f"--ambient-caps=-all{capabilities}",
        f"--bounding-set=-all{capabilities}",
        "--no-new-privs",
    )


def can_be_two_users(capabilities: str = "") -> bool:
    """Return whether another user can use this Python, with some capabilities."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    importing = [*as_daemon(capabilities), sys.executable, "-c", "import ckptd.cli.daemon"]
    return not subprocess.run(importing, capture_output=True, check=False).returncode


def as_trainer(work: Callable[[], object], *, groups: Sequence[int] = ()) -> None:
    """Do something as the job's user; what fails there fails here."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(list(groups))
            os.setgid(TRAINER)
            os.setuid(TRAINER)
            work()
            code = 0
        except BaseException:  # noqa: BLE001  the test is in the parent
            sys.stderr.write(f"as the trainer: {traceback.format_exc()}\n")
            sys.stderr.flush()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@contextmanager
def cluster_of_two_users() -> Iterator[Cluster]:
    """Open a cluster where other users reach its files."""
    directory = Path(tempfile.mkdtemp(prefix="ckptd-users-"))
    try:
        directory.chmod(0o755)
        with Cluster(directory) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)
