"""Whether this process may write to a directory, or read a file; else what somebody has to type."""

from __future__ import annotations

import os
import pwd
import shlex
from functools import cache

from ckptd.errors import StorageError
from ckptd.store.files import confined
from ckptd.store.files.kernel import storage_error


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


def check_writable(path: str, *, is_optional: bool) -> None:
    """Check that this process may write to a directory, or may make it.

    Args:
        path: The directory, absolute.
        is_optional: It may be missing: somebody else makes it before it is needed.

    Raises:
        StorageError: It may not.
    """
    subject = f"directory {path}"
    existing, fd = path, -1
    while fd < 0:
        try:
            fd = confined.open_configured(existing)
        except FileNotFoundError:
            if is_optional:
                return
            existing = os.path.dirname(existing)
        except OSError as error:
            raise storage_error(subject, error) from error
    try:
        obstacle = writing_obstacle(fd)
    finally:
        os.close(fd)
    if not obstacle:
        return
    remedy = writing_remedy(obstacle, path)
    if existing == path:
        raise StorageError(subject, obstacle, remedy)
    user, quoted = shlex.quote(user_name()), shlex.quote(path)
    raise StorageError(
        subject,
        f"does not exist, and of {existing}: {obstacle}",
        f"Run 'install -d -m 0750 -o {user} {quoted}'.",
    )


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


def entering_remedy(directory: str) -> str:
    """Return the command that lets this process through a directory, and no more.

    Args:
        directory: Its path.
    """
    return f"Run 'setfacl -m u:{_quoted_user()}:x {shlex.quote(directory)}' as its owner."


def reading_remedy(directory: str, parent: str) -> str:
    """Return the commands after which this process may read all that is in a directory.

    An access list that a directory hands on is cut down by the mode with which a program makes a
    file, not by its umask: for who makes files with 0600 it does nothing.

    Args:
        directory: Its path.
        parent: That of the directory to which its like will come.
    """
    user, quoted = _quoted_user(), shlex.quote(directory)
    return (
        f"Run 'setfacl -R -m u:{user}:rX {quoted}' as their owner; for what will come, once "
        f"'setfacl -m d:u:{user}:rX {shlex.quote(parent)}', which does not reach files that are "
        "made with mode 0600, as safetensors makes its: they need the first command after a save."
    )


def _quoted_user() -> str:
    return shlex.quote(user_name())


def _refusal() -> str:
    return f"user {user_name()} may not write to it"
