"""Files that their owner opened for this process, which may not open them itself.

A job's file may be the job's alone (mode 0600). Whoever publishes it passes a descriptor; here it
is judged, kept, and lent wherever the file is opened by its name. A name leads to a descriptor only
if the very inode that is open stands there: passing makes nothing readable that is not below a
root, and nothing under another name.

What is passed shares its position and its flags with the passer. So nothing here reads at the
position, and flags are looked at again each time a descriptor is lent.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.errors import StorageError
from ckptd.limits import PASSED_BYTES_MAX, PASSED_FILES_MAX
from ckptd.store.files.kernel import (
    LOCAL_FILE_SYSTEMS,
    OVERLAY_MAGIC,
    Known,
    file_system_type,
    known_of,
)

PASSED_NAME: Final = "passed"
"""What names of descriptors that the service manager keeps begin with."""

_DESCRIPTORS_SHARE: Final = 4
"""No more than one in so many descriptors of this process is kept."""
_ACCEPTED: Final = LOCAL_FILE_SYSTEMS | {OVERLAY_MAGIC}

_HOW_TO: Final = "Pass what 'ckptctl publish' passes, or let the daemon open the file itself."
_ENOUGH: Final = "Let versions go ('ckptctl forget'), or let the daemon open the files: setfacl."


class Inode(NamedTuple):
    """A file, whatever its names."""

    device: int
    number: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Inode:
        """Return that of some facts."""
        return cls(facts.st_dev, facts.st_ino)


def objection(known: Known, flags: int, devices: Collection[int]) -> str:
    """Say why a descriptor is not taken; empty if it is, unless its file system is of a wrong kind.

    Args:
        known: What the kernel knows of its file.
        flags: Those it was opened with.
        devices: Those of the roots.
    """
    is_read = not flags & os.O_PATH and flags & os.O_ACCMODE == os.O_RDONLY
    rules = (
        (is_read, "is not open for reading only"),
        (not flags & os.O_DIRECT, "is open for direct access"),
        (stat.S_ISREG(known.mode), "is of no regular file"),
        (known.device in devices, "is of a file on another file system than the root"),
        (known.names > 0, "is of a file that has no name"),
        (
            not known.mode & (stat.S_ISUID | stat.S_ISGID),
            "is of a file with its setuid or setgid bit set",
        ),
    )
    return next((why for is_kept, why in rules if not is_kept), "")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A descriptor that was passed.

    Attributes:
        fd: It.
        uid: By whom.
        size_bytes: Of the file, when it was passed.
    """

    fd: int
    uid: int
    size_bytes: int


