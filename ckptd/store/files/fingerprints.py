"""Fingerprints of files, taken when their bytes were hashed, so that a change is noticed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final, NamedTuple

from ckptd.errors import StorageError

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
"""Of a directory: others than its owner may make names in it. Access lists count as the group."""


class Fingerprint(NamedTuple):
    """Facts of a file that change when it is written to or replaced.

    Attributes:
        device: Number of its file system when it was hashed; kept and not compared, because the
            kernel draws another one when a volume is attached again.
        inode: Its number there.
        size_bytes: Its length.
        mtime_ns: When its content changed last, as its owner says.
        ctime_ns: When anything of it changed last, as the kernel says.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class UnitFile(NamedTuple):
    """The file of a unit.

    Attributes:
        fingerprint: What it was when it was hashed.
        link_target: Where it really lies, relative to the root, if the unit's path is a
            symbolic link; otherwise empty.
        is_wrong: It was hashed again, and was not what was published: however it looks, it is
            not served before it was found right.
        plain_bytes: How long the unit is whose content the file has compressed; 0: it has it as it
            is.
    """

    fingerprint: Fingerprint
    link_target: str = ""
    is_wrong: bool = False
    plain_bytes: int = 0

    @property
    def is_compressed(self) -> bool:
        """It has the unit's content compressed."""
        return bool(self.plain_bytes)


def fingerprint_of(facts: os.stat_result) -> Fingerprint:
    """Return the fingerprint of a file."""
    return Fingerprint(
        facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    )


def is_unchanged(facts: os.stat_result, expected: Fingerprint) -> bool:
    """Return whether a file is what it was when it was hashed, and still has a name."""
    is_same = fingerprint_of(facts)._replace(device=expected.device) == expected
    return is_same and facts.st_nlink > 0


def check_plain(
    facts: os.stat_result,
    directory: os.stat_result,
    subject: str,
    doubt: Callable[[], str],
) -> None:
    """Check that a file may be served to others.

    The file of a second name may be anywhere: a user could link to a file that the daemon may
    read and he may not, and have it published. So a second name is taken only where nobody but the
    file's owner, and root, can have made the one that is published, or only who may read and write
    the file. The setuid and setgid bits would be lost at the receiver without notice.

    Args:
        facts: Of the file.
        directory: Of the directory in which it was found.
        subject: The file, for messages.
        doubt: Says why anybody may have made a name, empty if nobody can have: asked where the
            directory does not rule it out.

    Raises:
        StorageError: It has names that somebody else may have made, or its setuid or setgid bit
            is set.
    """
    is_owners = directory.st_uid == facts.st_uid and not directory.st_mode & _OTHERS_WRITE
    if facts.st_nlink > 1 and not is_owners and (why := doubt()):
        raise StorageError(
            subject,
            f"has {facts.st_nlink} names (hard links), others than its owner may write to the "
            f"directory, and {why}",
            "Close that to others (chmod go-w, and the same owner as the file), or publish a copy.",
        )
    if facts.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise StorageError(subject, "has its setuid or setgid bit set", "Take it away: chmod ug-s.")
