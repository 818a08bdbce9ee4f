"""The directories that are the daemon's own: that none is another one, and writing to no others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from ckptd.config import Config, is_within
from ckptd.errors import ConfigurationError, StorageError
from ckptd.model.words import ConfinementState
from ckptd.observe.logs import get_logger
from ckptd.store.files.confined import open_configured
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.landlock import Confinement, confine_writing
from ckptd.store.files.roots import Root, Roots

_ROOT_MODE: Final = 0o755
"""Of a directory that is not there: others may reach the socket, whose own mode says who may open
it, and put nothing beside it."""

REMEDIES: Final = {
    ConfinementState.DISABLED: "Name landlock in lsm= on the kernel's command line.",
    ConfinementState.FORBIDDEN: "Permit landlock_create_ruleset, landlock_add_rule and "
    "landlock_restrict_self, as SystemCallFilter= of the unit that comes with ckptd does; "
    "in a container, in its seccomp profile.",
}
"""How a daemon comes to be confined that could be."""

_HOMES: Final = ("/home", "/root", "/run/user")
"""What ``ProtectHome=yes`` hides: systemd.exec(5)."""
_HOME: Final = (
    "If it is there, the service does not see it: set ProtectHome=no in a drop-in, with "
    "ReadWritePaths= for the root, and restart ckptd."
)

_log = get_logger()


def confine_daemon(config: Config, roots: Roots) -> Confinement:
    """Give up writing anywhere but to the roots, the state directory and the control socket's.

    Called before the first thread is started: threads inherit it. A daemon that could be
    confined and is not warns of it.

    Raises:
        CkptdError: One of the directories cannot be opened, or the kernel refused.
    """
    control = os.path.dirname(config.listen.control)
    with ExitStack() as stack:
        directories = [root.open_directory("") for root in roots]
        for fd in directories:
            stack.callback(os.close, fd)
        # The socket's directory is made like that of the state: both are the daemon's own.
        for path in (config.node.state_dir, control):
            with mapping_os_errors(f"directory {path}"):
                directories.append(open_configured(path, create_mode=_ROOT_MODE))
            stack.callback(os.close, directories[-1])
        confinement = confine_writing(directories)
    match confinement.state:
        case ConfinementState.CONFINED:
            _log.info("daemon.confined")
        case ConfinementState.ABSENT:
            _log.info("daemon.not_confined", why=reason(confinement))
        case ConfinementState.DISABLED | ConfinementState.FORBIDDEN:
            why, hint = reason(confinement), REMEDIES[confinement.state]
            _log.warning("daemon.not_confined", why=why, hint=hint)
    return confinement


def reason(confinement: Confinement) -> str:
    """Say why the daemon is not confined; empty if it is."""
    match confinement.state:
        case ConfinementState.CONFINED:
            return ""
        case ConfinementState.ABSENT:
            return "this kernel has no Landlock, or one that is too old (Linux 5.19 is needed)"
        case ConfinementState.DISABLED:
            return "this kernel has Landlock switched off"
        case ConfinementState.FORBIDDEN:
            return f"a filter of system calls forbids Landlock: {confinement.refusal}"


def open_root(name: str, path: str, environ: Mapping[str, str]) -> Root:
    """Open a root; where a service manager may hide it, say so.

    Args:
        name: What the configuration calls it.
        path: Where it is.
        environ: Says whether there is a service manager, by ``NOTIFY_SOCKET``.

    Raises:
        StorageError: It is missing, no directory, or not accessible.
    """
    try:
        return Root.open(name, path)
    except StorageError as error:
        if "NOTIFY_SOCKET" in environ and any(is_within(path, home) for home in _HOMES):
            raise StorageError(
                error.subject, f"{error.problem}, for this service", _HOME
            ) from error
        raise


def check_reach(roots: Roots, environ: Mapping[str, str]) -> None:
    """Refuse to start where a new start will do better.

    A service manager makes the mounts of a service before the service starts. A root that appears
    between that and now stays read-only for this process, and is not for the next one. So it can
    happen once only: by then the root is older than the process.

    Args:
        roots: All roots, open.
        environ: Says whether there is a service manager, by ``NOTIFY_SOCKET``.

    Raises:
        StorageError: A root has come too late.
    """
    if "NOTIFY_SOCKET" not in environ:
        return
    for root in roots:
        if root.has_come_too_late():
            raise StorageError(
                f"root {root.name!r} at {root.path}",
                "appeared while ckptd was starting, and is read-only for this process",
                "The service manager starts ckptd again; else restart it.",
            )


def check_places(config: Config) -> None:
    """Refuse a directory that is another one, or in it, by way of symbolic links.

    The file was checked for what stands there; here it is about what is on the disk.

    Raises:
        ConfigurationError: A root overlaps the state directory or another root.
    """
    for error in overlaps(config):
        raise error


def overlaps(config: Config) -> Iterator[ConfigurationError]:
    """Yield what :func:`check_places` refuses."""
    taken = {"node.state_dir": os.path.realpath(config.node.state_dir)}
    for name, path in config.roots.items():
        real = os.path.realpath(path)
        for other, place in taken.items():
            if is_within(real, place) or is_within(place, real):
                yield ConfigurationError(
                    f"roots.{name}",
                    f"{path} is {real}, which overlaps {other} = {place}",
                    "Give each a directory of its own, none inside another.",
                )
        taken[f"roots.{name}"] = real