class PassedFiles:
    """Keeps descriptors of files, for all roots. Any thread may use it.

    Args:
        devices: Those of the roots.

    Attributes:
        on_kept: Called with each descriptor that is kept, and a name for it.
        on_closed: Called with the name of each that is not any more; must not wait.
    """

    def __init__(self, devices: Collection[int]) -> None:
        self._devices = frozenset(devices)
        self._kept: dict[Inode, _Kept] = {}
        self._pending: Counter[Inode] = Counter()
        self._unwanted: list[str] = []
        self._lock = threading.Lock()
        self.on_kept: Callable[[int, str], None] = lambda fd, name: None
        self.on_closed: Callable[[str], None] = lambda name: None

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, fd: int, uid: int, subject: str, standing: os.stat_result | None) -> Inode:
        """Keep a descriptor, until :meth:`settle` at least.

        Args:
            fd: It; taken over if it is kept, and closed if its file is kept already.
            uid: Who passed it.
            subject: The file, for messages.
            standing: What stands where the file is meant to be; ``None``: nothing does.

        Raises:
            StorageError: It is none that may be passed, or not of that file, or there are too many.
                It was not taken over, and closing it may take for ever.
        """
        known, why = self._judge(fd)
        inode = Inode(known.device, known.inode)
        if not why and (standing is None or Inode.of(standing) != inode):
            why = "is of another file than the one that stands there"
        if why:
            raise StorageError(subject, f"the descriptor that was passed for it {why}", _HOW_TO)
        with self._lock:
            is_new = inode not in self._kept
            if is_new:
                self._check_room(uid, known.size_bytes, subject)
                self._kept[inode] = _Kept(fd, uid, known.size_bytes)
            self._pending[inode] += 1
        if is_new:
            self.on_kept(fd, _name(inode, uid))
        else:
            os.close(fd)
        return inode

    def adopt(self, fd: int, name: str) -> bool:
        """Keep a descriptor that an earlier life of the daemon kept.

        Args:
            fd: It; taken over.
            name: What it was called then.

        Returns:
            Whether it is kept.
        """
        known, why = self._judge(fd)
        inode = Inode(known.device, known.inode)
        uid = name.removeprefix(f"{PASSED_NAME}-").partition("-")[0]
        with self._lock:
            is_fit = not why and uid.isdecimal() and name == _name(inode, int(uid))
            if is_fit and inode not in self._kept:
                self._kept[inode] = _Kept(fd, int(uid), known.size_bytes)
                return True
            if not is_fit or self._kept[inode].uid != int(uid):
                self._unwanted.append(name)  # else that would let go of the one that is kept
        os.close(fd)  # it was one of a root's file system once
        return False

    def _judge(self, fd: int) -> tuple[Known, str]:
        """Return what is known of a descriptor, and why it is not taken; empty if it is."""
        try:
            known = known_of(fd)
            why = objection(known, fcntl.fcntl(fd, fcntl.F_GETFL), self._devices)
            # Its file system is a root's by now: that answers.
            if not why and file_system_type(fd) not in _ACCEPTED:
                why = "is of a file on a network file system, or on one that a process serves"
        except OSError as error:
            return Known(0, 0, 0, 0, 0), f"cannot be looked at: {error.strerror or error}"
        return known, why

    def settle(self, inodes: Collection[Inode]) -> None:
        """What they were passed for has ended: whoever uses them says so by now."""
        with self._lock:
            self._pending.subtract(inodes)
            self._pending = +self._pending

    def has(self, facts: os.stat_result) -> bool:
        """Return whether a file is kept open."""
        return Inode.of(facts) in self._kept

    def lend(self, facts: os.stat_result) -> int | None:
        """Return a descriptor of a file, which the caller closes; ``None`` if there is none.

        Its position is shared with others: read with offsets.

        Raises:
            OSError: There is no descriptor left.
        """
        with self._lock:
            kept = self._kept.get(Inode.of(facts))
            if kept is None or fcntl.fcntl(kept.fd, fcntl.F_GETFL) & os.O_DIRECT:
                return None
            return os.dup(kept.fd)

    def keep_only(self, wanted: Collection[Inode]) -> int:
        """Close what nobody uses any more, and what has no name any more: its room is free then.

        Args:
            wanted: What is used.

        Returns:
            How many were closed.
        """
        with self._lock:
            going = [
                (inode, kept)
                for inode, kept in self._kept.items()
                if inode not in self._pending
                and (inode not in wanted or not known_of(kept.fd).names)
            ]
            for inode, _ in going:
                del self._kept[inode]
            unwanted, self._unwanted = self._unwanted, []
            # Before such a file can be passed again: its name would be let go of afterwards.
            for name in (*unwanted, *(_name(inode, kept.uid) for inode, kept in going)):
                self.on_closed(name)
        for _, kept in going:
            os.close(kept.fd)  # may take long: the last of a long file frees its room
        return len(going)

    def close(self) -> None:
        """Close all; the service manager keeps those that it was given."""
        with self._lock:
            while self._kept:
                os.close(self._kept.popitem()[1].fd)

    def _check_room(self, uid: int, size_bytes: int, subject: str) -> None:
        """Check that one more of a user may be kept.

        Raises:
            StorageError: There are too many, or they are too long together.
        """
        own = [kept for kept in self._kept.values() if kept.uid == uid]
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if len(own) >= PASSED_FILES_MAX:
            problem = f"uid {uid} has {len(own)} files passed already"
        elif sum(kept.size_bytes for kept in own) + size_bytes > PASSED_BYTES_MAX:
            problem = f"the files that uid {uid} has passed would come to more than "
            problem += f"{PASSED_BYTES_MAX} bytes"
        elif len(self._kept) >= limit // _DESCRIPTORS_SHARE:
            problem = f"{len(self._kept)} of {limit} descriptors keep files that were passed"
        else:
            return
        raise StorageError(subject, problem, _ENOUGH)


def _name(inode: Inode, uid: int) -> str:
    """Return how the service manager calls a descriptor."""
    return f"{PASSED_NAME}-{uid}-{inode.device}-{inode.number}"
