"""Whether this process may write to a directory and, if not, what somebody has to type."""

from __future__ import annotations

import os
import pwd
import shlex
from functools import cache

from ckptd.store.files import confined


@cache
def user_name() -> str:
    """Return the name of the user that this process is, or its number if that has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except (KeyError, OSError):
        return str(os.geteuid())


def writing_obstacle(directory: int) -> str:
    """Say why this process may not make files in an open directory; empty if it may.

    Whether the file system takes writes at all is another question.

    Args:
        directory: Open.

    Raises:
        OSError: The file system does not answer.
    """
    if confined.may_write(directory):
        return ""
    facts = os.fstat(directory)
    return f"{_refusal()} (owner {facts.st_uid}, mode {facts.st_mode & 0o7777:04o})"


def writing_remedy(obstacle: str, path: str) -> str:
    """Return the commands after one of which this process may write to a directory.

    Args:
        obstacle: What is in its way; of another one nothing is known here.
        path: The directory.
    """
    if not obstacle.startswith(_refusal()):
        return ""
    user, quoted = shlex.quote(user_name()), shlex.quote(path)
    return (
        f"Run 'chown {user} {quoted}' or, where a job owns it, 'setfacl -m u:{user}:rwx {quoted}'."
    )


def _refusal() -> str:
    return f"user {user_name()} may not write to it"
