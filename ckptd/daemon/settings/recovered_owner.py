"""Looks up whose recovered files become, and checks that this process can give them away."""

from __future__ import annotations

import os
from typing import Final

from ckptd.config.sections import RecoverySection
from ckptd.daemon.settings.access import find_groups, find_users
from ckptd.errors import ConfigurationError
from ckptd.store.trees.ownership import REMEDY, Owner, giving_obstacle

_GROUP_READS: Final = 0o040


def find_owner(recovery: RecoverySection) -> Owner | None:
    """Return whose recovered files become; ``None``: they stay this process's.

    May ask a directory service.

    Raises:
        ConfigurationError: An account is not known, or root, or this process could neither serve
            nor remove what is theirs.
    """
    if not recovery.owner and not recovery.group:
        return None
    uid = gid = None
    if recovery.owner:
        uid = find_users("recovery.owner", (recovery.owner,))[recovery.owner]
        if uid == 0:
            raise ConfigurationError(
                "recovery.owner", "is root, to whom nothing from elsewhere goes", "Name the job's."
            )
    if recovery.group:
        gid = find_groups("recovery.group", (recovery.group,))[recovery.group]
        if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
            raise ConfigurationError(
                "recovery.group",
                f"the daemon is no member of {recovery.group!r}, and reads, repairs and removes "
                "what it recovered as one",
                "Add its user ('usermod -aG'), or take it out: the group is the daemon's then.",
            )
    owner = Owner(uid, gid)
    if owner.is_other and not int(recovery.mode, 8) & _GROUP_READS:
        raise ConfigurationError(
            "recovery.mode",
            f"is {recovery.mode}: the daemon could not read what belongs to {recovery.owner!r}",
            'Write "0640".',
        )
    return owner


def check_giving(owner: Owner | None) -> None:
    """Check that this process may give files to an owner; another process may or may not.

    Raises:
        ConfigurationError: It may not.
    """
    obstacle = "" if owner is None else giving_obstacle(owner)
    if owner is not None and obstacle:
        key = "recovery.owner" if owner.is_other else "recovery.group"
        raise ConfigurationError(key, obstacle, REMEDY)
