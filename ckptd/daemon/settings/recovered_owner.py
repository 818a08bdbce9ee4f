"""Looks up whose recovered files become, and checks that this process can give them away."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from ckptd.config import Config
from ckptd.config.sections import RecoverySection, RootRecovery
from ckptd.daemon.settings.access import find_groups, find_users
from ckptd.errors import ConfigurationError
from ckptd.store.trees.ownership import REMEDY, Owner, giving_obstacle

_GROUP_READS: Final = 0o040


def find_owners(config: Config) -> Mapping[str, Owner | None]:
    """Return for each root whose recovered files become; ``None``: they stay this process's.

    May ask a directory service.

    Raises:
        ConfigurationError: An account is not known, or root, or this process could neither serve
            nor remove what is theirs.
    """
    everywhere = find_owner(*said_of(config.recovery))
    own = {root: find_owner(*said_of(config.recovery, root)) for root in config.recovery.roots}
    return {root: own.get(root, everywhere) for root in config.roots}


def said_of(recovery: RecoverySection, root: str | None = None) -> tuple[str, RootRecovery]:
    """Return what counts for a root, ``None`` for those that are not named, and where it stands."""
    if root is not None and root in recovery.roots:
        return f"recovery.roots.{root}", recovery.roots[root]
    said = RootRecovery(mode=recovery.mode, owner=recovery.owner, group=recovery.group)
    return "recovery", said


def find_owner(place: str, said: RootRecovery) -> Owner | None:
    """Return whose files become what one section says; ``None``: they stay this process's.

    Args:
        place: The section, for errors.
        said: What it says.

    Raises:
        ConfigurationError: See :func:`find_owners`.
    """
    if not said.owner and not said.group:
        return None
    uid = gid = None
    if said.owner:
        uid = find_users(f"{place}.owner", (said.owner,))[said.owner]
        if uid == 0:
            raise ConfigurationError(
                f"{place}.owner", "is root, to whom nothing from elsewhere goes", "Name the job's."
            )
    if said.group:
        gid = find_groups(f"{place}.group", (said.group,))[said.group]
        if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
            raise ConfigurationError(
                f"{place}.group",
                f"the daemon is no member of {said.group!r}, and reads, repairs and removes "
                "what it recovered as one",
                "Add its user ('usermod -aG'), or take it out: the group is the daemon's then.",
            )
    owner = Owner(uid, gid)
    if owner.is_other and not int(said.mode, 8) & _GROUP_READS:
        raise ConfigurationError(
            f"{place}.mode",
            f"is {said.mode}: the daemon could not read what belongs to {said.owner!r}",
            'Write "0640".',
        )
    return owner


def check_giving(recovery: RecoverySection, owners: Mapping[str, Owner | None]) -> None:
    """Check that this process may give files to owners; another process may or may not.

    Args:
        recovery: Names the keys.
        owners: What :func:`find_owners` returned.

    Raises:
        ConfigurationError: It may not.
    """
    for root, owner in owners.items():
        obstacle = "" if owner is None else giving_obstacle(owner)
        if owner is not None and obstacle:
            place, _ = said_of(recovery, root)
            key = "owner" if owner.is_other else "group"
            raise ConfigurationError(f"{place}.{key}", obstacle, REMEDY)
