"""Sockets that the service manager made: ``sd_listen_fds(3)`` without the library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from ckptd.errors import ConfigurationError
from ckptd.store.files.passed_files import PASSED_NAME

CONTROL: Final = "control"
DATA: Final = "data"
METRICS: Final = "metrics"

_FIRST_FD: Final = 3
_OF_FILES: Final = f"{PASSED_NAME}-"
_FAMILIES: Final = {
    CONTROL: {socket.AF_UNIX},
    DATA: {socket.AF_INET, socket.AF_INET6},
    METRICS: {socket.AF_INET, socket.AF_INET6},
}


def inherited_files(
    environ: Mapping[str, str], *, first_fd: int = _FIRST_FD
) -> list[tuple[int, str]]:
    """Return the descriptors that an earlier life let the service manager keep, with their names.

    Args:
        environ: As for :func:`inherited_sockets`.
        first_fd: Where all begin.
    """
    found = []
    for fd, name in _handed(environ, first_fd):
        if name.startswith(_OF_FILES):
            os.set_inheritable(fd, False)  # noqa: FBT003 (its only form)
            found.append((fd, name))
    return found


def _handed(environ: Mapping[str, str], first_fd: int) -> list[tuple[int, str]]:
    """Return what was handed to this process, with its name."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    return [(first_fd + index, names[index]) for index in range(int(count))]


def inherited_sockets(
    environ: Mapping[str, str], *, first_fd: int = _FIRST_FD
) -> dict[str, socket.socket]:
    """Return the sockets that were handed to this process, by ``FileDescriptorName=``.

    Args:
        environ: ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES`` are read.
        first_fd: Where they begin.

    Raises:
        ConfigurationError: One has a name nobody asks for, the name of another one, or is no
            listening socket of the right kind.
    """
    found: dict[str, socket.socket] = {}
    try:
        for fd, name in _handed(environ, first_fd):
            if name.startswith(_OF_FILES):
                continue
            if name not in _FAMILIES or name in found:
                raise _refusal(name, "has an unknown name, or stands there twice")
            found[name] = _adopt(name, fd)
    except ConfigurationError:
        for taken in found.values():
            taken.close()
        raise
    return found


def _adopt(name: str, fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)  # noqa: FBT003 (its only form)
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise _refusal(name, f"is not there: {error.strerror or error}") from error
    is_listening = adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if adopted.family not in _FAMILIES[name] or adopted.type != socket.SOCK_STREAM:
        adopted.close()
        raise _refusal(name, "is of the wrong kind")
    if not is_listening:
        adopted.close()
        raise _refusal(name, "does not listen")
    adopted.settimeout(0)
    return adopted


def _refusal(name: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"inherited socket {name!r}",
        problem,
        "Set FileDescriptorName= in the .socket unit to one of "
        f"{', '.join(_FAMILIES)}, one ListenStream= each.",
    )
