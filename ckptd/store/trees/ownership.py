"""Gives what a recovery made to the owner that the configuration names: the last thing done to it.

Afterwards this process is no owner of it any more, and reads, repairs and removes it as a member of
its group. Owners are never taken from a peer.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, NamedTuple

from ckptd.errors import StorageError

REMEDY: Final = (
    "Let it: deploy/systemd/ckptd.service.d/40-owner.conf has the capability (CAP_CHOWN) and the "
    "system call. Or take [recovery] owner out."
)


class Owner(NamedTuple):
    """Whose the files and directories of a version become.

    Attributes:
        uid: The user; ``None``: they stay this process's.
        gid: The group, one of this process's; ``None``: the one that they have if it is one of
            these, else the first of them.
    """

    uid: int | None = None
    gid: int | None = None

    @property
    def is_other(self) -> bool:
        """This process reads and changes what it gave away as a member of the group alone."""
        return self.uid is not None and self.uid != os.geteuid()

    def has(self, facts: os.stat_result) -> bool:
        """Return whether something is theirs already."""
        return self.uid in {None, facts.st_uid} and self._group_of(facts) == facts.st_gid

    def _group_of(self, facts: os.stat_result) -> int:
        if self.gid is not None:
            return self.gid
        is_ours = facts.st_gid in {os.getegid(), *os.getgroups()}
        return facts.st_gid if self.uid is None or is_ours else os.getegid()

    def give(self, fd: int) -> None:
        """Give them what is open.

        Args:
            fd: A descriptor of what this recovery made.

        Raises:
            StorageError: It is somebody else's or has a second name, or this process may not.
            OSError: The system refused.
        """
        facts = os.fstat(fd)
        if self.has(facts):
            return
        is_linked = stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1
        if is_linked or facts.st_uid not in {os.geteuid(), self.uid}:
            raise StorageError(
                "a recovered file", "was linked or replaced while it was finished", "Recover again."
            )
        uid = -1 if self.uid is None else self.uid
        try:
            os.fchown(fd, uid, self._group_of(facts))
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EINVAL}:
                raise
            problem = f"the daemon may not give files to uid {uid}, gid {self._group_of(facts)}"
            raise StorageError("owner of recovered files", problem, REMEDY) from error

    def take_back(self, fd: int) -> None:
        """Make this process the owner of what an earlier run gave away and did not place.

        Raises:
            OSError: The system refused.
        """
        facts = os.fstat(fd)
        if self.is_other and facts.st_uid == self.uid:
            os.fchown(fd, os.geteuid(), -1)


def giving_obstacle(owner: Owner) -> str:
    """Return why this process could not give files to an owner; empty if it can.

    It is tried, with a file in memory: capabilities, filters of system calls and namespaces all
    count. A file system may refuse all the same (NFS).
    """
    try:
        fd = os.memfd_create("ckptd-owner")
        try:
            owner.give(fd)
        finally:
            os.close(fd)
    except StorageError as error:
        return error.problem
    except OSError as error:
        return f"this cannot be tried: {error.strerror or error}"
    return ""
