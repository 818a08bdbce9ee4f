"""Everything that a start checks and that needs no port, at once: for ``ckptd check-config``.

Nothing is made, locked or changed, so that it can be asked beside a daemon that runs. What the
state database holds is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from ckptd.config import Config
from ckptd.config.sections import DEFAULT_SOCKET, ControlSection, SignaturesSection
from ckptd.control.server.gate import check_directory
from ckptd.daemon.host.activation import CONTROL
from ckptd.daemon.host.confinement import open_root, overlaps
from ckptd.daemon.settings.access import find_roles
from ckptd.daemon.settings.congestion import check_congestion
from ckptd.daemon.settings.own_identity import open_identity
from ckptd.daemon.settings.recovered_owner import find_owner, said_of
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import CkptdError, StorageError
from ckptd.store.files.permission import check_writable, writing_remedy
from ckptd.store.records.database import StateDirectory

_MADE_BY_UNIT: Final = ("/var/lib/ckptd", os.path.dirname(DEFAULT_SOCKET))
"""What the unit that comes with ckptd makes at each start; it may be missing before."""


def start_errors(config: Config) -> tuple[CkptdError, ...]:
    """Return everything for which this process, as this user, would not start or be ready.

    Args:
        config: Checked by itself already. Blocks for a few small files, and for as long as the
            disks of the roots take to answer.
    """
    checks = _Checks()
    with checks.one():
        check_congestion(config)
    with checks.one():
        open_identity(config)
    signatures = config.signatures
    for section in (
        SignaturesSection(key=signatures.key),
        SignaturesSection(trusted=signatures.trusted, require=signatures.require),
    ):
        with checks.one():
            SignaturePolicy(section)
    for root in (None, *config.recovery.roots):
        with checks.one():
            find_owner(*said_of(config.recovery, root))
    for field in msgspec.structs.fields(ControlSection):
        for name in getattr(config.control, field.name):
            with checks.one():
                find_roles(ControlSection(**{field.name: (name,)}))
    checks.errors += overlaps(config)
    for directory, check in (
        (config.node.state_dir, StateDirectory.check),
        (os.path.dirname(config.listen.control), lambda path: _check_socket(config, path)),
    ):
        with checks.one():
            check_writable(directory, is_optional=directory in _MADE_BY_UNIT)
            check(directory)
    for name, path in config.roots.items():
        with checks.one():
            _check_root(config, name, path)
    return tuple(checks.errors)


class _Checks:
    """Errors of checks that are made one after the other, whatever came of those before."""

    def __init__(self) -> None:
        self.errors: list[CkptdError] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Keep the error of what is done inside, and those that come with it."""
        try:
            yield
        except CkptdError as error:
            others: Sequence[CkptdError] = getattr(error, "others", ())
            self.errors += [error, *others]


def _check_socket(config: Config, _: str) -> None:
    names = config.environment.get("LISTEN_FDNAMES", "").split(":")
    if CONTROL not in names:
        check_directory(config.listen.control)


def _check_root(config: Config, name: str, path: str) -> None:
    root = open_root(name, path, config.environment)
    try:
        obstacle = root.obstacle()
    finally:
        root.close()
    if obstacle:
        subject = f"roots.{name} {path}"
        raise StorageError(subject, obstacle, writing_remedy(obstacle, path))
