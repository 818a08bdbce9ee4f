"""Who may do what on the control socket.

Each role may do what the roles below it may. Root and the daemon's own user are admins; everybody
else has the highest role for which the section ``[control]`` of the configuration lists their user
or one of their groups. A caller who is not listed is a viewer if no viewers are listed: then the
mode of the socket decides who can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ckptd.errors import NotPermitted
from ckptd.model.words import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """The process at the other end, as it was when it connected.

    Attributes:
        uid: Its effective user.
        gids: Its effective group and its supplementary ones.
    """

    uid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Members:
    """The users and groups that have a role: the name in the configuration → the number."""

    users: Mapping[str, int]
    groups: Mapping[str, int]

    def __contains__(self, caller: Caller) -> bool:
        return caller.uid in self.users.values() or not caller.gids.isdisjoint(self.groups.values())

    def __bool__(self) -> bool:
        return bool(self.users or self.groups)


_NONE: Final = Members({}, {})


@dataclass(frozen=True, slots=True)
class Roles:
    """The role of each user.

    Attributes:
        daemon_uid: The daemon's own user.
        members: The users and groups that the configuration lists for each role.
    """

    daemon_uid: int
    members: Mapping[Role, Members]

    def role_of(self, caller: Caller) -> Role:
        """Return the highest role of a caller."""
        if caller.uid in {0, self.daemon_uid}:
            return Role.ADMIN
        for role in (Role.ADMIN, Role.OPERATOR, Role.VIEWER):
            if caller in self._members(role):
                return role
        return Role.STRANGER if self._members(Role.VIEWER) else Role.VIEWER

    def check(self, caller: Caller, needed: Role, *, verb: str, user: str = "") -> None:
        """Check that a caller has a role.

        Args:
            caller: Who asks.
            needed: The lowest role that may.
            verb: What for.
            user: The caller's name; empty if it is not known.

        Raises:
            NotPermitted: The caller has a lower role. The error names both and how to get it.
        """
        role = self.role_of(caller)
        if role >= needed:
            return
        name = f"uid {caller.uid} ({user})" if user else f"uid {caller.uid}"
        raise NotPermitted(
            "permission denied",
            f"{name} is '{role}'; '{verb}' needs '{needed}'",
            self._remedy(needed),
        )

    def _remedy(self, role: Role) -> str:
        groups = self._members(role).groups
        if groups:
            return f"Ask an admin to add you to group {next(iter(groups))} (control.{role}_groups)."
        return f"Ask an admin to name you in control.{role}_users and to run 'ckptctl reload'."

    def _members(self, role: Role) -> Members:
        return self.members.get(role, _NONE)
