"""Who connects to a control socket, and as what."""

import contextlib
import encodings.ascii  # noqa: F401 -- Python's own files may be closed to somebody else
import os
from collections.abc import Iterator

from ckptd.control.roles import Members, Roles
from ckptd.model.words import Role

NOBODY = 65534
NOT_US = 4_000_000_000
"""A user that no test runs as."""


@contextlib.contextmanager
def acting_as(uid: int, gid: int, groups: list[int]) -> Iterator[None]:
    """Connect as somebody else; only root can."""
    group, own_groups = os.getegid(), os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(own_groups)


@contextlib.contextmanager
def ordinary_user() -> Iterator[int]:
    """Be somebody who is not root: oneself, or nobody."""
    if os.geteuid() != 0:
        yield os.geteuid()
        return
    with acting_as(NOBODY, NOBODY, []):
        yield NOBODY


def roles_of(uid: int, role: Role) -> Roles:
    """Return roles in which a user has exactly this one."""
    members = {Role.VIEWER: Members({"somebody": NOT_US}, {})}
    if role is not Role.STRANGER:
        members[role] = Members({"the caller": uid}, {})
    return Roles(NOT_US, members)
