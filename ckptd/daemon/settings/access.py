"""Looks up the accounts that the configuration names, at the start and when it changes."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable

from ckptd.config import Config
from ckptd.config.sections import ControlSection
from ckptd.control.roles import Members, Roles
from ckptd.daemon.settings.reloading import Switch
from ckptd.errors import ConfigurationError
from ckptd.model.words import Role


class Access:
    """Who may do what at the moment.

    Attributes:
        roles: Asked by the control socket for every request.
    """

    def __init__(self, roles: Roles) -> None:
        self.roles = roles

    def prepare(self, _: Config, new: Config) -> Switch:
        """Look up the accounts of a new configuration; see :class:`LivePart`."""
        found = find_roles(new.control)

        def switch() -> None:
            self.roles = found

        return switch


def find_roles(control: ControlSection) -> Roles:
    """Return who is what on the control socket; may ask a directory service.

    Raises:
        ConfigurationError: A name is not known. Leaving it out would grant something else than
            what is written.
    """
    members: dict[Role, Members] = {}
    for role in (Role.ADMIN, Role.OPERATOR, Role.VIEWER):
        users: tuple[str, ...] = getattr(control, f"{role}_users")
        groups: tuple[str, ...] = getattr(control, f"{role}_groups")
        members[role] = Members(
            find_users(f"control.{role}_users", users),
            find_groups(f"control.{role}_groups", groups),
        )
    return Roles(os.geteuid(), members)


def find_users(key: str, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of users; may ask a directory service.

    Raises:
        ConfigurationError: A name is not known.
    """
    return _find(key, "user", names, lambda name: pwd.getpwnam(name).pw_uid)


def find_groups(key: str, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of groups; may ask a directory service.

    Raises:
        ConfigurationError: A name is not known.
    """
    return _find(key, "group", names, lambda name: grp.getgrnam(name).gr_gid)


def _find(
    key: str, kind: str, names: Iterable[str], number_of: Callable[[str], int]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        if name.isdecimal():
            found[name] = int(name)
            continue
        try:
            found[name] = number_of(name)
        except (KeyError, OSError) as error:
            raise ConfigurationError(
                key,
                f"{kind} {name!r} is not known on this machine",
                f"Create it, write its number, or take it out; 'getent' lists every {kind}.",
            ) from error
    return found
