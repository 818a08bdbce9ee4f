"""Links inside a root: symbolic ones are followed by reading them, never by the kernel.

Of hard links it is judged who can have made them.
"""

from __future__ import annotations

import shlex
import stat
from typing import Final

from ckptd.errors import CkptdError, NotFound, OutsideRoots, Shortage, StorageError
from ckptd.model.patterns import escape_pattern
from ckptd.store.files.confined import check_relative
from ckptd.store.files.kernel import LOCAL_FILE_SYSTEMS, file_system_type
from ckptd.store.files.roots import Root

_LINKS_MAX: Final = 40
"""Links followed for one name, as in the kernel: path_resolution(7)."""

_MEND: Final = "Remove it or mend it."

_NO_FILE: Final = (
    "Publish with --links, which keeps a link to a directory of the same version if its target is "
    "relative (ln -srfn), or link files."
)

_SHOWN_MAX: Final = 5
"""Of links that cannot be followed so many are named."""

_PROTECTION: Final = "/proc/sys/fs/protected_hardlinks"
"""Where it is 1, only who may read and write a file, and its owner, can link to it: proc(5)."""
_NFS_SERVER: Final = "/proc/net/rpc/nfsd"
"""What the kernel's NFS server counts; its clients' links are not protected."""
_STATISTICS_BYTES: Final = 64 << 10


def resolve_link(root: Root, relative: str) -> str:
    """Follow a symbolic link to the regular file it leads to.

    A target is walked from where its link lies; an absolute one must begin with the root's
    own path, as configured or as resolved.

    Returns:
        The file's path below the root, free of links.

    Raises:
        OutsideRoots: It leads out of the root.
        NotFound: It leads to nothing.
        StorageError: It leads to no regular file, or through too many links.
    """
    subject = f"symbolic link {root.absolute(relative)}"
    pending = list(reversed(check_relative(relative)))
    resolved: list[str] = []
    links = 0
    while pending:
        component = pending.pop()
        if component in {"", "."}:
            continue
        if component == "..":
            if not resolved:
                raise _leads_out(subject, root)
            resolved.pop()
            continue
        resolved.append(component)
        try:
            target = root.read_link("/".join(resolved))
        except NotFound as error:
            raise NotFound(subject, "leads to nothing", _MEND) from error
        if target is None:
            continue
        links += 1
        if links > _LINKS_MAX:
            problem = f"leads in a circle, or through more than {_LINKS_MAX} links"
            raise StorageError(subject, problem, _MEND)
        resolved.pop()
        if target.startswith("/"):
            below = root.below(target)
            if below is None:
                raise _leads_out(subject, root)
            resolved, target = [], below
        pending += reversed(target.split("/"))
    path = "/".join(resolved)
    found = root.stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise StorageError(subject, "does not lead to a file", _NO_FILE)
    return path


def _leads_out(subject: str, root: Root) -> OutsideRoots:
    return OutsideRoots(
        subject, f"leads out of the root {root.path}", "Put a copy where the link is."
    )


class MisledLinks:
    """Takes note of the symbolic links that lead to no file below their root.

    What they are part of is refused, for nobody knows what should be there. All of them are named
    at once, the first few, with what leaves them out.

    Attributes:
        count: How many there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: list[tuple[str, CkptdError]] = []

    def follow(self, root: Root, path: str, place: str) -> str | None:
        """Follow a link; ``None`` if it leads to no file.

        Args:
            root: Where it lies.
            path: What a pattern would call it.
            place: Its path below the root.

        Raises:
            Shortage: This node lacks what it takes to follow it.
        """
        try:
            return resolve_link(root, place)
        except Shortage:
            raise
        except (NotFound, OutsideRoots, StorageError) as error:
            self.count += 1
            if self.count <= _SHOWN_MAX:
                self._first.append((path, error))
            return None

    def check_none(self, directory: str) -> None:
        """Check that all could be followed.

        Args:
            directory: Where they were, for messages; empty if one link alone was meant.

        Raises:
            NotFound: The first one leads to nothing.
            OutsideRoots: It leads out of the root.
            StorageError: It leads to something else, or the system refused.
        """
        if not self._first:
            return
        first = self._first[0][1]
        if not directory:
            raise first
        words = [shlex.quote(escape_pattern(path)) for path, _ in self._first]
        leave_out = " ".join(f"--exclude={word}" for word in words)
        if self.count == 1:
            hint = f"{first.hint or _MEND} Or leave it out: {leave_out}"
            raise type(first)(first.subject, first.problem, hint)
        said = [f"{path!r} {error.problem}" for path, error in self._first]
        if self.count > len(said):
            said.append(f"and {self.count - len(said)} more")
        problem = f"has {self.count} symbolic links that cannot be followed: {'; '.join(said)}"
        raise type(first)(directory, problem, f"Mend them, or leave them out: {leave_out}")


def doubt_about_hard_links(fd: int) -> str:
    """Say why anybody may have given a file that is open its names.

    Returns:
        Words that follow those on the file; empty if each was surely made by its owner, by root,
        or by somebody who may read and write it.
    """
    try:
        with open(_PROTECTION, encoding="ascii") as file:
            is_protected = file.read(16).strip() == "1"
    except (OSError, ValueError):
        return f"{_PROTECTION} cannot be read"
    if not is_protected:
        return "fs.protected_hardlinks is not 1"
    try:
        is_local = file_system_type(fd) in LOCAL_FILE_SYSTEMS
    except OSError:
        is_local = False
    if not is_local:
        return "links on its file system may be made elsewhere, which fs.protected_hardlinks misses"
    return "NFS clients of this machine may make links" if _serves_nfs() else ""


def _serves_nfs() -> bool:
    """Return whether the kernel's NFS server has threads in this network."""
    try:
        with open(_NFS_SERVER, encoding="ascii", errors="replace") as file:
            lines = file.read(_STATISTICS_BYTES).splitlines()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(line.startswith("th ") and not line.startswith("th 0 ") for line in lines)
