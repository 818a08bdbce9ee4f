"""What a file or directory of a version gets last: its mode, modification time and owner.

By the version's attribute document if there is one, and never more than this node permits; else it
is its owner's alone. All of it happens on a descriptor of what this recovery made, before it gets
its final name; the manifest alone says what may be executed.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

from ckptd.model.attributes import FILE_MODE_BITS, Attributes
from ckptd.model.manifest import Manifest
from ckptd.store.files.kernel import set_modified
from ckptd.store.trees.ownership import Owner

MODE_MAX: Final = 0o775
"""What a node permits unless it is configured: that anybody may write must be said here."""

_PRIVATE_MODE: Final = 0o600
_EXECUTE_BITS: Final = 0o111
_OWNER_READS: Final = 0o400
"""The daemon serves it, and looks at it."""
_OWNER_WRITES: Final = 0o200
_OWNER_USES: Final = 0o700
"""A directory that its owner cannot write could neither be renamed nor repaired."""
_GROUP_READS: Final = 0o040
"""What belongs to another user the daemon reads, and changes, as a member of its group."""
_GROUP_USES: Final = 0o070
_HANDED_ON: Final = stat.S_ISGID | stat.S_ISVTX


class Finish(NamedTuple):
    """What one file or directory gets.

    Attributes:
        mode: Its mode.
        mtime_ns: When it was modified; ``None``: nobody knows, it stays as it is.
    """

    mode: int
    mtime_ns: int | None = None

    def is_given_to(self, facts: os.stat_result) -> bool:
        """Return whether a file or directory has all of it."""
        has_time = self.mtime_ns is None or facts.st_mtime_ns == self.mtime_ns
        return stat.S_IMODE(facts.st_mode) == self.mode and has_time

    def give_to(self, fd: int, *, is_written_again: bool = False) -> None:
        """Give it to what is open; nothing may be written to it afterwards.

        Args:
            fd: A descriptor of what this recovery made.
            is_written_again: The same bytes may come once more; it stays open to its owner.

        Raises:
            OSError: Refused.
        """
        mode = self.mode | _OWNER_WRITES if is_written_again else self.mode
        try:
            os.fchmod(fd, mode)
        except PermissionError:
            if not mode & stat.S_ISGID:
                raise
            os.fchmod(fd, mode & ~stat.S_ISGID)  # RestrictSUIDSGID= of systemd.exec(5)
        if self.mtime_ns is not None:
            set_modified(fd, self.mtime_ns)


class Finishing:
    """How the files and directories of a version are finished.

    Args:
        manifest: What the version consists of.
        attributes: Its attribute document, checked against the manifest; ``None``: there is none.
        mode_max: No file and no directory gets bits beyond these; who may read may also execute,
            if anybody may, and enter directories.
        owner: Whose everything becomes; ``None``: it stays as it is made.
    """

    def __init__(
        self,
        manifest: Manifest,
        attributes: Attributes | None = None,
        mode_max: int = MODE_MAX,
        owner: Owner | None = None,
    ) -> None:
        self._manifest = manifest
        self._owner = owner
        self._is_other = owner is not None and owner.is_other
        self._attributes = attributes
        self._permitted = mode_max | (mode_max & 0o444) >> 2
        self._standing: dict[int, Finish] = {}
        self._entries: dict[str, int] = {}
        if attributes is not None:
            first = attributes.unit_count
            self._entries = {path: first + at for at, path in enumerate(attributes.directories)}

    @property
    def has_attributes(self) -> bool:
        """It is known what the publisher's files and directories had."""
        return self._attributes is not None

    def keep(self, unit: int, facts: os.stat_result, mtime_ns: int | None) -> None:
        """Give a unit's file the mode of the one whose place it takes: that is this node's own.

        Args:
            unit: Which one.
            facts: Of what stands there; anything but a file counts for nothing.
            mtime_ns: When it was modified, if nobody did so since it was recorded; it counts
                where there is no attribute document.
        """
        if stat.S_ISREG(facts.st_mode):
            said = self._attributes
            time_ns = mtime_ns if said is None else said.mtime_ns(unit)
            mode = facts.st_mode & FILE_MODE_BITS | _OWNER_READS
            self._standing[unit] = Finish(self._opened(mode, _GROUP_READS), time_ns)

    def _opened(self, mode: int, bits: int) -> int:
        return mode | bits if self._is_other else mode

    def give(self, fd: int, last: Finish) -> None:
        """Give all of it to what is open, the owner at the very end.

        Args:
            fd: A descriptor of what this recovery made.
            last: What :meth:`of_unit` or :meth:`of_directory` say.

        Raises:
            StorageError: It cannot be given to the owner.
            OSError: Refused.
        """
        if self._owner is None:
            last.give_to(fd)
            return
        if not self.is_given(last, os.fstat(fd)):
            self._owner.take_back(fd)
            last.give_to(fd)
            self._owner.give(fd)

    def is_given(self, last: Finish, facts: os.stat_result) -> bool:
        """Return whether a file or directory has all of it, and its owner."""
        return last.is_given_to(facts) and (self._owner is None or self._owner.has(facts))

    def of_unit(self, unit: int) -> Finish:
        """Return what the file of a unit gets."""
        if unit in self._standing:
            return self._standing[unit]
        mode, mtime_ns = _PRIVATE_MODE, None
        if self._attributes is not None:
            mode, mtime_ns = self._attributes.mode(unit), self._attributes.mtime_ns(unit)
        mode = mode & self._permitted & ~_EXECUTE_BITS | _OWNER_READS
        if self._manifest.units[unit].is_executable:
            mode |= self._executable(unit)
        return Finish(self._opened(mode, _GROUP_READS), mtime_ns)

    def _executable(self, unit: int) -> int:
        said = 0 if self._attributes is None else self._attributes.mode(unit)
        return said & self._permitted & _EXECUTE_BITS | 0o100

    def of_directory(self, path: str) -> Finish:
        """Return what a directory of the version gets; ``""`` is its own."""
        entry = self._entries.get(path)
        if self._attributes is None or entry is None:
            return Finish(self._opened(_OWNER_USES, _GROUP_USES))
        said = self._attributes.mode(entry)
        # In a sticky directory of somebody else's the daemon could remove nothing.
        handed_on = stat.S_ISGID if self._is_other else _HANDED_ON
        mode = said & (self._permitted | handed_on) | _OWNER_USES
        return Finish(self._opened(mode, _GROUP_USES), self._attributes.mtime_ns(entry))
